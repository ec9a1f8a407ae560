"""The compile job: from a model's source to a library for the board and a reference that it must match."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable, Dict

from . import reference
from .failures import JobError
from .formats import FORMATS
from .job import Job, file_sha256
from .models import fetch
from .tasks import draw, learn, settings_of, task_of
from .tuning.logs import refuse_foreign, sound

ARTIFACT = "model.so"
REFERENCE = "reference.npz"


def run(job: Job, backend: Any, hung: Callable[[], None]) -> Dict[str, Any]:
    """Does the job. Returns what result.json holds beside the phases' seconds.

    `hung` is not used: pip, compilers and TVM's passes end by themselves, and the controller's deadline stands behind.
    """
    workload = job.workload
    task_settings = settings_of(workload)
    task = task_of(workload)
    with job.phase("fetch"):
        model = fetch(workload["source"], job.cache_dir)
    handler = FORMATS[model.format]
    with job.phase("prepare"):
        specs = handler.input_specs(model, workload.get("inputs") or {})
        inputs, knowledge = task.prepare(task_settings, specs, model, job.cache_dir)
        prepared = handler.prepare(model, specs, inputs, job.directory)
    with job.phase("reference"):
        outputs = handler.run_reference(prepared, inputs)
        values = list(outputs.values())
        knowledge = learn(workload, knowledge, values)
        known = reference.Reference(inputs, outputs, knowledge)
        reference.save(job.directory / REFERENCE, known)
        verdict = task.check(task_settings, knowledge, values)
        picture = draw(workload, knowledge, values, job.cache_dir, job.directory)
        if not verdict["ok"]:
            raise JobError("WrongOutput", _unsolved(workload, verdict))
    built = _build(job, backend, prepared)
    return {
        "model_sha256": model.sha256,
        "model_bytes": model.path.stat().st_size,
        "input_sha256": reference.inputs_sha256(inputs),
        **built,
        "baseline_model": prepared.onnx.name if prepared.onnx else None,
        "inputs": reference.specs(inputs),
        "outputs": reference.specs(outputs),
        "task_check": verdict,
        "picture": picture,
        "versions": {**backend.versions(), **prepared.versions},
    }


def _build(job: Job, backend: Any, prepared: Any) -> Dict[str, Any]:
    artifact = job.directory / ARTIFACT
    options = job.options
    with job.phase("import"):
        module = backend.import_model(prepared, options)
    with job.phase("compile"):
        built = backend.build(module, job.settings.get("target") or {}, options, _tuning(job, backend))
    with job.phase("export"):
        backend.export(built, artifact, _compiler(job))
    return {
        "artifact_sha256": file_sha256(artifact),
        "artifact_bytes": artifact.stat().st_size,
        "coverage": built.coverage,
    }


def _tuning(job: Job, backend: Any) -> Dict[str, Any]:
    tuning = job.settings.get("tuning") or {"kind": "none"}
    path = tuning.get("path")
    if path is not None and not Path(path).exists():
        raise JobError("BadInput", f"{path}: no such tuning log")
    if path is not None and tuning["kind"] == "log":
        # Another model's records, or another target's, may fit some tasks; the coverage tells.
        wanted = {"stack": job.settings.get("stack"), "method": tuning.get("method"), "versions": backend.versions()}
        refuse_foreign(Path(path), wanted, workloads=False)
        tuning = {**tuning, "path": str(sound(Path(path), str(tuning.get("method")), job.directory))}
    return tuning


def _compiler(job: Job) -> Any:
    compiler = job.settings.get("cross_compiler")
    if compiler and shutil.which(compiler) is None:
        raise JobError("Compile", f"the cross compiler '{compiler}' is not installed on this machine")
    return compiler


def _unsolved(workload: Dict[str, Any], verdict: Dict[str, Any]) -> str:
    answer, expected = (json.dumps(verdict[key], ensure_ascii=False) for key in ("answer", "expected"))
    return (
        f"the reference itself does not solve the task of workload '{workload.get('name')}': "
        f"answer {answer}, expected {expected}; correct the workload's task or inputs"
    )
