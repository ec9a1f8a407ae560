"""MetaSchedule for real: tune jobs on an RPC server, cut off and gone on with, and libraries built with the log."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from relax_jobs import MEASURE, TARGET, rpc_server, stack_python
from worker_process import WorkerProcess, make_job

from tvmops.paths import cache_dir

TUNE = {"method": "meta_schedule", "tuner": "random", "number": 1, "repeat": 1, "min_repeat_ms": 0}


class Tuner:
    """Tune, compile and measure jobs of one small network."""

    def __init__(self, folder: Path, python: str, port: int) -> None:
        self.folder, self.python, self.port = folder, python, port
        model = folder / "small.onnx"
        script = Path(__file__).with_name("small_networks.py")
        subprocess.run([python, str(script), str(model)], check=True)
        self.workload = {"name": "small", "source": {"kind": "file", "path": str(model)}, "inputs": {}}
        self.boards = [{"name": "board", "host": "127.0.0.1", "port": port, "key": ""}]

    def job(self, name: str, **tune: Any) -> Path:
        """A tune job's directory."""
        settings = {"stack": "relax-0.27", "target": TARGET, "cross_compiler": "g++", "boards": self.boards}
        log = {"log_folder": str(self.folder / "logs"), "log_stem": "small"}
        return make_job(
            self.folder / name, cache_dir(), "tune", self.workload, **settings, **log, tune={**TUNE, **tune}
        )

    @property
    def log(self) -> Path:
        (found,) = (self.folder / "logs").glob("*.meta_schedule")
        return found

    def records(self) -> int:
        """Lines of the database's records."""
        file = next((self.folder / "logs").glob("*.meta_schedule/database_tuning_record.json"), None)
        return file.read_bytes().count(b"\n") if file else 0


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuner]:
    python = stack_python()
    with rpc_server(python) as port:
        yield Tuner(tmp_path_factory.mktemp("tuning"), python, port)


def test_what_was_measured_outlives_a_kill_and_is_applied(tuner: Tuner) -> None:
    killed = WorkerProcess("relax", tuner.python)
    try:
        killed.send(tuner.job("killed", trials=5000))
        deadline = time.monotonic() + 240
        while tuner.records() < 3:
            ended = (tuner.folder / "killed" / "result.json").exists() or killed.process.poll() is not None
            assert not ended and time.monotonic() < deadline, log_of(tuner, "killed")
            time.sleep(0.1)
    finally:
        killed.close()
    kept = tuner.records()
    worker = WorkerProcess("relax", tuner.python)
    try:
        went_on(tuner, worker, kept)
        applied(tuner, worker)
    finally:
        worker.close()


def went_on(tuner: Tuner, worker: WorkerProcess, kept: int) -> None:
    trials = kept + 6
    result = worker.run(tuner.job("rest", trials=trials), 300)
    assert result["ok"], result
    first = result["tasks"][0]
    assert len(result["tasks"]) == 3
    assert first["reused"] >= kept, "records are written when they are measured, not when a task is revisited"
    assert all(task["measured"] + task["reused"] == task["trials"] for task in result["tasks"])
    assert all(task["best_seconds"] for task in result["tasks"]), result
    again = worker.run(tuner.job("again", trials=trials), 120)
    assert (again["measured"], again["log_sha256"]) == (0, result["log_sha256"]), "a finished plan measures nothing"
    capped = worker.run(tuner.job("capped", trials=trials, tasks=1), 120)
    (heaviest,) = capped["tasks"]
    assert "conv2d" in heaviest["name"], "the task with most operations"
    events = [json.loads(line) for line in (tuner.folder / "rest" / "events.jsonl").read_text().splitlines()]
    told = [event for event in events if event["event"] == "tuning"]
    assert {event["task"] for event in told} == {1, 2, 3}
    assert told[-1]["eta_seconds"] == 0.0


def applied(tuner: Tuner, worker: WorkerProcess) -> None:
    tuning = {"kind": "log", "method": "meta_schedule", "path": str(tuner.log)}
    job = make_job(
        tuner.folder / "compile",
        cache_dir(),
        "compile",
        tuner.workload,
        stack="relax-0.27",
        target=TARGET,
        tuning=tuning,
    )
    compiled = worker.run(job, 240)
    assert compiled["ok"], compiled
    assert compiled["coverage"] == {"tasks": 3, "untuned": 0}, "the database was asked and had everything"
    settings = {
        "artifact": str(job / "model.so"),
        "reference": str(job / "reference.npz"),
        "rpc": {"host": "127.0.0.1", "port": tuner.port, "session_timeout": 120},
        "measure": MEASURE,
        "target": TARGET,
    }
    measured = worker.run(make_job(tuner.folder / "measure", cache_dir(), "measure", tuner.workload, **settings))
    assert measured["ok"], measured
    (tuner.folder / "empty").mkdir()
    tuning["path"] = str(tuner.folder / "empty")
    job = make_job(
        tuner.folder / "untuned",
        cache_dir(),
        "compile",
        tuner.workload,
        stack="relax-0.27",
        target=TARGET,
        tuning=tuning,
    )
    assert worker.run(job, 240)["coverage"] == {"tasks": 3, "untuned": 3}


def log_of(tuner: Tuner, name: str) -> str:
    """The end of a job's log, for a failed assertion."""
    path = tuner.folder / name / "log.txt"
    return path.read_text(errors="replace")[-3000:] if path.exists() else "no log"


def test_a_torch_network_has_tasks(tmp_path: Path) -> None:
    client = Path(__file__).with_name("torch_tasks.py")
    argv = [stack_python("torch"), str(client), str(tmp_path / "small.pt2")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout.splitlines()[-1])
    assert len(names) == 3
    assert any("conv2d" in name for name in names), names
    assert any("matmul" in name for name in names), names
