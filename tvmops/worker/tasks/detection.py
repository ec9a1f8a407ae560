"""Task `detection`: a YOLO network must find in a picture what its reference framework finds, or what is known to be
there. The boxes are drawn on the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np

from ..failures import JobError
from . import yolo
from .common import only_input, setting, verdict
from .drawing import draw_boxes
from .files import open_picture, read_labels
from .letterbox import letterbox, placing

THRESHOLD, OVERLAP = 0.5, 0.45
SAME = 0.9  # boxes that overlap by so much are the same
# A box that one engine finds this little above the threshold, another may find below it.
MARGIN = 0.02
SHOWN = 10


def prepare(settings: Dict[str, Any], specs: Dict[str, Any], model: Any, cache_dir: Path) -> Any:
    """`image` as darknet fits it into its input. The model says itself how its outputs are read."""
    name, shape = only_input(settings, specs, 4, "float32")
    picture = open_picture(settings, cache_dir)
    for key, default in (("threshold", THRESHOLD), ("nms", OVERLAP)):
        if not 0 < float(settings.get(key, default)) <= 1:
            raise JobError("BadInput", f"'{key}' of task 'detection' must be above 0 and at most 1")
    knowledge = {
        "darknet": _description(model),
        "picture": [picture.width, picture.height],
        "labels": read_labels(settings, cache_dir),
    }
    return {name: letterbox(picture, shape[3], shape[2])[np.newaxis]}, knowledge


def _description(model: Any) -> Any:
    from ..onnx_model import metadata

    text = metadata(model.path).get("darknet") if model.format == "onnx" else None
    if not text:
        raise JobError("BadInput", "task 'detection' needs a model of source kind 'darknet', which knows its anchors")
    description = json.loads(text)
    if not description["heads"]:
        raise JobError("BadInput", "this network has no [yolo] and no [region]: it detects nothing")
    return description


def learn(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """What the reference framework finds, also a little below the threshold."""
    threshold = float(settings.get("threshold", THRESHOLD))
    return {"boxes": [list(box) for box in _find(settings, knowledge, outputs, threshold - MARGIN)]}


def check(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """The same boxes as the reference's (label, and an overlap of at least 0.9), and every label that is `expected`."""
    threshold = float(settings.get("threshold", THRESHOLD))
    found = _find(settings, knowledge, outputs, threshold - MARGIN)
    known = [yolo.Box(int(box[0]), *box[1:]) for box in knowledge["boxes"]]
    labels = knowledge["labels"]
    sure = [box for box in found if box.score >= threshold]
    wanted = [box for box in known if box.score >= threshold]
    missing = _expected(settings, labels) - {_label(box, labels) for box in sure}
    same = not _unmatched(wanted, found) and not _unmatched(sure, known)
    # Without a single box nothing would have been compared.
    ok = bool(wanted) and same and not missing
    expected = _show(wanted, labels) if wanted else f"at least one box above {threshold:g}: lower 'threshold'"
    if missing:
        expected += "; and " + ", ".join(sorted(missing))
    return verdict(ok, _show(sure, labels), expected)


def draw(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray], cache_dir: Path) -> Any:
    """The picture with what was found, for people; a Pillow picture."""
    threshold = float(settings.get("threshold", THRESHOLD))
    found = _find(settings, knowledge, outputs, threshold)
    return draw_boxes(open_picture(settings, cache_dir), found, [_words(box, knowledge["labels"]) for box in found])


def _find(
    settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: Sequence[np.ndarray], threshold: float
) -> List[yolo.Box]:
    """Boxes in pixels of the picture."""
    description, (width, height) = knowledge["darknet"], knowledge["picture"]
    if len(outputs) != len(description["heads"]):
        raise JobError("BadInput", f"the model has {len(outputs)} outputs and {len(description['heads'])} heads")
    found = yolo.suppress(yolo.decode(description, outputs), max(threshold, 1e-6), float(settings.get("nms", OVERLAP)))
    net = description["width"], description["height"]
    place = placing((width, height), net)
    across, down = width / place.width, height / place.height
    return [
        box._replace(
            left=(box.left * net[0] - place.left) * across,
            top=(box.top * net[1] - place.top) * down,
            width=box.width * net[0] * across,
            height=box.height * net[1] * down,
        )
        for box in found
    ]


def _unmatched(wanted: Sequence[yolo.Box], found: Sequence[yolo.Box]) -> List[yolo.Box]:
    """Boxes that have no like among `found`."""
    return [box for box in wanted if not any(_same(box, other) for other in found)]


def _same(one: yolo.Box, other: yolo.Box) -> bool:
    if one.label != other.label:
        return False
    return bool(yolo.overlaps(yolo.edges(one), yolo.edges(other)[np.newaxis])[0] >= SAME)


def _expected(settings: Dict[str, Any], labels: Dict[str, str]) -> Any:
    """Labels that must be found, as words. `reference` asks for the reference's boxes only."""
    given = setting(settings, "expected")
    if given == "reference":
        return set()
    words = {labels.get(str(item), str(item)) for item in (given if isinstance(given, list) else [given])}
    unknown = sorted(words - set(labels.values())) if labels else []
    if unknown:
        raise JobError("BadInput", f"'expected' of task 'detection' names '{unknown[0]}', which is none of its labels")
    return words


def _label(box: yolo.Box, labels: Dict[str, str]) -> str:
    return labels.get(str(box.label), str(box.label))


def _words(box: yolo.Box, labels: Dict[str, str]) -> str:
    return f"{_label(box, labels)} {box.score:.2f}"


def _show(boxes: Sequence[yolo.Box], labels: Dict[str, str]) -> str:
    parts = [
        f"{_words(box, labels)} at {box.left:.0f},{box.top:.0f},{box.width:.0f},{box.height:.0f}"
        for box in boxes[:SHOWN]
    ]
    if len(boxes) > SHOWN:
        parts.append(f"and {len(boxes) - SHOWN} more")
    return "; ".join(parts) or "nothing"
