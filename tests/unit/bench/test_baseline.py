"""Runtimes beside TVM on a host of this machine: what it has runs, what it lacks is absent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tvmops.bench.baseline import RUNTIMES, WORKER, run_on_board
from tvmops.bench.sweep_file import BASELINES
from tvmops.connection import Connection, connect
from tvmops.inventory import Host
from tvmops.worker import baseline as program
from tvmops.worker.reference import Reference, save


@pytest.fixture
def board() -> Iterator[Connection]:
    names = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    connection = connect(Host("board", vars={**names, "tvm_baseline_python": "/usr/bin/env"}))
    yield connection
    connection.close()


def run(board: Connection, folder: Path, runtime: str) -> dict[str, Any]:
    array = np.ones((1, 2), dtype=np.float32)
    save(folder / "reference.npz", Reference({"x": array}, {"y": array}, {}))
    job = {"key": "k", "runtime": runtime, "measure": {}}
    return run_on_board(board, "/nonexistent", job, {"reference": folder / "reference.npz"}, 60.0)


def test_every_runtime_of_a_sweep_has_its_program() -> None:
    assert set(RUNTIMES) == set(BASELINES) == set(program.RUNTIMES)
    for name, runtime in RUNTIMES.items():
        assert (WORKER / "runtimes" / runtime.program).is_file()
        assert program.RUNTIMES[name][0] + ".py" == runtime.program


def test_a_model_without_the_runtimes_form(board: Connection, tmp_path: Path) -> None:
    result = run(board, tmp_path, "torch")
    assert result["error"] == {
        "kind": "Absent",
        "message": "torch cannot run this model: it has no TorchScript form",
    }
    assert run(board, tmp_path, "mxnet")["error"]["kind"] == "Absent"
    unknown = run(board, tmp_path, "tensorflow")["error"]
    assert unknown["kind"] == "BadInput"
    assert "known: onnxruntime, torch" in unknown["message"]


def test_a_board_without_the_runtime(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"a network")
    plain = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    connection = connect(Host("board", vars=plain))
    try:
        result = run(connection, tmp_path, "torch")
    finally:
        connection.close()
    assert result["error"]["kind"] == "Absent"
    assert result["error"]["message"] == f"this board's Python ({sys.executable}) has no torch"
    assert result["key"] == "k"


def test_the_python_of_runtimes_that_are_not_provisioned(board: Connection, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"a network")
    result = run(board, tmp_path, "torch")
    assert result["error"]["kind"] == "Board", "env(1), given as that Python, runs no program of Python's"
