"""Task `orientation`: which way up is the text? `picture` is a `line` (0 or 180 degrees) or a `page` (also 90, 270)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from ..onnx_model import metadata
from .common import only_input, setting, verdict
from .pictures import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    fit_height,
    middle,
    normalized,
    scale_short_side,
    text_line,
    text_page,
)

LINE_LABELS = ["0", "180"]
PAGE_LABELS = ["0", "90", "180", "270"]


def prepare(
    settings: Dict[str, Any], specs: Dict[str, Any], model: Any, cache_dir: Path
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """`image_text` turned by `degrees`; labels come from the model's own notes where it has them."""
    name, shape = only_input(settings, specs, 4, "float32")
    degrees = int(setting(settings, "degrees"))
    page = settings.get("picture", "line") == "page"
    make = _page if page else _line
    array = make(setting(settings, "image_text"), degrees, shape[3], shape[2])
    labels = metadata(model.path).get("character", "").splitlines()
    return {name: array[np.newaxis]}, {"labels": labels or (PAGE_LABELS if page else LINE_LABELS)}


def _line(text: str, degrees: int, width: int, height: int) -> np.ndarray:
    return fit_height(text_line(text).rotate(degrees, expand=True), width, height)


def _page(text: str, degrees: int, width: int, height: int) -> np.ndarray:
    words = text.split()
    lines = [" ".join(words[start:] + words[:start]) for start in range(len(words))]
    # A camera turned clockwise sees the page turned counter-clockwise; the model names the picture's clockwise turn.
    page = text_page([line * 3 for line in lines], 640, 640, 22).rotate(-degrees, expand=True)
    return normalized(middle(scale_short_side(page, 256), width, height), IMAGENET_MEAN, IMAGENET_STD)


def check(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """The likeliest label must be the angle by which the picture was turned."""
    answer = knowledge["labels"][int(outputs[0][0].argmax())]
    return verdict(answer == str(settings["degrees"]), f"{answer} degrees", f"{settings['degrees']} degrees")
