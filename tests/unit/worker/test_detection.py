"""Letterboxes, YOLO's arithmetic, suppression, and what counts as the same boxes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tvmops.worker.failures import JobError
from tvmops.worker.tasks import detection, yolo
from tvmops.worker.tasks.drawing import draw_boxes
from tvmops.worker.tasks.letterbox import letterbox, placing

HEAD = {"output": "yolo_1", "kind": "yolo", "shape": [14, 2, 2], "anchors": [[8, 16], [4, 4]], "classes": 2}
KNOWLEDGE: dict[str, Any] = {
    "darknet": {"width": 32, "height": 32, "heads": [HEAD]},
    "picture": [64, 32],
    "labels": {"0": "cat", "1": "dog"},
}
SETTINGS = {"kind": "detection", "expected": "reference"}


def output(*found: tuple[int, int, int, float, int], score: float = 0.9) -> np.ndarray:
    """One head's output, empty but for (anchor, row, column, objectness, class)."""
    values = np.zeros((2, 7, 2, 2), np.float32)
    values[:, :2] = 0.5
    for anchor, row, column, objectness, label in found:
        values[anchor, 4, row, column] = objectness
        values[anchor, 5 + label, row, column] = score
    return values.reshape(1, 14, 2, 2)


def learned(values: np.ndarray, **settings: Any) -> dict[str, Any]:
    return {**KNOWLEDGE, **detection.learn({**SETTINGS, **settings}, KNOWLEDGE, [values])}


@given(*[st.integers(1, 400)] * 2, *[st.integers(8, 64)] * 2)
def test_a_letterbox_keeps_the_shape_and_fills_with_grey(width: int, height: int, wide: int, high: int) -> None:
    place = placing((width, height), (wide, high))
    assert place.width == wide or place.height == high
    assert 1 <= place.width <= wide
    assert 1 <= place.height <= high
    picture = Image.new("RGB", (width, height), (255, 0, 51))
    boxed = letterbox(picture, wide, high)
    inside = (boxed[0] == 1.0).sum()
    assert inside == place.width * place.height
    assert (boxed[0] == 0.5).sum() == wide * high - inside
    assert np.allclose(boxed[2][boxed[0] == 1.0], 0.2)


def test_scaling_is_darknets() -> None:
    """First and last pixel stay; between them it is linear. Pillow's and OpenCV's halves of pixels are other values."""
    picture = Image.fromarray(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
    assert np.allclose(letterbox(picture, 4, 2)[0], [[0, 1 / 3, 2 / 3, 1]] * 2)


def test_a_box_of_v3_is_where_darknet_puts_it() -> None:
    ((box,),) = [yolo.suppress(yolo.decode(KNOWLEDGE["darknet"], [output((0, 1, 0, 0.8, 1))]), 0.5, 0.45)]
    assert box.label == 1
    assert box.score == pytest.approx(0.72)
    # Centre (0 + 0.5) / 2, (1 + 0.5) / 2; size the anchor's in parts of 32.
    assert (box.left, box.top, box.width, box.height) == pytest.approx((0.125, 0.5, 0.25, 0.5))


def test_a_box_of_v2_is_measured_in_cells() -> None:
    head = {**HEAD, "kind": "region", "anchors": [[0.5, 1], [1, 1]]}
    values = output((0, 0, 1, 0.8, 0))
    values[0, 2, 0, 1] = np.log(2)
    (box,) = yolo.suppress(yolo.decode({**KNOWLEDGE["darknet"], "heads": [head]}, [values]), 0.5, 0.45)
    assert (box.left, box.top, box.width, box.height) == pytest.approx((0.5, 0.0, 0.5, 0.5))


def test_boxes_come_back_to_the_picture() -> None:
    """64x32 in 32x32: the picture fills the width, with 8 grey rows above and below."""
    (box,) = detection._find(SETTINGS, KNOWLEDGE, [output((0, 1, 0, 0.8, 1))], 0.5)
    assert (box.left, box.top, box.width, box.height) == pytest.approx((8, 16, 16, 32))


def test_wild_values_overflow_nothing() -> None:
    values = output((0, 0, 0, 0.8, 0))
    values[0, 2:4] = 1e30
    (box,) = detection._find(SETTINGS, KNOWLEDGE, [values], 0.5)
    assert np.isfinite(box).all()
    assert detection.draw_boxes(Image.new("RGB", (64, 32)), [box], ["cat"]).size == (64, 32)


BOXES = st.lists(st.tuples(*[st.floats(0, 1)] * 2, *[st.floats(0.01, 1)] * 2, st.floats(0, 1)), min_size=1, max_size=30)


@given(BOXES, st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_survivors_are_likely_and_apart_and_cover_the_rest(found: Any, threshold: float, overlap: float) -> None:
    boxes = np.array([box[:4] for box in found])
    scores = np.array([[box[4]] for box in found])
    candidates = yolo.Candidates(boxes, np.ones(len(boxes)), scores)
    kept = yolo.suppress(candidates, threshold, overlap)
    assert [box.score for box in kept] == sorted((box.score for box in kept), reverse=True)
    assert all(box.score > threshold for box in kept)
    edges = np.array([yolo.edges(box) for box in kept]).reshape(-1, 4)
    for i, one in enumerate(edges):
        assert (yolo.overlaps(one, edges[i + 1 :]) <= overlap + 1e-9).all()
    everything = yolo._corners(boxes)[scores[:, 0] > threshold]
    for one in everything:
        assert (yolo.overlaps(one, edges) > overlap - 1e-9).any()


def test_a_flood_of_boxes_ends() -> None:
    draw = np.random.RandomState(0)
    flood = yolo.Candidates(draw.rand(20000, 4), np.ones(20000), draw.rand(20000, 80))
    begin = time.process_time()
    kept = yolo.suppress(flood, 0.5, 0.45)
    assert time.process_time() - begin < 60  # 800000 boxes above the threshold; one by one they take hours
    assert 80 <= len(kept) <= 80 * yolo.MOST_PER_CLASS


def test_the_reference_answers_itself() -> None:
    values = output((0, 1, 0, 0.8, 1), (1, 0, 1, 0.9, 0))
    found = detection.check(SETTINGS, learned(values), [values])
    assert found["ok"]
    assert found["answer"] == found["expected"] == "cat 0.81 at 44,-4,8,8; dog 0.72 at 8,16,16,32"


@pytest.mark.parametrize(
    ("other", "ok"),
    [
        (output((0, 1, 0, 0.8, 1)), True),
        (output((0, 1, 0, 0.8, 0)), False),  # another label
        (output((0, 1, 1, 0.8, 1)), False),  # another place
        (output(), False),  # nothing
        (output((0, 1, 0, 0.8, 1), (1, 1, 1, 0.9, 0)), False),  # one too many
        (
            output((0, 1, 0, 0.8, 1), (1, 0, 1, 0.56, 0)),
            True,
        ),  # one that the reference has a hair below, a hair above the threshold
    ],
)
def test_other_boxes_are_not_the_same(other: np.ndarray, ok: bool) -> None:
    reference = output((0, 1, 0, 0.8, 1), (1, 0, 1, 0.54, 0))
    assert detection.check(SETTINGS, learned(reference), [other])["ok"] is ok


def test_a_reference_that_finds_nothing_proves_nothing() -> None:
    found = detection.check(SETTINGS, learned(output()), [output()])
    assert not found["ok"]
    assert found["expected"] == "at least one box above 0.5: lower 'threshold'"


def test_labels_that_must_be_there() -> None:
    values = output((0, 1, 0, 0.8, 1))
    assert detection.check({**SETTINGS, "expected": ["dog"]}, learned(values), [values])["ok"]
    lacking = detection.check({**SETTINGS, "expected": ["dog", "cat"]}, learned(values), [values])
    assert not lacking["ok"]
    assert lacking["expected"] == "dog 0.72 at 8,16,16,32; and cat"
    with pytest.raises(JobError, match="names 'horse', which is none of its labels"):
        detection.check({**SETTINGS, "expected": "horse"}, learned(values), [values])


def test_boxes_are_drawn_where_they_are() -> None:
    picture = Image.new("RGB", (300, 200))
    drawn = np.asarray(draw_boxes(picture, [yolo.Box(3, 0.9, 100, 100, 50, 60)], ["bird 0.90"]))
    assert drawn[130, 100].any()
    assert drawn[160, 125].any()
    assert not drawn[130, 125].any(), "the inside stays visible"
    assert drawn[90:100, 100:150].any(), "the label stands above"
    assert not np.asarray(picture).any(), "the picture itself is left alone"
