"""From a YOLO network's outputs to boxes: decoding (v2 `region`, v3 `yolo`), thresholds, non-maximum suppression."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

LOGARITHM = 20.0  # exp of more is wider than any picture
# Random weights find thousands of boxes; so many of a class, the likeliest, are looked at.
MOST_PER_CLASS = 500


class Box(NamedTuple):
    """What was found: class and probability, left upper corner and size, in parts of the picture or in pixels."""

    label: int
    score: float
    left: float
    top: float
    width: float
    height: float


class Candidates(NamedTuple):
    """All boxes of a network: [N, 4] of centre and size in parts of the input, [N] and [N, classes]."""

    boxes: np.ndarray
    objectness: np.ndarray
    scores: np.ndarray


def decode(description: Dict[str, Any], outputs: Sequence[np.ndarray]) -> Candidates:
    """Everything that the heads say. `description` is the model's own (darknet/onnx_graph.py)."""
    size = (description["width"], description["height"])
    heads = [_head(head, output, size) for head, output in zip(description["heads"], outputs)]
    return Candidates(*(np.concatenate(parts) for parts in zip(*heads)))


def _head(head: Dict[str, Any], output: np.ndarray, size: Tuple[int, int]) -> Candidates:
    anchors, classes = np.asarray(head["anchors"], dtype=np.float64), head["classes"]
    _, height, width = head["shape"]
    values = output.astype(np.float64).reshape(len(anchors), 5 + classes, height, width)
    stretch = head.get("scale_x_y", 1.0)
    # Anchors are pixels of the input in [yolo], cells of the map in [region].
    unit = size if head["kind"] == "yolo" else (width, height)
    place = values[:, :2] * stretch - (stretch - 1) / 2
    boxes = np.empty((len(anchors), 4, height, width))
    boxes[:, 0] = (place[:, 0] + np.arange(width)) / width
    boxes[:, 1] = (place[:, 1] + np.arange(height).reshape(-1, 1)) / height
    grown = np.exp(np.clip(values[:, 2:4], -LOGARITHM, LOGARITHM))
    boxes[:, 2:] = grown * (anchors / unit).reshape(-1, 2, 1, 1)
    objectness = values[:, 4]
    scores = objectness[:, np.newaxis] * values[:, 5:]
    flat = scores.transpose(0, 2, 3, 1).reshape(-1, classes)
    return Candidates(boxes.transpose(0, 2, 3, 1).reshape(-1, 4), objectness.reshape(-1), flat)


def suppress(found: Candidates, threshold: float, overlap: float) -> List[Box]:
    """The boxes above `threshold`, per class without those that a likelier one covers by more than `overlap`.

    The likeliest come first; left, top and size are in parts of the input.
    """
    sure = found.objectness > threshold
    boxes, scores = _corners(found.boxes[sure]), found.scores[sure]
    kept: List[Box] = []
    for label in np.flatnonzero((scores > threshold).any(axis=0)):
        likely = np.flatnonzero(scores[:, label] > threshold)
        order = likely[np.argsort(-scores[likely, label], kind="stable")][:MOST_PER_CLASS]
        for index in _survivors(boxes[order], overlap):
            left, top, right, bottom = (float(edge) for edge in boxes[order[index]])
            kept.append(Box(int(label), float(scores[order[index], label]), left, top, right - left, bottom - top))
    return sorted(kept, key=lambda box: (-box.score, box.label))


def _survivors(boxes: np.ndarray, overlap: float) -> List[int]:
    """Indices of boxes (likeliest first) that no likelier survivor covers."""
    alive = np.ones(len(boxes), dtype=bool)
    kept = []
    for index in range(len(boxes)):
        if alive[index]:
            kept.append(index)
            alive[index + 1 :] &= overlaps(boxes[index], boxes[index + 1 :]) <= overlap
    return kept


def overlaps(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box with each of others, all as left, top, right, bottom."""
    near, far = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    common = np.clip(far - near, 0, None).prod(axis=1)
    union = (one[2:] - one[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - common
    return common / np.maximum(union, 1e-300)


def edges(box: Box) -> np.ndarray:
    """left, top, right, bottom."""
    return np.array([box.left, box.top, box.left + box.width, box.top + box.height])


def _corners(boxes: np.ndarray) -> np.ndarray:
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
