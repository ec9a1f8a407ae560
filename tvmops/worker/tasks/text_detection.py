"""Task `text_detection`: a detector of the PP-OCR family must find the one line of text in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .common import only_input, setting, verdict
from .pictures import line_on_page, normalized

THRESHOLD = 0.3
UNCLIP = 1.6
LEAST_OVERLAP = 0.6

Box = Tuple[float, float, float, float]


def prepare(
    settings: Dict[str, Any], specs: Dict[str, Any], model: Any, cache_dir: Path
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """A white page with `image_text` in its middle (font size `text_size`); the truth is where the ink is."""
    name, shape = only_input(settings, specs, 4, "float32")
    size = int(settings.get("text_size", 32))
    picture, box = line_on_page(setting(settings, "image_text"), shape[3], shape[2], size)
    return {name: normalized(picture, (0.5,) * 3, (0.5,) * 3)[np.newaxis]}, {"box": list(box)}


def check(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """The box around everything found must overlap the truth (intersection over union of at least 0.6)."""
    truth: Box = tuple(knowledge["box"])  # type: ignore[assignment]
    found = box_around(outputs[0][0, 0])
    overlap = intersection_over_union(found, truth) if found else 0.0
    answer = f"box {_show(found)}, overlap {overlap:.2f}" if found else "nothing found"
    return verdict(overlap >= LEAST_OVERLAP, answer, f"box {_show(truth)}, overlap at least {LEAST_OVERLAP}")


def box_around(probability: np.ndarray) -> Optional[Box]:
    """The box around all text pixels, grown back by what the detector was trained to shrink it."""
    rows, columns = np.nonzero(probability > THRESHOLD)
    if rows.size == 0:
        return None
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    grow = (right - left) * (bottom - top) * UNCLIP / (2 * ((right - left) + (bottom - top)))
    return (float(left - grow), float(top - grow), float(right + grow), float(bottom + grow))


def intersection_over_union(one: Box, other: Box) -> float:
    """1 for the same box, 0 for boxes apart."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    return common / (_area(one) + _area(other) - common)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _show(box: Box) -> str:
    return ",".join(str(round(edge)) for edge in box)
