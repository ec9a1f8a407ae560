"""Which of a sweep's jobs are still to run, given what is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tvmops.bench.cells import Cell
from tvmops.bench.jobs import BASELINE, COMPILE, KINDS, TUNE, Job, JobSet
from tvmops.bench.store_models import JobRow


@dataclass
class Schedule:
    """The tune jobs and the compile jobs in order, and for every host its own jobs in order."""

    tunes: list[tuple[Job, Cell]] = field(default_factory=list)
    tune_hosts: dict[str, list[str]] = field(default_factory=dict)
    """Key of a tune job -> the hosts that may measure its trials: identical boards."""
    compiles: list[tuple[Job, Cell]] = field(default_factory=list)
    lanes: dict[str, list[tuple[Job, Cell]]] = field(default_factory=dict)
    reused: dict[str, JobRow] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)
    """Keys of all jobs that will run."""
    planned: dict[str, int] = field(default_factory=dict)
    """All jobs of the sweep by kind, stored or not."""

    @property
    def todo(self) -> dict[str, int]:
        """Jobs still to run, by kind."""
        jobs = [job for job, _ in self._work()]
        return {kind: sum(job.kind == kind for job in jobs) for kind in KINDS}

    @property
    def worker_stacks(self) -> list[str]:
        """Stacks whose worker will have something to do."""
        return list(dict.fromkeys(cell.stack for job, cell in self._work() if job.kind != BASELINE))

    def _work(self) -> list[tuple[Job, Cell]]:
        return [*self.tunes, *self.compiles, *(item for lane in self.lanes.values() for item in lane)]

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
    there: Callable[[str, str], bool],
) -> Schedule:
    """What is left to do. A job whose files are gone runs again only when a job that needs them is left.

    `there(kind, key)` says whether the files of a tune or compile job are there. Jobs of `unreachable` hosts stay in
    their lane, so that they are recorded as failed, but nothing is tuned or compiled for them alone.
    """
    every = {job.key: job for jobs in sets for job in jobs.jobs()}
    schedule = Schedule(planned={kind: sum(job.kind == kind for job in every.values()) for kind in KINDS})
    left = {key for key in every if force or key not in stored}
    # What takes trials comes last, so that no other job waits for hours.
    ordered = sorted(sets, key=lambda jobs: jobs.tune is not None)
    needed = _board_jobs(ordered, schedule, left, stored, unreachable)
    hosts = _reachable_hosts(ordered, unreachable)
    for kind in (COMPILE, TUNE):
        for jobs in ordered:
            job = jobs.compile if kind == COMPILE else jobs.tune
            if job is None or job.key in schedule.placed or job.key in schedule.reused:
                continue
            if job.key not in left and (job.key not in needed or there(kind, job.key)):
                schedule.reused[job.key] = stored[job.key]
            elif job.key in hosts:
                schedule.placed.add(job.key)
                (schedule.compiles if kind == COMPILE else schedule.tunes).append((job, jobs.cell))
                needed.add(job.needs or "")
                if kind == TUNE:
                    schedule.tune_hosts[job.key] = hosts[job.key]
    return schedule


def _reachable_hosts(sets: Sequence[JobSet], unreachable: Mapping[str, str]) -> dict[str, list[str]]:
    """Key of each tune and compile job -> the hosts that want it and answer."""
    found: dict[str, list[str]] = {}
    for jobs in sets:
        host = jobs.cell.host.name
        for job in (jobs.compile, jobs.tune):
            if job is not None and host not in unreachable and host not in found.setdefault(job.key, []):
                found[job.key].append(host)
    return {key: names for key, names in found.items() if names}


def _board_jobs(
    sets: Sequence[JobSet],
    schedule: Schedule,
    left: set[str],
    stored: Mapping[str, JobRow],
    unreachable: Mapping[str, str],
) -> set[str]:
    """Fill the lanes; the keys of the jobs whose files they need."""
    needed: set[str] = set()
    for jobs in sets:
        host = jobs.cell.host.name
        for job in (jobs.measure, *jobs.baselines):
            if job.key not in left:
                schedule.reused[job.key] = stored[job.key]
                continue
            if job.key not in schedule.placed:
                schedule.placed.add(job.key)
                schedule.lanes.setdefault(host, []).append((job, jobs.cell))
                if host not in unreachable:
                    needed.add(job.needs or "")
    return needed
