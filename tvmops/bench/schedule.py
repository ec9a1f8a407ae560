"""Which of a sweep's jobs are still to run, given what is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tvmops.bench.cells import Cell
from tvmops.bench.jobs import BASELINE, COMPILE, MEASURE, Job, JobSet
from tvmops.bench.store_models import JobRow


@dataclass
class Schedule:
    """The compile jobs in order, and for every host its own jobs in order."""

    compiles: list[tuple[Job, Cell]] = field(default_factory=list)
    lanes: dict[str, list[tuple[Job, Cell]]] = field(default_factory=dict)
    reused: dict[str, JobRow] = field(default_factory=dict)
    planned: dict[str, int] = field(default_factory=dict)
    """All jobs of the sweep by kind, stored or not."""

    @property
    def todo(self) -> dict[str, int]:
        """Jobs still to run, by kind."""
        jobs = [job for job, _ in self.compiles] + [job for lane in self.lanes.values() for job, _ in lane]
        return {kind: sum(job.kind == kind for job in jobs) for kind in (COMPILE, MEASURE, BASELINE)}

    @property
    def worker_stacks(self) -> list[str]:
        """Stacks whose worker will have something to do."""
        work = [*self.compiles, *(item for lane in self.lanes.values() for item in lane)]
        return list(dict.fromkeys(cell.stack for job, cell in work if job.kind != BASELINE))

    @property
    def total(self) -> int:
        """All jobs of the sweep."""
        return sum(self.planned.values())


def make_schedule(
    sets: Sequence[JobSet],
    stored: Mapping[str, JobRow],
    *,
    force: bool,
    unreachable: Mapping[str, str],
    compiled: Callable[[str], bool],
) -> Schedule:
    """What is left to do. A compile runs again only when a job that needs its artifacts is left and they are gone.

    `compiled(key)` says whether a compile's artifacts are there. Jobs of `unreachable` hosts stay in their lane, so
    that they are recorded as failed, but nothing is compiled for them alone.
    """
    every = {job.key: job for jobs in sets for job in jobs.jobs()}
    schedule = Schedule(planned={kind: sum(job.kind == kind for job in every.values()) for kind in _KINDS})
    seen: set[str] = set()
    needed: set[str] = set()
    for jobs in sets:
        for job in (jobs.measure, jobs.baseline):
            if job is None or job.key in seen:
                continue
            seen.add(job.key)
            if job.key in stored and not force:
                schedule.reused[job.key] = stored[job.key]
                continue
            host = jobs.cell.host.name
            schedule.lanes.setdefault(host, []).append((job, jobs.cell))
            if host not in unreachable:
                needed.add(jobs.compile.key)
    for jobs in sets:
        job = jobs.compile
        if job.key in seen:
            continue
        seen.add(job.key)
        wanted = job.key in needed or jobs.cell.host.name not in unreachable
        if job.key in stored and not force and (job.key not in needed or compiled(job.key)):
            schedule.reused[job.key] = stored[job.key]
        elif wanted:
            schedule.compiles.append((job, jobs.cell))
    return schedule


_KINDS = (COMPILE, MEASURE, BASELINE)
