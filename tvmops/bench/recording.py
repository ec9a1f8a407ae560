"""Turns finished jobs into rows of the store."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

from tvmops.bench.cells import Cell
from tvmops.bench.runner import Finished
from tvmops.bench.store import Provenance, Store
from tvmops.bench.store_models import JobRow
from tvmops.bench.targets import machine

GIT_SECONDS = 10.0

# Facts that a measurement depends on. Serial numbers, addresses, users and the environment are nobody's business.
PUBLIC_FACTS = (
    "ansible_architecture",
    "ansible_machine",
    "ansible_userspace_architecture",
    "ansible_distribution",
    "ansible_distribution_version",
    "ansible_distribution_release",
    "ansible_kernel",
    "ansible_processor",
    "ansible_processor_count",
    "ansible_processor_cores",
    "ansible_processor_vcpus",
    "ansible_processor_nproc",
    "ansible_memtotal_mb",
    "ansible_swaptotal_mb",
    "ansible_product_name",
    "ansible_system_vendor",
    "ansible_python_version",
    "ansible_service_mgr",
    "ansible_virtualization_type",
    "ansible_virtualization_role",
)
PUBLIC_PREFIX = "tvmops_"

# Keys of result.json that have columns of their own.
_COLUMNS = (
    "schema",
    "kind",
    "key",
    "ok",
    "error",
    "seconds",
    "versions",
    "samples",
    "runs_per_sample",
    "differences",
    "task_check",
    "model_sha256",
    "input_sha256",
    "artifact_sha256",
    "artifact_bytes",
)


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
        model_sha256=result.get("model_sha256"),
        input_sha256=result.get("input_sha256"),
        artifact_sha256=result.get("artifact_sha256"),
        artifact_bytes=result.get("artifact_bytes"),
        samples=result.get("samples"),
        runs_per_sample=result.get("runs_per_sample"),
        differences=result.get("differences"),
        task=result.get("task_check"),
        conditions_before=finished.before,
        conditions_after=finished.after,
        details={
            **{key: value for key, value in result.items() if key not in _COLUMNS},
            "shares_cpu": finished.shares_cpu,
            "emulated": emulated(finished),
        },
    )


def emulated(finished: Finished) -> bool:
    """Whether the board is of another processor family than this machine, whose processor it runs on."""
    name = (finished.facts or {}).get("ansible_machine")
    return bool(finished.shares_cpu and name and machine(str(name)) != machine(platform.machine()))


def public_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts that may be kept and shown: nothing about people, networks or serial numbers."""
    return {name: value for name, value in facts.items() if name in PUBLIC_FACTS or name.startswith(PUBLIC_PREFIX)}


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
