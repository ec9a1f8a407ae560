"""A sweep's matrix of workloads x hosts as jobs, each named by the hash of everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmops.bench import vta
from tvmops.bench.cells import Cell, source_extra
from tvmops.bench.fields import plain
from tvmops.bench.sweep_file import Measure

# Part of every key: raise it when the same inputs no longer lead to the same work.
JOB_REVISION = 1

TUNE, COMPILE, MEASURE, BASELINE = "tune", "compile", "measure", "baseline"
KINDS = (TUNE, COMPILE, MEASURE, BASELINE)
TUNING_EXTRA = "tuning"
# The error of a baseline that a board does not have: told, and no failure.
ABSENT = "Absent"


@dataclass(frozen=True)
class BoardIdentity:
    """Which machine answered under a host's name, and which TVM runtime and which baseline it carries.

    Boards of the same `model` (a hash over processor, cores and device tree) are identical: they may tune together.
    """

    machine_id: str | None = None
    release: str | None = None
    baseline: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Job:
    """One unit of work. `inputs` decide its key; `needs` is the key of the job whose files it uses.

    `variant` tells people which of several jobs for the same workload and host it is.
    """

    kind: str
    workload: str
    stack: str
    inputs: dict[str, Any]
    host: str | None = None
    needs: str | None = None
    variant: str = ""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.inputs))

    @property
    def title(self) -> str:
        """How people see the job."""
        variant = f" ({self.variant})" if self.variant else ""
        if self.host is None:
            return f"{self.kind} {self.workload} for {target_name(self.inputs['target'])}{variant}"
        verb = "measure" if self.kind == MEASURE else self.inputs["runtime"]
        return f"{verb} {self.workload} on {self.host}{variant}"


@dataclass(frozen=True)
class JobSet:
    """The jobs of one cell. `tune` is None where no trials are measured for it."""

    cell: Cell
    compile: Job
    measure: Job
    baselines: tuple[Job, ...] = ()
    tune: Job | None = None

    def jobs(self) -> list[Job]:
        """All of them, in the order they run."""
        return [*([self.tune] if self.tune else []), self.compile, self.measure, *self.baselines]


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
        identity = boards.get(cell.host.name, BoardIdentity())
        tune = _tune_job(cell, stacks[cell.stack], identity) if cell.tuning.searches else None
        compile_job = _compile_job(cell, stacks[cell.stack], tune)
        measure = _measure_job(cell, compile_job, identity)
        baselines = tuple(_baseline_job(cell, name, compile_job, identity) for name in cell.baselines)
        sets.append(JobSet(cell, compile_job, measure, baselines, tune))
    return sets


def target_name(target: Mapping[str, Any]) -> str:
    """A target in a word or two."""
    if vta.uses_vta(target):
        return f"VTA ({target.get('model')})"
    return str(target.get("mcpu") or target.get("mtriple") or target.get("tag") or target.get("kind"))


def _tune_job(cell: Cell, stack: Mapping[str, Any], board: BoardIdentity) -> Job:
    # No host: trials of identical boards are as good as each other, however many there are.
    inputs = {
        "revision": JOB_REVISION,
        "kind": TUNE,
        "stack": _stack_identity(cell, stack, TUNING_EXTRA),
        "workload": cell.workload.document,
        "target": plain(cell.target),
        "cross_compiler": cell.cross_compiler,
        "method": cell.tuning.method,
        "tune": cell.tune.document(),
        "board_model": board.model,
    }
    return Job(TUNE, cell.workload.name, cell.stack, inputs, variant=cell.tuning.name)


def _compile_job(cell: Cell, stack: Mapping[str, Any], tune: Job | None) -> Job:
    inputs: dict[str, Any] = {
        "revision": JOB_REVISION,
        "kind": COMPILE,
        "stack": _stack_identity(cell, stack),
        "workload": cell.workload.document,
        "target": plain(cell.target),
        "cross_compiler": cell.cross_compiler,
    }
    applied = {"tune": tune.key} if tune else cell.tuning.inputs()
    if applied:
        inputs["tuning"] = applied
    if vta.uses_vta(cell.target):
        inputs["vta"] = vta.decisive(cell.workload, cell.host, cell.target)
    variant = cell.tuning.name if cell.tuning.name != "none" else ""
    return Job(COMPILE, cell.workload.name, cell.stack, inputs, needs=tune.key if tune else None, variant=variant)


def _stack_identity(cell: Cell, stack: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """A stack's pins, of its extras only those that the workload needs, and `more`."""
    identity = {key: plain(value) for key, value in stack.items() if key != "extras"}
    known = stack.get("extras") or {}
    extras = [name for name in (source_extra(cell.workload), *more) if name is not None and name in known]
    if extras:
        identity["extra"] = {name: plain(known[name]) for name in extras}
    return identity


def _measure_job(cell: Cell, compile_job: Job, board: BoardIdentity) -> Job:
    inputs: dict[str, Any] = {
        "revision": JOB_REVISION,
        "kind": MEASURE,
        "compile": compile_job.key,
        "measure": measure_settings(cell.measure, cell.threads),
        "board": {"host": cell.host.name, "machine_id": board.machine_id, "release": board.release},
        "target": plain(cell.target),
    }
    if cell.variant:
        inputs["variant"] = cell.variant
    if cell.profile:
        inputs["profile"] = True
    variant = ", ".join(cell.variant.values())
    return Job(MEASURE, cell.workload.name, cell.stack, inputs, cell.host.name, compile_job.key, variant)


def _baseline_job(cell: Cell, runtime: str, compile_job: Job, board: BoardIdentity) -> Job:
    # No stack, target or release: the other runtime's numbers stay good when TVM changes.
    inputs = {
        "revision": JOB_REVISION,
        "kind": BASELINE,
        "runtime": runtime,
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
