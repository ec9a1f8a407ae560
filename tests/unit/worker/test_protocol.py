"""The worker as its controller sees it: a process, with the backend that needs no TVM."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import processes
import pytest
from worker_process import WORKER, WorkerProcess

from tvmops.worker.models import SOURCES

Make = Callable[..., Path]


def test_compile_and_measure(worker: WorkerProcess, compile_job: Make, measure_job: Make) -> None:
    assert worker.ready is not None
    assert worker.ready["event"] == "ready"
    assert worker.ready["versions"]["numpy"]
    compiled = compile_job()
    result = worker.run(compiled)
    assert result["ok"], result
    assert set(result["seconds"]) == {"fetch", "prepare", "reference", "import", "compile", "export"}
    assert result["artifact_bytes"] == (compiled / "model.so").stat().st_size
    assert result["inputs"] == {"x": {"shape": [1, 8], "dtype": "float32"}}
    measured = worker.run(measure_job(compiled))
    assert measured["ok"], measured
    assert len(measured["samples"]) == 4
    assert all(sample > 0 for sample in measured["samples"])
    assert measured["runs_per_sample"] >= 1
    assert measured["input_sha256"] == result["input_sha256"]
    assert measured["artifact_sha256"] == result["artifact_sha256"]
    assert measured["differences"]["y"]["max_abs"] < 1e-5
    assert measured["task_check"]["ok"]
    assert worker.stop() == 0


def test_phases_are_told_while_they_happen(worker: WorkerProcess, compile_job: Make) -> None:
    compiled = compile_job()
    worker.run(compiled)
    events = [json.loads(line) for line in (compiled / "events.jsonl").read_text().splitlines()]
    assert [event["phase"] for event in events if event["state"] == "end"] == [
        "fetch",
        "prepare",
        "reference",
        "import",
        "compile",
        "export",
    ]
    assert [event["t"] for event in events] == sorted(event["t"] for event in events)


def test_wrong_output_is_never_timed(worker: WorkerProcess, compile_job: Make, measure_job: Make) -> None:
    compiled = compile_job()
    worker.run(compiled)
    result = worker.run(measure_job(compiled, options={"output_error": 0.5}))
    assert not result["ok"]
    assert result["error"]["kind"] == "WrongOutput"
    assert "'y'" in result["error"]["message"]
    assert "samples" not in result
    assert "measure" not in result["seconds"]


def test_a_sample_holds_the_runs_that_the_settings_ask_for(
    worker: WorkerProcess, compile_job: Make, measure_job: Make
) -> None:
    compiled = compile_job()
    worker.run(compiled)
    counted = worker.run(measure_job(compiled, "counted", settings={"number": 3, "min_repeat_ms": 0}))
    assert counted["runs_per_sample"] == 3
    # A run takes microseconds; only a machine that stands still for 200 ms could make this one.
    filled = worker.run(measure_job(compiled, "filled", settings={"warmup": 2, "repeat": 1, "min_repeat_ms": 100}))
    assert filled["runs_per_sample"] > 1


def test_a_failure_leaves_the_worker_alive(worker: WorkerProcess, compile_job: Make) -> None:
    bad = worker.run(compile_job("bad", source={"kind": "floppy"}))
    assert bad["error"] == {
        "kind": "BadInput",
        "message": f"unknown source kind 'floppy'; known: {', '.join(sorted(SOURCES))}",
    }
    assert worker.run(compile_job("good"))["ok"]


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"task": {"kind": "poetry"}}, "BadInput", "unknown task kind 'poetry'"),
        ({"inputs": {"z": {"shape": [1, 8], "dtype": "float32"}}}, "BadInput", "'x'"),
        ({"inputs": {"x": {"shape": [1, 9], "dtype": "float32"}}}, "BadInput", "[rows, 8]"),
        ({"source": {"kind": "generated", "features": 0}}, "BadInput", "from 1 to 4096"),
        ({"source": {"kind": "file", "path": "model.onnx"}}, "BadInput", "must be absolute"),
        ({"source": {"kind": "file", "path": "/nowhere/model.onnx"}}, "BadInput", "no such model file"),
        ({"source": {"kind": "wheel", "package": "magika"}}, "BadInput", "needs 'version'"),
    ],
)
def test_bad_workloads(
    worker: WorkerProcess, compile_job: Make, changes: dict[str, object], kind: str, words: str
) -> None:
    result = worker.run(compile_job(**changes))
    assert result["error"]["kind"] == kind
    assert words in result["error"]["message"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"repeat": 0}, "measure.repeat"), ({"warmup": -1}, "measure.warmup"), ({"threads": "two"}, "measure.threads")],
)
def test_bad_measure_settings(
    worker: WorkerProcess, compile_job: Make, measure_job: Make, settings: dict[str, object], words: str
) -> None:
    compiled = compile_job()
    worker.run(compiled)
    result = worker.run(measure_job(compiled, settings=settings))
    assert result["error"]["kind"] == "BadInput"
    assert words in result["error"]["message"]


def test_measuring_what_was_not_compiled(worker: WorkerProcess, measure_job: Make, tmp_path: Path) -> None:
    result = worker.run(measure_job(tmp_path / "gone"))
    assert result["error"]["kind"] == "BadInput"
    assert "run the compile job again" in result["error"]["message"]


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 1, "kind": "compile"}'])
def test_unreadable_job(worker: WorkerProcess, tmp_path: Path, text: str) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "job.json").write_text(text)
    result = worker.run(directory)
    assert result["error"]["kind"] == "BadInput"
    assert "job.json" in result["error"]["message"]


def test_requests_that_are_none(worker: WorkerProcess, compile_job: Make) -> None:
    assert worker.process.stdin is not None
    worker.process.stdin.write(b"hello\n\n")
    worker.process.stdin.flush()
    event = worker.event()
    assert event is not None
    assert event["event"] == "error"
    assert worker.run(compile_job())["ok"]


def test_job_directory_that_is_gone(worker: WorkerProcess, tmp_path: Path, compile_job: Make) -> None:
    worker.send(tmp_path / "gone")
    assert worker.event() == {"event": "done", "job_dir": str(tmp_path / "gone"), "ok": False}
    assert worker.run(compile_job())["ok"]


def test_crash_is_an_end_of_file(worker: WorkerProcess, compile_job: Make) -> None:
    crashing = compile_job(options={"crash_in": "compile"})
    worker.send(crashing)
    assert worker.event() is None
    assert worker.process.wait(10) == -signal.SIGABRT
    assert not (crashing / "result.json").exists()


def test_killed_worker_leaves_no_half_result(worker: WorkerProcess, compile_job: Make) -> None:
    slow = compile_job(options={"delay": 30})
    worker.send(slow)
    wait_for(lambda: '"compile"' in read(slow / "events.jsonl"))
    worker.process.kill()
    assert worker.event(10.0) is None
    assert not (slow / "result.json").exists()
    again = WorkerProcess("fake")
    try:
        assert again.run(compile_job("again"))["ok"]
    finally:
        again.close()


def test_interrupt_is_the_controllers(worker: WorkerProcess, compile_job: Make) -> None:
    slow = compile_job(options={"delay": 1.0})
    worker.send(slow)
    wait_for(lambda: '"compile"' in read(slow / "events.jsonl"))
    worker.process.send_signal(signal.SIGINT)
    event = worker.event()
    assert event is not None
    assert event["ok"] is True


def test_end_of_requests_lets_the_job_finish(worker: WorkerProcess, compile_job: Make) -> None:
    slow = compile_job(options={"delay": 0.5})
    worker.send(slow)
    assert worker.stop() == 0
    assert json.loads((slow / "result.json").read_text())["ok"]


def test_worker_ends_with_its_parent(tmp_path: Path, compile_job: Make) -> None:
    """Also in the middle of a job: nobody would read the result."""
    slow = compile_job(options={"delay": 60})
    program = f"""
        import json, subprocess, sys, time
        worker = subprocess.Popen([sys.executable, {str(WORKER)!r}, "--status-fd", "1", "--backend", "fake"],
                                  stdin=subprocess.PIPE, start_new_session=True)
        worker.stdin.write(json.dumps({{"job_dir": {str(slow)!r}}}).encode() + b"\\n")
        worker.stdin.flush()
        print(worker.pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    lines = [parent.stdout.readline()]
    pid = int(next(line for line in lines if line.strip().isdigit()))
    wait_for(lambda: '"compile"' in read(slow / "events.jsonl"))
    parent.kill()
    parent.wait()
    wait_for(lambda: not processes.alive(pid))
    parent.stdout.close()


def test_output_of_a_job_is_in_its_log(worker: WorkerProcess, compile_job: Make) -> None:
    directory = compile_job(source={"kind": "floppy"})
    worker.run(directory)
    assert "floppy" in (directory / "log.txt").read_text()


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
