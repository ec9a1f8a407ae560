"""The measure job: run a compiled model on a board, compare with the reference, and only then take its time."""

from __future__ import annotations

import json
import math
from typing import Any, Callable, Dict

from . import reference
from .compare import compare, tolerance_of
from .failures import JobError
from .job import Job, failure_result, file_sha256, write_result
from .local_outcome import LocalOutcome
from .tasks import draw, settings_of, task_of
from .watchdog import deadline

CONNECT_SECONDS = 30.0
SESSION_SECONDS = 300.0
GRACE_SECONDS = 15.0


def run(job: Job, backend: Any, hung: Callable[[], None]) -> Dict[str, Any]:
    """Does the job. Returns what result.json holds beside the phases' seconds."""
    artifact = job.file("artifact")
    known = reference.load(job.file("reference"))
    settings = measure_settings(job.settings.get("measure") or {})
    _check_versions(job, backend)
    rpc = job.settings.get("rpc") or {}
    patience = float(rpc.get("connect_timeout", CONNECT_SECONDS))
    with job.phase("connect"), deadline(patience, lambda: _hung(job, backend, hung, patience)):
        local = job.settings.get("mode") == "local"
        board = LocalOutcome(job) if local else backend.connect(rpc, job.settings.get("target") or {})
    limit = float(rpc.get("session_timeout", SESSION_SECONDS)) + GRACE_SECONDS
    with deadline(limit, lambda: _hung(job, backend, hung, limit)):
        try:
            outcome = _on_board(job, board, artifact, known, settings)
        finally:
            board.close()
    if local:
        job.seconds = board.seconds
        outcome["peak_rss_bytes"] = board.peak_rss_bytes
    return {
        **outcome,
        "threads": settings["threads"],
        "warmup": settings["warmup"],
        "tolerance": tolerance_of(job.workload),
        "input_sha256": reference.inputs_sha256(known.inputs),
        "artifact_sha256": file_sha256(artifact),
        "artifact_bytes": artifact.stat().st_size,
    }


def _on_board(
    job: Job, board: Any, artifact: Any, known: reference.Reference, settings: Dict[str, int]
) -> Dict[str, Any]:
    workload = job.workload
    with job.phase("upload"):
        board.upload(artifact)
    with job.phase("load"):
        board.load(artifact, known.inputs, settings["threads"], job.options)
    with job.phase("first_run"):
        first = board.run()
    with job.phase("check"):
        outputs = reference.name_outputs(list(known.outputs), board.outputs())
        found = compare(known.outputs, outputs, tolerance_of(workload))
        verdict = _solved(workload, known, outputs)
        details = board.details()
        picture = draw(workload, known.knowledge, list(outputs.values()), job.cache_dir, job.directory)
    with job.phase("warmup"):
        number = runs_per_sample(board.warm_up(max(1, settings["warmup"])), settings)
    with job.phase("measure"):
        samples = board.measure(settings["repeat"], number)
    profile = None
    if job.settings.get("profile"):
        with job.phase("profile"):
            profile = board.profile()
    return {
        **({"profile": profile} if profile is not None else {}),
        **details,
        "samples": [float(sample) for sample in samples],
        "runs_per_sample": number,
        "first_run_seconds": first,
        "differences": found,
        "task_check": verdict,
        "picture": picture,
    }


def _solved(workload: Dict[str, Any], known: reference.Reference, outputs: Dict[str, Any]) -> Dict[str, Any]:
    verdict = task_of(workload).check(settings_of(workload), known.knowledge, list(outputs.values()))
    if not verdict["ok"]:
        answer, expected = (json.dumps(verdict[key], ensure_ascii=False) for key in ("answer", "expected"))
        raise JobError("WrongOutput", f"the board's answer is {answer}, expected {expected}; no time of it is kept")
    return verdict


def measure_settings(given: Dict[str, Any]) -> Dict[str, int]:
    """warmup, repeat, number, min_repeat_ms and threads, with defaults. Raises JobError (BadInput)."""
    settings = {"warmup": 3, "repeat": 20, "number": 1, "min_repeat_ms": 50, "threads": 1}
    least = {"warmup": 0, "repeat": 1, "number": 1, "min_repeat_ms": 0, "threads": 1}
    for name, default in settings.items():
        value = given.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least[name]:
            raise JobError(
                "BadInput", f"measure.{name} must be a whole number of at least {least[name]}, not {value!r}"
            )
        settings[name] = value
    return settings


def runs_per_sample(seconds_per_run: float, settings: Dict[str, int]) -> int:
    """How many runs make a sample that lasts min_repeat_ms, and at least `number`. baseline.py counts the same way."""
    needed = math.ceil(settings["min_repeat_ms"] / 1000.0 / max(seconds_per_run, 1e-9))
    return max(settings["number"], needed)


def _check_versions(job: Job, backend: Any) -> None:
    board = (job.settings.get("board") or {}).get("tvm_version")
    own = backend.versions().get("tvm")
    if board and own and board != own:
        raise JobError(
            "VersionMismatch",
            f"the board runs TVM {board}, this stack compiles with TVM {own}; provision the board for this stack",
        )


def _hung(job: Job, backend: Any, hung: Callable[[], None], seconds: float) -> None:
    rpc = job.settings.get("rpc") or {}
    message = (
        f"the RPC server behind {rpc.get('host')}:{rpc.get('port')} gave no answer for {seconds:.0f} s; "
        f"it is dead or another client holds it: restart the RPC server on the board"
    )
    write_result(job.directory, failure_result(JobError("Rpc", message), job, backend.versions()))
    hung()
