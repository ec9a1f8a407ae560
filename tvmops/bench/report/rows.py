"""The rows of a report: one variant of one workload on one host, TVM beside what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmops.bench.evidence import notes_of
from tvmops.bench.jobs import BASELINE, MEASURE, target_name
from tvmops.bench.report import words
from tvmops.bench.statistics import Ratio, Summary, ratio, summarise
from tvmops.bench.store_models import JobRow, ProvenanceRow, SweepRow


@dataclass(frozen=True)
class Timing:
    """One runtime's measurement of one workload on one host."""

    job: JobRow
    provenance: ProvenanceRow
    summary: Summary | None
    """None when the job failed."""

    @property
    def samples(self) -> list[float]:
        """Raw samples in seconds; empty when the job failed."""
        return list(self.job.samples or [])


@dataclass(frozen=True)
class Row:
    """One variant of one workload on one host: TVM beside the first baseline that has a number, and the others."""

    workload: str
    host: str
    tvm: Timing | None
    baseline: Timing | None
    ratio: Ratio | None
    notes: tuple[str, ...]
    description: str = ""
    """What the model is and must do, from the sweep file."""
    task_kind: str = "raw"
    variant: str = ""
    """Target, mode and tuning where they are not the default."""
    tuning: str = ""
    """How its code was tuned, and how much of it was not."""
    others: Mapping[str, Timing] = field(default_factory=dict)
    """The baselines by runtime."""
    missing: str = ""
    """Why there is no TVM number: the failed compile, or that nothing was run yet."""

    @property
    def ok(self) -> bool:
        """Whether TVM was measured."""
        return self.tvm is not None and self.tvm.summary is not None

    @property
    def answer(self) -> str:
        """What the model answered on the board."""
        task = self.tvm.job.task if self.tvm else None
        return str(task.get("answer", "")) if task else ""

    @property
    def answer_words(self) -> str:
        """The answer as people say it."""
        return words.answer(self.task_kind, self.answer)

    @property
    def answer_ok(self) -> bool | None:
        """Whether that is right; None when the workload has no task."""
        task = self.tvm.job.task if self.tvm else None
        return None if not task or task.get("ok") is None else bool(task["ok"])


def timing_of(job: JobRow, provenance: ProvenanceRow) -> Timing:
    """A job with the statistics of its samples."""
    return Timing(job, provenance, summarise(job.samples) if job.ok and job.samples else None)


def rows_of(sweep: SweepRow, compiles: Sequence[Timing], found: Sequence[tuple[JobRow, ProvenanceRow]]) -> list[Row]:
    """The rows in the order of the sweep file's workloads."""
    timings = [timing_of(job, origin) for job, origin in found]
    measured = {_place(timing.job): timing for timing in timings if timing.job.kind == MEASURE}
    base: dict[tuple[str, str | None], dict[str, Timing]] = {}
    for timing in timings:
        if timing.job.kind == BASELINE:
            runtime = str(timing.job.inputs.get("runtime", "onnxruntime"))
            base.setdefault((timing.job.workload, timing.job.host), {})[runtime] = timing
    wanted = sweep.definition.get("baseline")
    order = wanted if isinstance(wanted, list) else []
    made = {timing.job.key: timing.job for timing in compiles}
    rows = []
    for workload in sweep.definition["workloads"]:
        name = str(workload["name"])
        places = [place for place in measured if place[0] == name]
        places += [(*pair, "") for pair in base if pair[0] == name and not any(pair == place[:2] for place in places)]
        for place in sorted(places, key=lambda place: str(place[1])):
            known = base.get((name, place[1]), {})
            beside = {runtime: known[runtime] for runtime in [*order, *known] if runtime in known}
            rows.append(_row(workload, place, measured.get(place), beside, made))
        failed = [timing.job for timing in compiles if timing.job.workload == name and not timing.job.ok]
        if not places and failed:
            why = f"compile failed: {failed[0].error_kind}"
            rows.append(Row(name, "-", None, None, None, (), str(workload.get("description", "")), missing=why))
    return rows


def compile_target(timing: Timing) -> str:
    """The target of a compile job in a word."""
    return target_name(timing.provenance.target or {})


def tuning_words(compiled: JobRow | None) -> str:
    """How the code of a compile job was tuned: "untuned", or by what, and how many tasks have no record."""
    if compiled is None or not compiled.inputs.get("tuning"):
        return "untuned"
    coverage = compiled.details.get("coverage") or {}
    tasks, untuned = coverage.get("tasks"), coverage.get("untuned")
    if not untuned:
        return "tuned"
    return "untuned: no record fits" if untuned == tasks else f"tuned but for {untuned} of {tasks} tasks"


Place = tuple[str, str | None, str]


def _place(job: JobRow) -> Place:
    return job.workload, job.host, ", ".join((job.inputs.get("variant") or {}).values())


def _row(
    workload: dict[str, Any],
    place: Place,
    tvm: Timing | None,
    beside: Mapping[str, Timing],
    compiled: Mapping[str, JobRow],
) -> Row:
    missing = ""
    if tvm is None:
        missing = "not measured"
    elif tvm.summary is None:
        missing = f"failed: {tvm.job.error_kind}"
    first = next((timing for timing in beside.values() if timing.summary), next(iter(beside.values()), None))
    quotient = None
    if tvm and first and tvm.summary and first.summary:
        quotient = ratio(tvm.samples, first.samples)
    return Row(
        place[0],
        str(place[1]),
        tvm,
        first,
        quotient,
        tuple(notes_of(tvm.job, tvm.provenance.host_facts)) if tvm and tvm.job.ok else (),
        str(workload.get("description", "")),
        str((workload.get("task") or {}).get("kind", "raw")),
        place[2],
        tuning_words(compiled.get(str(tvm.job.inputs.get("compile")))) if tvm else "",
        beside,
        missing,
    )
