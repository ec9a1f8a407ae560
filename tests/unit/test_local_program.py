"""What runs models on a board without numpy says the same of arrays as numpy and the worker do."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import local_arrays
import local_compare
import local_run
import local_steps
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tvmops.bench.board_local import TOLERANCE, device_of
from tvmops.worker import compare, measure_job, reference
from tvmops.worker.backends import devices
from tvmops.worker.failures import JobError

KINDS = ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.sampled_from(KINDS).flatmap(lambda kind: arrays.arrays(np.dtype(kind), SHAPES))
RTOL, ATOL = 1e-3, 1e-4


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


@given(ARRAYS, st.booleans())
def test_arrays_are_read_and_written_as_numpy_does(array: np.ndarray, columns_first: bool) -> None:
    stored = np.asfortranarray(array) if columns_first and array.ndim else array
    tensor = local_arrays.read_npy(npy(stored))
    assert tensor.kind == f"{array.dtype.kind}{array.dtype.itemsize}"
    assert tensor.shape == array.shape
    assert tensor.data == array.tobytes()
    np.testing.assert_array_equal(np.array(list(tensor.values()), np.float64), array.ravel().astype(np.float64))
    again = np.load(io.BytesIO(local_arrays.npy_bytes(tensor)), allow_pickle=False)
    assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        npy(np.zeros(3, np.float32))[:-1],
        npy(np.zeros(3, np.float32))[:20],
        npy(np.zeros(3, np.complex64)),
        npy(np.zeros(3, ">f4")),
        npy(np.array(["text"])),
        npy(np.zeros(3, np.float32)).replace(b"'descr'", b"'other'"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(data: bytes) -> None:
    with pytest.raises(local_arrays.ArrayError):
        local_arrays.read_npy(data)


def test_a_reference_is_read_in_the_models_order(tmp_path: Path) -> None:
    inputs = {"second": np.ones((1, 2), np.float32), "first": np.arange(3, dtype=np.int64)}
    outputs = {"y": np.full((2, 2), 0.5, np.float16)}
    reference.save(tmp_path / "reference.npz", reference.Reference(inputs, outputs, {"labels": ["ä"]}))
    found_inputs, found_outputs = local_arrays.read_reference(str(tmp_path / "reference.npz"))
    assert [(name, tensor.shape) for name, tensor in found_inputs] == [("second", (1, 2)), ("first", (3,))]
    assert [(name, list(tensor.values())) for name, tensor in found_outputs] == [("y", [0.5] * 4)]
    (tmp_path / "other.npz").write_bytes(b"no archive")
    with pytest.raises(local_arrays.ArrayError, match=r"other\.npz is no reference of a compile job"):
        local_arrays.read_reference(str(tmp_path / "other.npz"))


NAN, INF = float("nan"), float("inf")
# Well inside or outside the tolerance: numpy compares single precision in single precision.
VALUES = st.sampled_from([0.0, 1.0, -1.0, 1.0004, 1.01, 5e-5, 3e-4, 1e30, 1.002e30, NAN, INF, -INF])


def verdict(check: Any, failure: type[Exception]) -> Any:
    try:
        return check()
    except failure as error:
        return str(error)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=6), st.sampled_from(["f4", "f8"]))
def test_the_comparison_is_the_workers(pairs: list[tuple[float, float]], kind: str) -> None:
    want, have = (np.array([pair[side] for pair in pairs], kind) for side in (0, 1))
    tensors = [local_arrays.read_npy(npy(array)) for array in (want, have)]
    theirs = verdict(lambda: compare.compare({"y": want}, {"y": have}, {"rtol": RTOL, "atol": ATOL}), JobError)
    ours = verdict(lambda: local_compare.compare([("y", tensors[0])], [tensors[1]], RTOL, ATOL), local_compare.Failure)
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        assert ours["y"] == pytest.approx(theirs["y"], rel=1e-12)


@pytest.mark.parametrize("have", [np.zeros((2, 1)), np.zeros(3), np.zeros(())])
def test_other_shapes_and_counts_are_told_in_the_workers_words(have: np.ndarray) -> None:
    want = np.zeros(2)
    tensors = [local_arrays.read_npy(npy(array)) for array in (want, have)]
    theirs = verdict(lambda: compare.compare({"y": want}, {"y": have}, {"rtol": RTOL, "atol": ATOL}), JobError)
    ours = verdict(lambda: local_compare.compare([("y", tensors[0])], tensors[1:], RTOL, ATOL), local_compare.Failure)
    assert ours == theirs
    with pytest.raises(local_compare.Failure, match="0 outputs came back, the reference has 1"):
        local_compare.compare([("y", tensors[0])], [], RTOL, ATOL)


@given(st.floats(0, 10), st.integers(1, 100), st.integers(0, 1000))
def test_runs_are_counted_as_by_the_worker(seconds: float, number: int, min_repeat_ms: int) -> None:
    settings = {"number": number, "min_repeat_ms": min_repeat_ms}
    assert local_steps.runs_per_sample(seconds, settings) == measure_job.runs_per_sample(seconds, settings)


@pytest.mark.parametrize(
    "target",
    [*({"kind": kind} for kind in ("llvm", "c", *devices.DEVICES)), {"tag": "nvidia/jetson-nano"}, {"tag": "x"}, {}],
)
def test_controller_and_worker_choose_the_same_device_and_tolerance(target: dict[str, Any]) -> None:
    assert device_of(target) == devices.device_of(target)
    assert compare.DEFAULT_TOLERANCE == TOLERANCE


@pytest.mark.parametrize("status", [0, 256])
def test_a_program_that_ends_without_a_word_is_told(status: int) -> None:
    found = local_run.ending(status)
    assert json.dumps(found) == (
        "null"
        if status == 0
        else '{"ok": false, "error": {"kind": "Board", "message": "the program ended with exit status 1"}}'
    )
