"""Turns finished jobs into rows of the store."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tvmops.bench.jobs import Cell
from tvmops.bench.runner import Finished
from tvmops.bench.store import Provenance, Store
from tvmops.bench.store_models import JobRow

GIT_SECONDS = 10.0

# Facts that name people, networks or secrets, or that change by the second, stay out of the store.
_PRIVATE_FACTS = ("env", "user_", "ssh_", "date_time", "all_ipv", "default_ipv", "dns", "interfaces", "cmdline")

# Keys of result.json that have columns of their own.
_COLUMNS = ("schema", "ok", "error", "seconds", "versions", "samples", "differences", "task_check")


class Recorder:
    """Stores the jobs of one run of a sweep."""

    def __init__(self, store: Store, sweep_id: int, project: Path) -> None:
        self._store, self._sweep_id = store, sweep_id
        self._commit, self._dirty = git_state(project)

    def record(self, finished: Finished, cell: Cell) -> None:
        """Store one job in one transaction. Raises StoreError."""
        self._store.add_job(self._sweep_id, job_row(finished), self._provenance(finished, cell))

    def _provenance(self, finished: Finished, cell: Cell) -> Provenance:
        return Provenance(
            stack=cell.stack,
            versions=dict(finished.result.get("versions") or {}),
            target=dict(cell.target),
            host_facts=public_facts(finished.facts) if finished.facts else None,
            git_commit=self._commit,
            git_dirty=self._dirty,
        )


def job_row(finished: Finished) -> JobRow:
    """The row of one finished job."""
    job, result = finished.job, finished.result
    error = None if finished.ok else finished.error
    artifact = result.get("artifact") or {}
    return JobRow(
        key=job.key,
        kind=job.kind,
        workload=job.workload,
        host=job.host,
        stack=job.stack,
        ok=finished.ok,
        error_kind=error and error["kind"],
        error_message=error and error["message"],
        started=finished.started,
        seconds=finished.seconds,
        phases=dict(result.get("seconds") or {}),
        inputs=job.inputs,
        model_sha256=_sha256(result.get("model")),
        input_sha256=_sha256(result.get("inputs")),
        artifact_sha256=artifact.get("sha256"),
        artifact_bytes=artifact.get("bytes"),
        samples=result.get("samples"),
        runs_per_sample=result.get("number"),
        differences=result.get("differences"),
        task=result.get("task_check"),
        conditions_before=finished.before,
        conditions_after=finished.after,
        details={key: value for key, value in result.items() if key not in _COLUMNS},
    )


def public_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts that may be kept and shown: nothing about people, networks or secrets."""
    kept = {}
    for name, value in facts.items():
        bare = name.removeprefix("ansible_")
        if not bare.startswith(_PRIVATE_FACTS) and bare != "machine_id":
            kept[bare] = value
    return kept


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """The commit checked out in `folder` and whether files differ from it; (None, None) outside a repository."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS).stdout.strip()


def _sha256(part: Any) -> str | None:
    return part.get("sha256") if isinstance(part, dict) else None
