"""Runs one job of any kind and leaves its result.json."""

from __future__ import annotations

import gc
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from . import compile_job, measure_job, memory, tune_job
from .failures import JobError, first_words
from .job import SCHEMA, Job, failure_result, write_result
from .job_log import output_to

KINDS: Dict[str, Callable[..., Dict[str, Any]]] = {
    "compile": compile_job.run,
    "measure": measure_job.run,
    "tune": tune_job.run,
}


def run_job(directory: Path, backend: Any, hung: Callable[[], None]) -> bool:
    """Runs the job in `directory`; True if it succeeded.

    `hung` tells the controller that the job failed when its deadline passes, just before the process ends.
    """
    if not directory.is_dir():
        return False
    (directory / "events.jsonl").write_bytes(b"")
    with output_to(directory / "log.txt"):
        job: Optional[Job] = None
        try:
            job = Job(directory)
            result = _run(job, backend, hung)
        except JobError as error:
            traceback.print_exc()
            result = failure_result(error, job, backend.versions())
        except Exception as error:
            traceback.print_exc()
            words = f"{type(error).__name__}: {first_words(error)}; the whole story is in {directory / 'log.txt'}"
            result = failure_result(JobError("Internal", words), job, backend.versions())
        write_result(directory, result)
    # The frames of an exception may hold objects that live on a board, and with them its session.
    gc.collect()
    return bool(result["ok"])


def _run(job: Job, backend: Any, hung: Callable[[], None]) -> Dict[str, Any]:
    if job.kind not in KINDS:
        raise JobError("BadInput", f"a worker does not run jobs of kind '{job.kind}', only {', '.join(KINDS)}")
    memory.reset_peak()
    outcome = KINDS[job.kind](job, backend, hung)
    outcome.setdefault("versions", backend.versions())
    return {
        "schema": SCHEMA,
        "kind": job.kind,
        "key": job.settings.get("key"),
        "ok": True,
        "seconds": dict(job.seconds),
        "peak_rss_bytes": memory.peak_rss_bytes(),
        **outcome,
    }
