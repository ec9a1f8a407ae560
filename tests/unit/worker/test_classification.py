"""Classification: pictures fitted as tutorials fit them, labels as they are published, answers counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tvmops.worker.failures import JobError
from tvmops.worker.tasks import classification, files

LABELS = {0: "tench", 1: "tabby, tabby cat", 2: "tiger cat", 3: "hen"}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.RandomState(0).randint(0, 256, (60, 90, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def prepared(picture: Path, shape: list[int], **settings: Any) -> np.ndarray:
    everything = {"kind": "classification", "image": {"path": str(picture)}, **settings}
    specs = {"data": {"shape": shape, "dtype": "float32"}}
    inputs, _ = classification.prepare(everything, specs, None, picture.parent)
    assert inputs["data"].dtype == np.float32
    found: np.ndarray = inputs["data"]
    return found


def test_mxnet_tutorials_formula(picture: Path) -> None:
    """Tutorials 000 and 002: resized to the input, whatever its shape; mean and deviation in 0..255."""
    settings = {"scale": 1, "mean": [123.0, 117.0, 104.0], "std": [58.395, 57.12, 57.375]}
    found = prepared(picture, [2, 3, 32, 32], geometry=[{"stretch": 32}], **settings)
    image = np.array(Image.open(picture).resize((32, 32))) - np.array([123.0, 117.0, 104.0])
    image /= np.array([58.395, 57.12, 57.375])
    wanted = np.repeat(image.transpose((2, 0, 1))[np.newaxis], 2, axis=0)
    assert np.allclose(found, wanted, atol=1e-5)


def test_torch_tutorials_formula(picture: Path) -> None:
    """Tutorial 004: resized, then torchvision's Resize(36) and CenterCrop(32), then ImageNet's mean and deviation."""
    steps = [{"stretch": [32, 32]}, {"short_side": 36}, {"crop": [32, 32]}]
    found = prepared(picture, [1, 3, 32, 32], geometry=steps, resample="bilinear")
    image = Image.open(picture).resize((32, 32), Image.BILINEAR).resize((36, 36), Image.BILINEAR).crop((2, 2, 34, 34))
    wanted = (np.asarray(image) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(found[0], wanted.transpose(2, 0, 1), atol=1e-5)


def test_channels_stand_where_the_input_has_them(picture: Path) -> None:
    first, last = prepared(picture, [1, 3, 32, 48]), prepared(picture, [1, 32, 48, 3])
    assert np.array_equal(first[0].transpose(1, 2, 0), last[0])


@pytest.mark.parametrize(
    ("shape", "settings", "words"),
    [
        ([1, 1, 32, 32], {}, "feeds pictures of three colours"),
        ([1, 3, 32, 32], {"geometry": [{"rotate": 3}]}, "a step of 'geometry' is one of crop, short_side, stretch"),
        ([1, 3, 32, 32], {"geometry": [{"stretch": 0}]}, "'stretch' of 'geometry' needs a size"),
        ([1, 3, 32, 32], {"geometry": [{"stretch": 30}]}, "'geometry' gives 30x30, the input is 32x32"),
        ([1, 3, 32, 32], {"geometry": [{"crop": 100}]}, "has no middle of 100x100"),
        ([1, 3, 32, 32], {"resample": "magic"}, "'resample' must be one of bicubic"),
        ([1, 3, 32, 32], {"std": [1, 1]}, "'std' of task 'classification' must be a number or three"),
        ([1, 3, 32, 32], {"std": 0}, "'std' of task 'classification' must be a number or three"),
    ],
)
def test_settings_that_cannot_be(picture: Path, shape: list[int], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(JobError, match=words) as caught:
        prepared(picture, shape, **settings)
    assert caught.value.kind == "BadInput"


def test_a_picture_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(JobError, match=r"page\.png is no picture that can be read"):
        prepared(tmp_path / "page.png", [1, 3, 8, 8])


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(LABELS),
        json.dumps(list(LABELS.values())),
        repr(LABELS),  # imagenet1000_clsid_to_human.txt and synset.txt of the tutorials
        "{0: 'tench',\n 1: 'tabby, tabby cat',\n 2: 'tiger cat',\n 3: 'hen'}\n",
        "tench\ntabby, tabby cat\n\ntiger cat\nhen\n",
        "n01440764 tench\nn02123045 tabby, tabby cat\nn02123159 tiger cat\nn01514668 hen\n",
    ],
)
def test_labels_in_every_form_they_are_published_in(tmp_path: Path, text: str) -> None:
    (tmp_path / "synset.txt").write_text(text)
    found = files.read_labels({"kind": "x", "labels": {"path": str(tmp_path / "synset.txt")}}, tmp_path)
    assert found == {str(number): label for number, label in LABELS.items()}
    assert found == files.read_labels({"labels": LABELS}, tmp_path)


@pytest.mark.parametrize("text", ["{0: __import__('os')}", "{", "", "[1, 2"])
def test_labels_are_read_and_not_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "synset.txt").write_text(text)
    with pytest.raises(JobError, match="synset"):
        files.read_labels({"labels": {"path": str(tmp_path / "synset.txt")}}, tmp_path)


KNOWLEDGE = {"labels": {str(number): label for number, label in LABELS.items()}}
SCORES = np.array([[0.1, 0.3, 0.4, 0.2]])


@pytest.mark.parametrize(
    ("settings", "ok"),
    [
        ({"expected": [2]}, True),
        ({"expected": 2}, True),
        ({"expected": [1, 3]}, False),
        ({"expected": [1], "top": 2}, True),
        ({"expected": [3], "top": 2}, False),
        ({"expected": "cat"}, True),
        ({"expected": ["tench", "hen"]}, False),
        ({"expected": "reference"}, True),
    ],
)
def test_the_likeliest_classes_decide(settings: dict[str, Any], ok: bool) -> None:
    knowledge = {**KNOWLEDGE, **classification.learn(settings, KNOWLEDGE, [SCORES])}
    assert classification.check(settings, knowledge, [SCORES])["ok"] is ok


def test_the_answer_shows_five_and_every_picture_of_a_batch_counts() -> None:
    found = classification.check({"expected": "cat"}, KNOWLEDGE, [SCORES])
    assert found["answer"] == "2 tiger cat, 1 tabby, tabby cat, 3 hen, 0 tench"
    assert found["expected"] == "1 tabby, tabby cat or 2 tiger cat"
    both = np.concatenate([SCORES, SCORES[:, ::-1]])
    assert classification.check({"expected": [1, 2]}, KNOWLEDGE, [both])["ok"]
    assert not classification.check({"expected": [2]}, KNOWLEDGE, [both])["ok"]


def test_another_class_than_the_references_is_wrong() -> None:
    knowledge = {**KNOWLEDGE, **classification.learn({}, KNOWLEDGE, [SCORES])}
    assert not classification.check({"expected": "reference"}, knowledge, [SCORES[:, ::-1]])["ok"]


def test_a_word_that_no_label_has() -> None:
    with pytest.raises(JobError, match="says 'dog', which no label has"):
        classification.check({"expected": "dog"}, KNOWLEDGE, [SCORES])
