"""Task `classification`: the likeliest class of a picture must be among the `expected` ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from ..models.wheel_store import member_path
from .common import only_input, setting, verdict
from .pictures import IMAGENET_MEAN, IMAGENET_STD, center_crop, normalized

SHORT_SIDE_OVER_CROP = 256 / 224


def prepare(
    settings: Dict[str, Any], specs: Dict[str, Any], model: Any, cache_dir: Path
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """`image` (a file in a wheel), cropped and normalised as ImageNet's models expect unless `mean`, `std` say else."""
    from PIL import Image

    name, shape = only_input(settings, specs, 4, "float32")
    image = setting(settings, "image")
    data = member_path(image, image["member"], image["sha256"], cache_dir).read_bytes()
    short = int(settings.get("resize") or round(shape[2] * SHORT_SIDE_OVER_CROP))
    cropped = center_crop(Image.open(io.BytesIO(data)).convert("RGB"), short, shape[3], shape[2])
    array = normalized(cropped, settings.get("mean", IMAGENET_MEAN), settings.get("std", IMAGENET_STD))
    return {name: array[np.newaxis]}, {"labels": {str(key): name for key, name in settings.get("labels", {}).items()}}


def check(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """Top-1 decides; the answer shows the top-5 in order."""
    top = [int(index) for index in np.argsort(-outputs[0][0], kind="stable")[:5]]
    expected = [int(index) for index in setting(settings, "expected")]
    labels = knowledge["labels"]
    answer = ", ".join(_show(index, labels) for index in top)
    return verdict(top[0] in expected, answer, " or ".join(_show(index, labels) for index in expected))


def _show(index: int, labels: Dict[str, str]) -> str:
    label = labels.get(str(index))
    return f"{index} {label}" if label else str(index)
