"""trtexec's words in the forms that its releases have, and how it is run. The real one needs an NVIDIA GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker_process import WORKER

from tvmops.worker.reference import Reference, save
from tvmops.worker.runtimes import trtexec

SAMPLES = Path(__file__).parents[2] / "data" / "trtexec"
# Stands where trtexec stands: writes what it is asked to write, prints one average for every group of runs.
PROGRAM = """#!{python}
import json, sys
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
print("&&&& RUNNING TensorRT.trtexec [TensorRT v8201]")
with open("{calls}", "a") as calls:
    calls.write(json.dumps(options) + "\\n")
if "saveEngine" in options:
    open(options["saveEngine"], "w").write("engine")
else:
    open(options["loadEngine"]).read()
    name, _, path = options["loadInputs"].partition(":")
    import struct
    values = [2 * value for value in struct.unpack("<4f", open(path, "rb").read())]
    if "exportOutput" in options:
        answer = [{{"name": "y", "dimensions": "2x2", "values": values}}]
        json.dump(answer, open(options["exportOutput"], "w"))
    for _ in range(int(options["iterations"]) // int(options["avgRuns"])):
        print("[I] Average on %s runs - GPU latency: 2.5 ms - Host latency: 2.6 ms" % options["avgRuns"])
"""


def words(name: str) -> str:
    return (SAMPLES / name).read_text()


def test_averages_of_all_releases() -> None:
    assert trtexec.samples_in(words("trt8.txt")) == pytest.approx([0.0125021, 0.01225, 0.013])
    assert trtexec.samples_in(words("trt5.txt")) == pytest.approx([0.0264, 0.0265])
    assert trtexec.samples_in(words("trt10-summary.txt")) == pytest.approx([0.00075])
    assert trtexec.samples_in(words("failed.txt")) == []


def test_versions_of_all_releases() -> None:
    found = [trtexec.version_in(words(name)) for name in ("trt8.txt", "trt10-summary.txt", "trt5.txt")]
    assert found == ["8.2.1", "10.3.0", None]


def run(tmp_path: Path, program: str | None, runtime: str = "trtexec") -> dict[str, Any]:
    """A baseline job of a model that doubles its input."""
    array = np.arange(4, dtype=np.float32).reshape(2, 2)
    save(tmp_path / "reference.npz", Reference({"x": array}, {"y": 2 * array}, {}))
    measure = {"warmup": 2, "repeat": 3, "number": 1, "min_repeat_ms": 10, "threads": 4}
    (tmp_path / "job.json").write_text(json.dumps({"key": "k", "runtime": runtime, "measure": measure}))
    folder = tmp_path / "bin"
    folder.mkdir()
    if program:
        (folder / "trtexec").write_text(program)
        (folder / "trtexec").chmod(0o755)
    argv = [sys.executable, str(WORKER / "baseline.py"), "job.json", "model.onnx", "reference.npz"]
    environment = {**os.environ, "PATH": str(folder)}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, check=False)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_how_it_is_run(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    result = run(tmp_path, PROGRAM.format(python=sys.executable, calls=calls), "trtexec-fp16")
    assert result["ok"], result
    assert result["samples"] == pytest.approx([0.0025] * 3)
    assert result["runs_per_sample"] == 4, "so many runs of 2.5 ms fill 10 ms"
    assert result["first_run_seconds"] == pytest.approx(0.0025)
    assert result["versions"]["tensorrt"] == "8.2.1"
    assert result["tolerance"] == trtexec.HALF
    assert result["differences"]["y"]["max_abs"] == 0
    build, first, warm_up, measured = [json.loads(line) for line in calls.read_text().splitlines()]
    assert (build["onnx"], "fp16" in build, "fp16" in first) == ("model.onnx", True, False)
    assert first["iterations"] == "1"
    assert (warm_up["iterations"], warm_up["avgRuns"]) == ("2", "2")
    assert (measured["iterations"], measured["avgRuns"], measured["duration"]) == ("12", "4", "0")


def test_what_it_cannot_do_is_told(tmp_path: Path) -> None:
    program = f'#!/bin/sh\nwhile IFS= read -r line; do echo "$line"; done < {SAMPLES / "failed.txt"}\nexit 1\n'
    result = run(tmp_path, program)
    assert result["error"]["kind"] == "Board"
    assert "exit status 1" in result["error"]["message"]
    assert "While parsing node number 0" in result["error"]["message"]


def test_a_board_without_it(tmp_path: Path) -> None:
    result = run(tmp_path, None)
    assert result["error"]["kind"] == "Absent"
    assert "this board has no trtexec" in result["error"]["message"]
