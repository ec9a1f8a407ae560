"""Task `text`: a text recogniser of the PP-OCR family must read a picture of `image_text`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from ..failures import JobError
from ..onnx_model import metadata
from .common import only_input, setting, verdict
from .pictures import fit_height, text_line

BLANK = 0


def prepare(
    settings: Dict[str, Any], specs: Dict[str, Any], model: Any, cache_dir: Path
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The line as the recogniser wants it; the characters are in the model's own notes."""
    name, shape = only_input(settings, specs, 4, "float32")
    line = fit_height(text_line(setting(settings, "image_text")), shape[3], shape[2])
    listed = metadata(model.path).get("character")
    if not listed:
        raise JobError("BadInput", f"{model.path.name} does not say which characters it reads (metadata 'character')")
    # Blank first and the space last, as the recogniser was trained.
    return {name: line[np.newaxis]}, {"characters": [*listed.splitlines(), " "]}


def check(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """The text must be read letter by letter."""
    read = decode(outputs[0][0], knowledge["characters"])
    return verdict(read == settings["image_text"], read, settings["image_text"])


def decode(probabilities: np.ndarray, characters: List[str]) -> str:
    """Greedy CTC: the likeliest symbol per step, repeats merged, blanks dropped."""
    best = probabilities.argmax(axis=-1)
    kept = [int(symbol) for step, symbol in enumerate(best) if step == 0 or symbol != best[step - 1]]
    return "".join(characters[symbol - 1] for symbol in kept if symbol != BLANK and symbol - 1 < len(characters))
