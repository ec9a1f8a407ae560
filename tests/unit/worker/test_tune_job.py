"""The tune job without TVM: where its log is, what a backend is given, what a bad job says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worker_process import WorkerProcess, make_job

from tvmops.worker.failures import JobError
from tvmops.worker.job import Job
from tvmops.worker.tune_job import run
from tvmops.worker.tuning import logs
from tvmops.worker.tuning.plan import TunePlan

WORKLOAD = {"name": "linear", "source": {"kind": "generated", "features": 8, "outputs": 3}, "task": {"kind": "raw"}}
Make = Callable[..., Path]


@pytest.fixture
def tune_job(tmp_path: Path) -> Make:
    def make(name: str = "tune", **settings: Any) -> Path:
        everything = {
            "stack": "fake",
            "target": {"kind": "fake"},
            "cross_compiler": None,
            "tune": {"method": "autotvm", "trials": 3, "transfer": True},
            "boards": [],
            "log_folder": str(tmp_path / "logs"),
            "log_stem": "linear.fake",
            **settings,
        }
        return make_job(tmp_path / name, tmp_path / "cache", "tune", WORKLOAD, **everything)

    return make


def test_a_worker_tunes_and_goes_on_with_its_log(worker: WorkerProcess, tune_job: Make, tmp_path: Path) -> None:
    result = worker.run(tune_job())
    assert result["ok"], result
    assert result["log"] == str(tmp_path / "logs" / "linear.fake-llvmnone.autotvm.log")
    assert result["log_sha256"] == logs.log_sha256(Path(result["log"]))
    assert set(result["seconds"]) == {"fetch", "prepare", "import", "tune"}
    assert result["measured"] == 3
    again = worker.run(tune_job("again"))
    assert (again["measured"], again["reused"], again["log_sha256"]) == (0, 3, result["log_sha256"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tune": {"method": "guess"}}, "tune.method must be one of"),
        ({"log_stem": None}, "needs 'log_folder' and 'log_stem'"),
        ({"boards": [{"name": "pi"}]}, "boards, item 1"),
    ],
)
def test_a_bad_job_says_so(worker: WorkerProcess, tune_job: Make, settings: dict[str, Any], words: str) -> None:
    result = worker.run(tune_job(**settings))
    assert result["error"]["kind"] == "BadInput"
    assert words in result["error"]["message"]


class Noting:
    """A backend that keeps the plan it got."""

    plan: TunePlan

    def versions(self) -> dict[str, str | None]:
        return {"tvm": "0.19.0", "llvm": "22"}

    def import_model(self, prepared: Any, options: Any) -> None:
        return None

    def tune(self, module: Any, target: Any, plan: TunePlan, report: Any) -> dict[str, Any]:
        self.plan = plan
        report({"task": 1})
        with logs.opened(plan.log, plan.identity):
            return {"tasks": [], "measured": 0}


def test_transfer_learns_from_logs_of_the_same_target_only(tune_job: Make, tmp_path: Path) -> None:
    backend = Noting()
    for stem, target in (("other", {"kind": "fake"}), ("foreign", {"kind": "cuda"})):
        run(Job(tune_job(stem, log_stem=stem, target=target)), backend, lambda: None)
    job = Job(tune_job())
    run(job, backend, lambda: None)
    assert [path.name for path in backend.plan.others] == ["other-llvm22.autotvm.log"]
    assert backend.plan.identity["workloads"]["linear"]
    run(Job(tune_job("alone", tune={"method": "autotvm", "transfer": False})), backend, lambda: None)
    assert backend.plan.others == []
    events = [json.loads(text) for text in (job.directory / "events.jsonl").read_text().splitlines()]
    assert [event["task"] for event in events if event["event"] == "tuning"] == [1]


def test_a_log_of_another_model_is_refused(tune_job: Make) -> None:
    backend = Noting()
    run(Job(tune_job()), backend, lambda: None)
    side = logs.sidecar(backend.plan.log)
    side.write_text(side.read_text().replace(backend.plan.identity["workloads"]["linear"], "0" * 64))
    with pytest.raises(JobError, match="the log's model of workload 'linear' is 0000"):
        run(Job(tune_job("again")), backend, lambda: None)


def test_a_library_is_not_built_with_another_stacks_log(worker: WorkerProcess, tune_job: Make, tmp_path: Path) -> None:
    log = Path(worker.run(tune_job())["log"])
    identity = logs.make_identity({"stack": "relay-0.18", "workload": WORKLOAD}, "autotvm", "ab12", {"llvm": "15"})
    logs.sidecar(log).write_text(json.dumps(identity))
    tuning = {"kind": "log", "method": "autotvm", "path": str(log)}
    settings = {"stack": "relay-0.19", "target": {"kind": "fake"}, "tuning": tuning}
    result = worker.run(make_job(tmp_path / "compile", tmp_path / "cache", "compile", WORKLOAD, **settings))
    assert result["error"]["kind"] == "BadInput"
    assert "the log's stack is relay-0.18, this job's is relay-0.19" in result["error"]["message"]
