"""One run of a sweep as a reader wants it: the rows of the store, joined and with statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmops.bench.jobs import ABSENT, COMPILE, TUNE
from tvmops.bench.report.rows import Row, Timing, compile_target, rows_of, timing_of
from tvmops.bench.statistics import geometric_mean
from tvmops.bench.store import Store
from tvmops.bench.store_models import JobRow, ProvenanceRow, SweepRow
from tvmops.errors import ConfigError
from tvmops.source import did_you_mean

LATEST = "latest"


@dataclass
class Picture:
    """Everything that a report of one sweep run shows."""

    sweep: SweepRow
    rows: list[Row] = field(default_factory=list)
    compiles: list[Timing] = field(default_factory=list)
    tunes: list[Timing] = field(default_factory=list)
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
    def runtimes(self) -> list[str]:
        """What TVM is compared with, in the sweep file's order; onnxruntime alone where nothing was."""
        return list(dict.fromkeys(runtime for row in self.rows for runtime in row.others)) or ["onnxruntime"]

    @property
    def first_runtime(self) -> str:
        """What the ratios are to: the first of `runtimes` with a number."""
        return next(iter(self.timed_runtimes), self.runtimes[0])

    @property
    def timed_runtimes(self) -> list[str]:
        """Those of `runtimes` that have a number."""
        timed = {runtime for row in self.rows for runtime, timing in row.others.items() if timing.summary}
        return [runtime for runtime in self.runtimes if runtime in timed]

    @property
    def absent_runtimes(self) -> list[str]:
        """Those of `runtimes` that no host has."""
        found = {runtime: timing.job for row in self.rows for runtime, timing in row.others.items()}
        absent = [name for name in found if name not in self.timed_runtimes and found[name].error_kind == ABSENT]
        return [runtime for runtime in self.runtimes if runtime in absent]

    @property
    def has_variants(self) -> bool:
        """Whether there is more to tell apart than workloads and hosts."""
        return any(row.variant for row in self.rows)

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
    picture.compiles = _newest([timing_of(job, origin) for job, origin, _ in found if job.kind == COMPILE])
    picture.tunes = _newest([timing_of(job, origin) for job, origin, _ in found if job.kind == TUNE])
    order = [str(workload["name"]) for workload in sweep.definition["workloads"]]
    picture.compiles.sort(key=lambda timing: (order.index(timing.job.workload), compile_target(timing)))
    picture.failures = [job for job, _, _ in found if not job.ok and job.error_kind != ABSENT]
    picture.rows = rows_of(sweep, picture.compiles, [(job, origin) for job, origin, _ in found])
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


def _newest(timings: Sequence[Timing]) -> list[Timing]:
    """The last one of each key."""
    return list({timing.job.key: timing for timing in timings}.values())


def _versions(origins: Sequence[ProvenanceRow]) -> dict[str, str]:
    seen: dict[str, list[str]] = {}
    for origin in origins:
        for name, version in origin.versions.items():
            values = seen.setdefault(name, [])
            if version is not None and str(version) not in values:
                values.append(str(version))
    return {name: ", ".join(values) for name, values in sorted(seen.items()) if values}
