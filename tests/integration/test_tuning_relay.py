"""AutoTVM and auto_scheduler for real: tune jobs on lean RPC servers and here, resumed; libraries with their logs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from relax_jobs import MEASURE
from relay_jobs import lean_server, relay_python
from worker_process import WorkerProcess, make_job

from tvmops.paths import cache_dir

TARGET = {"kind": "llvm", "num-cores": 2}
TUNE = {"tuner": "random", "number": 1, "repeat": 1, "min_repeat_ms": 0, "transfer": False}


class Tuner:
    """Jobs of one small network on two lean servers."""

    def __init__(self, folder: Path, python: str, ports: list[int]) -> None:
        self.folder, self.ports = folder, ports
        model = folder / "small.onnx"
        subprocess.run([python, str(Path(__file__).with_name("small_networks.py")), str(model)], check=True)
        self.workload = {"name": "small", "source": {"kind": "file", "path": str(model)}, "inputs": {}}
        self.worker = WorkerProcess("relay", python)
        self.compiler = folder / "board-g++"
        self.compiler.write_text(f'#!/bin/sh\necho "$@" >> {folder / "linked"}\nexec g++ "$@"\n')
        self.compiler.chmod(0o755)

    def boards(self, *numbers: int) -> list[dict[str, Any]]:
        """Servers as a sweep names them."""
        return [{"name": f"board-{i}", "host": "127.0.0.1", "port": self.ports[i - 1], "key": ""} for i in numbers]

    def job(self, name: str, boards: list[dict[str, Any]], log: str = "small", **tune: Any) -> Path:
        """A tune job's directory."""
        return make_job(
            self.folder / name,
            cache_dir(),
            "tune",
            self.workload,
            stack="relay-0.19",
            target=TARGET,
            cross_compiler=str(self.compiler),
            boards=boards,
            log_folder=str(self.folder / "logs"),
            log_stem=log,
            tune={**TUNE, **tune},
        )

    def tune(self, name: str, boards: list[dict[str, Any]], **tune: Any) -> dict[str, Any]:
        """Its result, which must be good."""
        result = self.worker.run(self.job(name, boards, **tune), 280)
        assert result["ok"], (result, (self.folder / name / "log.txt").read_text(errors="replace")[-2000:])
        return result

    def compile(self, name: str, log: str, method: str) -> dict[str, Any]:
        """The network with a log."""
        tuning = {"kind": "log", "method": method, "path": log}
        job = make_job(
            self.folder / name, cache_dir(), "compile", self.workload, stack="relay-0.19", target=TARGET, tuning=tuning
        )
        result = self.worker.run(job, 240)
        assert result["ok"], result
        return result

    def measure(self, name: str) -> dict[str, Any]:
        """What `compile` made under that name, on the first board."""
        compiled = self.folder / name
        job = make_job(
            self.folder / f"{name}-measure",
            cache_dir(),
            "measure",
            self.workload,
            artifact=str(compiled / "model.so"),
            reference=str(compiled / "reference.npz"),
            rpc={"host": "127.0.0.1", "port": self.ports[0], "session_timeout": 120},
            measure=MEASURE,
            target=TARGET,
        )
        return self.worker.run(job)


@pytest.fixture(scope="module")
def python() -> str:
    return relay_python("tuning")


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory, python: str) -> Iterator[Tuner]:
    folder = tmp_path_factory.mktemp("tuning")
    with ExitStack() as servers:
        ports = [servers.enter_context(lean_server(python, folder / f"server-{i}")) for i in (1, 2)]
        found = Tuner(folder, python, ports)
        yield found
        found.worker.close()


def test_autotvm_on_a_board_resumed_and_applied(tuner: Tuner) -> None:
    result = tuner.tune("autotvm", tuner.boards(1), method="autotvm", trials=4, builders=2)
    assert result["measured"] == 12
    assert [task["measured"] for task in result["tasks"]] == [4, 4, 4]
    assert all(task["best_gflops"] > 0 for task in result["tasks"]), result
    linked = (tuner.folder / "linked").read_text().splitlines()
    assert len(linked) >= 12, "the board's own compiler links every trial"
    assert all(".so" in line for line in linked)
    again = tuner.tune("again", tuner.boards(1), method="autotvm", tuner="ga", trials=4)
    assert (again["measured"], again["reused"], again["log_sha256"]) == (0, 12, result["log_sha256"])
    more = tuner.tune("more", tuner.boards(1), method="autotvm", tuner="xgb", trials=5, tasks=1)
    assert (more["measured"], more["reused"]) == (1, 4)
    lines = Path(more["log"]).read_text().splitlines()
    keys = [json.dumps([row["input"][:3], row["config"]["entity"]]) for row in map(json.loads, lines)]
    assert len(keys) == len(set(keys)) == 13, "no trial is measured twice"
    with Path(result["log"]).open("ab") as log:
        log.write(b"\xff torn\n{]\n")  # TVM's own reader would refuse the whole log
    compiled = tuner.compile("tuned", result["log"], "autotvm")
    assert compiled["coverage"]["untuned"] == 0
    assert compiled["coverage"]["tasks"] >= 2
    assert tuner.measure("tuned")["ok"]


def test_a_killed_server_costs_what_was_in_flight(tuner: Tuner, python: str) -> None:
    with ExitStack() as servers:
        port = servers.enter_context(lean_server(python, tuner.folder / "doomed"))
        doomed = {"name": "doomed", "host": "127.0.0.1", "port": port, "key": ""}
        job = tuner.job("killed", [*tuner.boards(2), doomed], log="killed", method="autotvm", trials=24, tasks=1)
        tuner.worker.send(job)
        deadline = time.monotonic() + 120
        while not any((tuner.folder / "logs").glob("killed*.log")) or not records(tuner.folder):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    event = tuner.worker.event(280)
    assert event is not None and event["ok"], (job / "log.txt").read_text()[-2000:]
    result = json.loads((job / "result.json").read_text())
    assert list(result["boards_lost"]) == ["doomed"]
    assert result["failures"].get("board", 0) == 0, "its trial went to the other board"
    assert result["measured"] == 24
    assert sum(count for kind, count in result["failures"].items() if kind == "run") <= 1
    assert "board doomed is left out" in (job / "log.txt").read_text(errors="replace")


def records(folder: Path) -> int:
    """Trials that the interrupted log has."""
    return sum(path.read_bytes().count(b"\n") for path in (folder / "logs").glob("killed*.log"))


def test_here_without_boards_with_two_builders(tuner: Tuner) -> None:
    result = tuner.tune("here", [], log="here", method="autotvm", tuner="gridsearch", trials=3, tasks=1, builders=2)
    assert (result["measured"], result["failures"]) == (3, {})


def test_auto_scheduler_on_a_board_resumed_and_applied(tuner: Tuner) -> None:
    result = tuner.tune("ansor", tuner.boards(1), method="ansor", trials=4, tasks=1)
    assert result["measured"] == 4
    assert result["tasks"][0]["failed"] < 4, result
    assert "conv2d" in result["tasks"][0]["name"], "the task with most operations"
    again = tuner.tune("ansor-again", tuner.boards(1), method="ansor", trials=4, tasks=1)
    assert (again["measured"], again["reused"]) == (0, 4)
    assert tuner.compile("ansor-tuned", result["log"], "ansor")["coverage"] == {"tasks": 2, "untuned": 1}


def test_a_log_of_another_target_is_refused(tuner: Tuner) -> None:
    job = tuner.job("refused", tuner.boards(1), log="refused", method="autotvm", trials=1)
    settings = json.loads((job / "job.json").read_text())
    log = next((tuner.folder / "logs").glob("small*.autotvm.log"))
    for path in (log, log.with_name(log.name + ".json")):
        path.with_name(path.name.replace("small", "refused")).write_bytes(path.read_bytes())
    settings["target"] = {"kind": "llvm", "num-cores": 8}
    (job / "job.json").write_text(json.dumps(settings))
    result = tuner.worker.run(job)
    assert result["error"]["kind"] == "BadInput"
    assert '"num-cores": 2' in result["error"]["message"] and '"num-cores": 8' in result["error"]["message"]


def test_cost_model_and_builders_are_as_this_tvm_needs_them(python: str) -> None:
    client = Path(__file__).with_name("tuning_client.py")
    done = subprocess.run([python, str(client)], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["losses"] == {"own": "rank", "1.7.6": "rank", "2.0.0": "rank-binary", "3.2.0": "rank-binary"}
    assert len(set(found["fit"])) > 1, "the loss is one that this xgboost takes, and something was learnt"
    assert found["plan_sizes"] == [8, 32, 64]
    assert found["populations"] == [64, 1024, 2048]
    assert found["builders_in_tuning"] is True
