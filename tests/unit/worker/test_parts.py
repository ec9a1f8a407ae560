"""Parts of the worker that compute: comparing, decoding, counting, logs, references."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from worker_process import WORKER

from tvmops.worker import reference
from tvmops.worker.compare import compare
from tvmops.worker.failures import JobError
from tvmops.worker.job_log import remove_noise
from tvmops.worker.measure_job import runs_per_sample
from tvmops.worker.tasks import file_type, orientation, pitch, raw, text, text_detection
from tvmops.worker.tasks.pictures import fit_height, line_on_page, text_line

TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}
FLOATS = arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=5), elements=st.floats(-1e6, 1e6, width=32))


@given(FLOATS)
def test_an_output_is_the_same_as_itself(values: np.ndarray) -> None:
    assert compare({"y": values}, {"y": values.copy()}, TOLERANCE)["y"] == {"max_abs": 0.0, "max_rel": 0.0}


@given(FLOATS, st.integers(0, 10**6))
def test_one_value_beyond_the_tolerance_is_enough(values: np.ndarray, where: int) -> None:
    wrong = values.astype(np.float64)
    wrong.flat[where % wrong.size] += 0.01 + 0.01 * abs(wrong.flat[where % wrong.size])
    with pytest.raises(JobError) as caught:
        compare({"y": values}, {"y": wrong}, TOLERANCE)
    assert caught.value.kind == "WrongOutput"


@pytest.mark.parametrize(
    ("have", "words"),
    [
        (np.array([1.0, np.nan], np.float32), "NaN"),
        (np.array([1.0, np.inf], np.float32), "NaN or infinite"),
        (np.array([[1.0, 2.0]], np.float32), "shape (1, 2)"),
    ],
)
def test_outputs_that_cannot_be_compared(have: np.ndarray, words: str) -> None:
    with pytest.raises(JobError, match=words.replace("(", r"\(").replace(")", r"\)")):
        compare({"y": np.array([1.0, 2.0], np.float32)}, {"y": have}, TOLERANCE)


def test_a_missing_output_is_noticed() -> None:
    with pytest.raises(JobError, match="0 outputs came back"):
        compare({"y": np.zeros(1, np.float32)}, {}, TOLERANCE)


@given(st.floats(1e-7, 10.0), st.integers(1, 50), st.integers(0, 500))
def test_a_sample_fills_its_minimum_time(seconds: float, number: int, minimum: int) -> None:
    runs = runs_per_sample(seconds, {"number": number, "min_repeat_ms": minimum})
    assert runs >= number
    assert runs * seconds >= minimum / 1000 * 0.999
    assert runs == number or (runs - 1) * seconds < minimum / 1000 * 1.001


@given(st.text(alphabet="abc ", max_size=12))
def test_ctc_reads_what_was_written(written: str) -> None:
    characters = ["a", "b", "c", " "]
    steps: list[int] = []
    for letter in written:
        symbol = characters.index(letter) + 1
        steps += [0, symbol, symbol]  # a blank between, each letter over two steps
    probabilities = np.eye(5, dtype=np.float32)[[*steps, 0]]
    assert text.decode(probabilities, characters) == written


@given(st.tuples(*[st.integers(0, 50)] * 4))
def test_overlap_is_one_for_the_same_box_and_symmetric(edges: tuple[int, int, int, int]) -> None:
    left, top, width, height = edges
    box = (float(left), float(top), float(left + width + 1), float(top + height + 1))
    other = (10.0, 10.0, 30.0, 20.0)
    assert text_detection.intersection_over_union(box, box) == 1.0
    one = text_detection.intersection_over_union(box, other)
    assert one == text_detection.intersection_over_union(other, box)
    assert 0.0 <= one <= 1.0


def test_detection_finds_the_ink_and_notices_its_absence() -> None:
    knowledge = {"box": [20, 40, 100, 60]}
    found = np.zeros((1, 1, 100, 120), np.float32)
    assert not text_detection.check({}, knowledge, [found])["ok"]
    found[0, 0, 46:54, 26:94] = 0.9  # shrunk, as the detector was trained
    assert text_detection.check({}, knowledge, [found])["ok"]
    found[0, 0, 0:5, 0:5] = 0.9
    assert not text_detection.check({}, knowledge, [found])["ok"]


def test_magika_tokens() -> None:
    config = {"beg_size": 4, "end_size": 4, "block_size": 8, "padding_token": 256}
    assert file_type.features(b"  ab", config) == [97, 98, 256, 256, 32, 32, 97, 98]
    assert file_type.features(b"abcdefghijkl\n", config) == [97, 98, 99, 100, 105, 106, 107, 108]
    assert file_type.features(b"", config) == [256] * 8


def test_pitch_hears_only_what_is_loudest() -> None:
    notes = np.zeros((1, 5, 88), np.float32)
    notes[0, :, [60 - 21, 64 - 21]] = 0.9
    settings = {"kind": "pitch", "notes": [60, 64]}
    assert pitch.check(settings, {}, [notes]) == {"ok": True, "answer": "C4 E4", "expected": "C4 E4"}
    assert not pitch.check({**settings, "notes": [60, 67]}, {}, [notes])["ok"]


def test_orientation_needs_the_right_angle() -> None:
    settings, knowledge = {"degrees": 180}, {"labels": ["0", "180"]}
    assert orientation.check(settings, knowledge, [np.array([[0.1, 0.9]])])["ok"]
    assert not orientation.check(settings, knowledge, [np.array([[0.9, 0.1]])])["ok"]


def test_inputs_are_the_same_every_time() -> None:
    specs = {
        "a": {"shape": [2, 3], "dtype": "float32"},
        "b": {"shape": [4], "dtype": "int64"},
        "c": {"shape": [2], "dtype": "bool"},
    }
    one, _ = raw.prepare({"seed": 7}, specs, None, Path())
    two, _ = raw.prepare({"seed": 7}, specs, None, Path())
    other, _ = raw.prepare({"seed": 8}, specs, None, Path())
    assert {name: array.dtype.name for name, array in one.items()} == {"a": "float32", "b": "int64", "c": "bool"}
    assert reference.inputs_sha256(one) == reference.inputs_sha256(two) != reference.inputs_sha256(other)


def test_pictures_have_ink_where_they_say() -> None:
    picture, (left, top, right, bottom) = line_on_page("Hello", 200, 100, 30)
    ink = np.asarray(picture).min(axis=2) < 128
    rows, columns = np.nonzero(ink)
    assert ink.any()
    assert left <= columns.min() < columns.max() < right
    assert top <= rows.min() < rows.max() < bottom
    line = fit_height(text_line("Hello"), 320, 48)
    assert line.shape == (3, 48, 320)
    assert line.min() < -0.9 < 0.9 < line.max()
    assert not line[:, :, -1].any(), "filled up with 0 beside the text"


def test_reference_file_keeps_everything(tmp_path: Path) -> None:
    known = reference.Reference(
        {"b:0": np.arange(6, dtype=np.int32).reshape(2, 3), "a": np.ones(2, np.float32)},
        {"out/1": np.zeros((1, 2), np.float32)},
        {"labels": ["ä", "b"]},
    )
    reference.save(tmp_path / "reference.npz", known)
    read = reference.load(tmp_path / "reference.npz")
    assert list(read.inputs) == ["b:0", "a"]
    assert np.array_equal(read.inputs["b:0"], known.inputs["b:0"])
    assert list(read.outputs) == ["out/1"]
    assert read.knowledge == known.knowledge
    assert [path.name for path in tmp_path.iterdir()] == ["reference.npz"]


def test_noise_is_taken_out_of_logs(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"one\n" + b"[12:00] Warning: Scope Saving failed \xff\n" * 300 + b"two")
    remove_noise(log)
    assert log.read_bytes() == b"one\ntwo"


def test_baseline_says_what_the_board_lacks(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"key": "abc", "measure": {}}))
    script = [sys.executable, "-I", "-S", str(WORKER / "baseline.py")]  # -S: no packages, as on a bare board
    done = subprocess.run([*script, str(job), "model.onnx", "reference.npz"], capture_output=True, check=False)
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert (result["ok"], result["key"], result["kind"]) == (False, "abc", "baseline")
    assert result["error"]["kind"] == "Absent"
    assert result["error"]["message"].endswith("has no numpy")
    done = subprocess.run(script, capture_output=True, check=False)
    assert "usage" in json.loads(done.stdout)["error"]["message"]
