"""A sweep's matrix of workloads x hosts as jobs, each named by the hash of everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmops.bench.cells import Cell, source_extra
from tvmops.bench.sweep_file import Measure, plain

# Part of every key: raise it when the same inputs no longer lead to the same work.
JOB_REVISION = 1

COMPILE, MEASURE, BASELINE = "compile", "measure", "baseline"


@dataclass(frozen=True)
class BoardIdentity:
    """Which machine answered under a host's name, and which TVM runtime and which baseline it carries."""

    machine_id: str | None = None
    release: str | None = None
    baseline: str | None = None


@dataclass(frozen=True)
class Job:
    """One unit of work. `inputs` decide its key; `needs` is the key of the compile job it depends on."""

    kind: str
    workload: str
    stack: str
    inputs: dict[str, Any]
    host: str | None = None
    needs: str | None = None
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.inputs))

    @property
    def title(self) -> str:
        """How people see the job."""
        if self.host is None:
            return f"compile {self.workload} for {target_name(self.inputs['target'])}"
        verb = "measure" if self.kind == MEASURE else self.inputs["runtime"]
        return f"{verb} {self.workload} on {self.host}"


@dataclass(frozen=True)
class JobSet:
    """The jobs of one cell. `baseline` is None when the sweep wants none."""

    cell: Cell
    compile: Job
    measure: Job
    baseline: Job | None

    def jobs(self) -> list[Job]:
        """All of them, in the order they run."""
        return [job for job in (self.compile, self.measure, self.baseline) if job is not None]


def key_of(inputs: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of `inputs`: the same whatever the order of keys."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def make_jobs(
    cells: Sequence[Cell],
    stacks: Mapping[str, Mapping[str, Any]],
    boards: Mapping[str, BoardIdentity],
) -> list[JobSet]:
    """The jobs of every cell; cells that share a target and a compiler share their compile job."""
    sets = []
    for cell in cells:
        compile_job = _compile_job(cell, stacks[cell.stack])
        identity = boards.get(cell.host.name, BoardIdentity())
        measure = _measure_job(cell, compile_job, identity)
        baseline = None
        if cell.baseline != "none":
            baseline = _baseline_job(cell, compile_job, identity)
        sets.append(JobSet(cell, compile_job, measure, baseline))
    return sets


def target_name(target: Mapping[str, Any]) -> str:
    """A target in a word or two."""
    return str(target.get("mcpu") or target.get("mtriple") or target.get("tag") or target.get("kind"))


def _compile_job(cell: Cell, stack: Mapping[str, Any]) -> Job:
    inputs = {
        "revision": JOB_REVISION,
        "kind": COMPILE,
        "stack": _stack_identity(cell, stack),
        "workload": cell.workload.document,
        "target": plain(cell.target),
        "cross_compiler": cell.cross_compiler,
    }
    return Job(COMPILE, cell.workload.name, cell.stack, inputs)


def _stack_identity(cell: Cell, stack: Mapping[str, Any]) -> dict[str, Any]:
    """A stack's pins, of its extras only those that the workload needs."""
    identity = {key: plain(value) for key, value in stack.items() if key != "extras"}
    extra = source_extra(cell.workload)
    if extra is not None:
        identity["extra"] = {extra: plain((stack.get("extras") or {}).get(extra))}
    return identity


def _measure_job(cell: Cell, compile_job: Job, board: BoardIdentity) -> Job:
    inputs = {
        "revision": JOB_REVISION,
        "kind": MEASURE,
        "compile": compile_job.key,
        "measure": measure_settings(cell.measure, cell.threads),
        "board": {"host": cell.host.name, "machine_id": board.machine_id, "release": board.release},
        "target": plain(cell.target),
    }
    return Job(MEASURE, cell.workload.name, cell.stack, inputs, cell.host.name, compile_job.key)


def _baseline_job(cell: Cell, compile_job: Job, board: BoardIdentity) -> Job:
    # No stack, target or release: the other runtime's numbers stay good when TVM changes.
    inputs = {
        "revision": JOB_REVISION,
        "kind": BASELINE,
        "runtime": cell.baseline,
        "workload": cell.workload.document,
        "measure": measure_settings(cell.measure, cell.threads),
        "board": {"host": cell.host.name, "machine_id": board.machine_id, "baseline": board.baseline},
    }
    return Job(BASELINE, cell.workload.name, cell.stack, inputs, cell.host.name, compile_job.key)


def measure_settings(measure: Measure, threads: int) -> dict[str, int]:
    """The `measure` object of job.json."""
    return {
        "warmup": measure.warmup,
        "repeat": measure.repeat,
        "number": measure.number,
        "min_repeat_ms": measure.min_repeat_ms,
        "threads": threads,
    }
