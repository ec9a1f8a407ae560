"""The tune job: finds the model's tasks and measures trials until the log has what the plan asks for."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

from .failures import JobError
from .formats import FORMATS
from .job import Job
from .models import fetch
from .tasks import settings_of, task_of
from .tuning import logs
from .tuning.plan import TunePlan, read_plan


def run(job: Job, backend: Any, hung: Callable[[], None]) -> Dict[str, Any]:
    """Does the job. Returns what result.json holds beside the phases' seconds.

    `hung` is not used: everything that may hang runs in child processes with deadlines of their own.
    """
    workload = job.workload
    plan = read_plan(job.settings, _log(job, backend))
    with job.phase("fetch"):
        model = fetch(workload["source"], job.cache_dir)
    with job.phase("prepare"):
        prepared = _prepare(job, model)
    with job.phase("import"):
        module = backend.import_model(prepared, workload.get("options") or {})
    versions = {**backend.versions(), **prepared.versions}
    identity = logs.make_identity(job.settings, plan.method, model.sha256, versions)
    plan = plan._replace(identity=identity, others=[*plan.others, *_others(plan, identity)])
    plan.log.parent.mkdir(parents=True, exist_ok=True)
    with job.phase("tune"):
        outcome = backend.tune(module, job.settings.get("target") or {}, plan, _reporter(job))
    return {
        "model_sha256": model.sha256,
        "log": str(plan.log),
        "log_sha256": logs.log_sha256(plan.log),
        **outcome,
        "versions": versions,
    }


def _log(job: Job, backend: Any) -> Path:
    folder, stem = job.settings.get("log_folder"), job.settings.get("log_stem")
    if not folder or not stem:
        raise JobError("BadInput", "job.json of a tune job needs 'log_folder' and 'log_stem'")
    method = read_plan(job.settings, Path(folder)).method
    return logs.log_path(Path(folder), stem, method, backend.versions())


def _others(plan: TunePlan, identity: Dict[str, Any]) -> List[Path]:
    """Logs of other models beside this one, for the same target and compiler: what transfer learning learns from."""
    found = []
    for path in sorted(plan.log.parent.glob("*" + logs.ENDINGS[plan.method])) if plan.transfer else []:
        if path != plan.log and logs.read_identity(path):
            with contextlib.suppress(JobError):
                logs.refuse_foreign(path, identity, workloads=False)
                found.append(path)
    return found


def _prepare(job: Job, model: Any) -> Any:
    workload = job.workload
    handler = FORMATS[model.format]
    specs = handler.input_specs(model, workload.get("inputs") or {})
    inputs, _ = task_of(workload).prepare(settings_of(workload), specs, model, job.cache_dir)
    return handler.prepare(model, specs, inputs, job.directory)


def _reporter(job: Job) -> Callable[[Dict[str, Any]], None]:
    def report(event: Dict[str, Any]) -> None:
        line = {"event": "tuning", **event, "t": round(time.monotonic() - job.started, 3)}
        with (job.directory / "events.jsonl").open("a", encoding="utf-8") as events:
            events.write(json.dumps(line) + "\n")

    return report
