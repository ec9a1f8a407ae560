"""One run of a sweep as a reader wants it: the rows of the store, joined and with statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmops.bench.evidence import notes_of
from tvmops.bench.jobs import BASELINE, COMPILE, MEASURE, target_name
from tvmops.bench.report import words
from tvmops.bench.statistics import Ratio, Summary, geometric_mean, ratio, summarise
from tvmops.bench.store import Store
from tvmops.bench.store_models import JobRow, ProvenanceRow, SweepRow
from tvmops.errors import ConfigError
from tvmops.source import did_you_mean

LATEST = "latest"


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
    """One workload on one host: TVM beside the baseline."""

    workload: str
    host: str
    tvm: Timing | None
    baseline: Timing | None
    ratio: Ratio | None
    notes: tuple[str, ...]
    description: str = ""
    """What the model is and must do, from the sweep file."""
    task_kind: str = "raw"
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


@dataclass
class Picture:
    """Everything that a report of one sweep run shows."""

    sweep: SweepRow
    rows: list[Row] = field(default_factory=list)
    compiles: list[Timing] = field(default_factory=list)
    failures: list[JobRow] = field(default_factory=list)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    shared_hosts: list[str] = field(default_factory=list)
    """Hosts that run on this machine's own processor."""
    versions: dict[str, str] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @property
    def workloads(self) -> list[str]:
        """In the order of the sweep file."""
        return list(dict.fromkeys(row.workload for row in self.rows))

    @property
    def right_answers(self) -> tuple[int, int]:
        """Right answers, and answers that were checked."""
        checked = [row.answer_ok for row in self.rows if row.answer_ok is not None]
        return sum(checked), len(checked)

    @property
    def mean_ratio(self) -> float | None:
        """Geometric mean of the ratios to the baseline."""
        values = [row.ratio.value for row in self.rows if row.ratio]
        return geometric_mean(values) if values else None

    @property
    def complete(self) -> bool:
        """Whether every planned job is in the store."""
        return self.sweep.status == "done"


def find_sweep(store: Store, name: str) -> SweepRow:
    """The newest run of sweep `name`, of any sweep for "latest", or the run with that number.

    Raises ConfigError when there is none.
    """
    every = store.sweeps()
    if not every:
        raise ConfigError(f"{store.url}: no results yet", "measure something: tvmops sweep sweeps/smoke.yml")
    if name.isdigit():
        wanted = [row for row in every if row.id == int(name)]
    else:
        wanted = [row for row in every if name in (LATEST, row.name)]
    if not wanted:
        names = {row.name for row in every} | {LATEST}
        raise ConfigError(f"--sweep {name}: no such sweep in {store.url}", did_you_mean(name, names))
    return wanted[-1]


def take_picture(store: Store, sweep: SweepRow) -> Picture:
    """Read one run of a sweep and derive what a report shows."""
    found = store.jobs(sweep.id)
    picture = Picture(sweep)
    picture.compiles = _newest([_timing(job, origin) for job, origin, _ in found if job.kind == COMPILE])
    order = [str(workload["name"]) for workload in sweep.definition["workloads"]]
    picture.compiles.sort(key=lambda timing: (order.index(timing.job.workload), compile_target(timing)))
    picture.failures = [job for job, _, _ in found if not job.ok]
    picture.rows = _rows(sweep, picture.compiles, [(job, origin) for job, origin, _ in found])
    for job, origin, _ in found:
        if job.host is not None and origin.host_facts:
            picture.hosts[job.host] = origin.host_facts
        if job.host is not None and job.details.get("shares_cpu") and job.host not in picture.shared_hosts:
            picture.shared_hosts.append(job.host)
        if origin.git_commit is not None:
            text = origin.git_commit[:12] + (" with local changes" if origin.git_dirty else "")
            if text not in picture.commits:
                picture.commits.append(text)
    picture.versions = _versions([origin for _, origin, _ in found])
    return picture


def _timing(job: JobRow, provenance: ProvenanceRow) -> Timing:
    return Timing(job, provenance, summarise(job.samples) if job.ok and job.samples else None)


def _newest(timings: Sequence[Timing]) -> list[Timing]:
    """The last one of each key."""
    return list({timing.job.key: timing for timing in timings}.values())


def _rows(sweep: SweepRow, compiles: Sequence[Timing], found: Sequence[tuple[JobRow, ProvenanceRow]]) -> list[Row]:
    tvm = {(job.workload, job.host): _timing(job, origin) for job, origin in found if job.kind == MEASURE}
    base = {(job.workload, job.host): _timing(job, origin) for job, origin in found if job.kind == BASELINE}
    failed = {timing.job.workload: timing.job for timing in compiles if not timing.job.ok}
    hosts = sorted({host for _, host in [*tvm, *base] if host is not None})
    rows = []
    for workload in sweep.definition["workloads"]:
        name = str(workload["name"])
        present = [host for host in hosts if (name, host) in tvm or (name, host) in base]
        for host in present:
            rows.append(_row(workload, host, tvm.get((name, host)), base.get((name, host))))
        if not present and name in failed:
            why = f"compile failed: {failed[name].error_kind}"
            rows.append(Row(name, "-", None, None, None, (), str(workload.get("description", "")), missing=why))
    return rows


def _row(workload: dict[str, Any], host: str, tvm: Timing | None, baseline: Timing | None) -> Row:
    missing = ""
    if tvm is None:
        missing = "not measured"
    elif tvm.summary is None:
        missing = f"failed: {tvm.job.error_kind}"
    quotient = None
    if tvm and baseline and tvm.summary and baseline.summary:
        quotient = ratio(tvm.samples, baseline.samples)
    notes = notes_of(tvm.job, tvm.provenance.host_facts) if tvm and tvm.job.ok else ()
    kind = str((workload.get("task") or {}).get("kind", "raw"))
    description = str(workload.get("description", ""))
    return Row(str(workload["name"]), host, tvm, baseline, quotient, tuple(notes), description, kind, missing)


def _versions(origins: Sequence[ProvenanceRow]) -> dict[str, str]:
    seen: dict[str, list[str]] = {}
    for origin in origins:
        for name, version in origin.versions.items():
            values = seen.setdefault(name, [])
            if version is not None and str(version) not in values:
                values.append(str(version))
    return {name: ", ".join(values) for name, values in sorted(seen.items()) if values}


def compile_target(timing: Timing) -> str:
    """The target of a compile job in a word."""
    return target_name(timing.provenance.target or {})
