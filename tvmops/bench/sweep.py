"""The use case: run a sweep file against hosts, from reading the store to the last row in it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tvmops.bench import cells as expansion
from tvmops.bench import job_files, jobs
from tvmops.bench.executor import Executor, Outcome
from tvmops.bench.fields import plain
from tvmops.bench.leases import CpuGate
from tvmops.bench.narrowing import Options
from tvmops.bench.pool import WorkerCommand, WorkerPool
from tvmops.bench.recording import Recorder
from tvmops.bench.runner import Board, Emit, JobRunner
from tvmops.bench.schedule import Schedule, make_schedule
from tvmops.bench.store import Store
from tvmops.bench.sweep_file import Sweep
from tvmops.errors import Interrupted, JobFailed, TvmopsError
from tvmops.inventory import Host


@dataclass(frozen=True)
class Surroundings:
    """What a sweep uses beyond its own package; tests and other front ends may bring their own."""

    stacks: Mapping[str, Mapping[str, Any]]
    """Name -> identity (version, pins): part of every compile key."""
    worker_command: Callable[[str, Emit], WorkerCommand]
    """How a stack's worker is started; makes the stack's environment when it is not there yet."""
    make_board: Callable[[Host, Emit], Board]


@dataclass
class SweepResult:
    """How a sweep ended. `stored` counts its jobs that are in the store now."""

    sweep: Sweep
    schedule: Schedule
    seconds: float = 0.0
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def stored(self) -> int:
        """Jobs of this sweep with a good result in the store."""
        return len(self.schedule.reused) + len(self.outcome.done)

    @property
    def status(self) -> str:
        """As the store keeps it."""
        if self.outcome.interrupted:
            return "interrupted"
        return "failed" if self.outcome.failures else "done"

    def raise_if_bad(self) -> None:
        """Raise Interrupted or JobFailed, saying what is done, what failed and why, and how to go on."""
        name, total = self.sweep.name, self.schedule.total
        if self.outcome.interrupted:
            raise Interrupted(
                f"sweep '{name}' stopped: {self.stored} of {total} jobs are stored",
                "the same command goes on from there; nothing stored is run again",
            )
        if not self.outcome.failures:
            return
        lines = [f"sweep '{name}': {len(self.outcome.failures)} of {total} jobs failed, {self.stored} are stored"]
        for failure in self.outcome.failures:
            reason = failure.message.replace("\n", "\n      ")
            lines.append(f"  {failure.job.title}: {failure.kind}: {reason}")
            if failure.skipped:
                lines.append(f"      not run because of it: {', '.join(job.title for job in failure.skipped)}")
        raise JobFailed("\n".join(lines), "when the cause is gone, the same command runs only what is missing")


def run_sweep(
    sweep: Sweep, hosts: Sequence[Host], options: Options, *, around: Surroundings, store: Store, emit: Emit
) -> SweepResult:
    """Run what is missing of `sweep`, narrowed by `options` before, on `hosts` and store it.

    Raises ConfigError for pairs that are impossible, StackError when a stack's environment cannot be made, StoreError,
    and Interrupted when Ctrl-C comes before the first job. Jobs that fail are in the result, and so is a later Ctrl-C.
    """
    started = time.monotonic()
    cells = expansion.expand(sweep, hosts, around.stacks, options.repeat, profile=options.profile)
    cancelled = threading.Event()
    emit = _one_at_a_time(emit)
    boards = {host.name: around.make_board(host, emit) for host in hosts}
    folder = job_files.jobs_folder()
    commands: dict[str, WorkerCommand] = {}
    pool = WorkerPool(commands.__getitem__, folder, cancelled, _worker_limit(boards))
    result = SweepResult(sweep, Schedule())
    with _closing(boards, pool, cancelled, result):
        identities, unreachable = _identify(boards)
        sets = jobs.make_jobs(cells, around.stacks, identities)
        stored = store.stored(job.key for jobs_of in sets for job in jobs_of.jobs())
        result.schedule = make_schedule(
            sets, stored, force=options.force, unreachable=unreachable, there=job_files.there
        )
        emit(_start_event(result, hosts))
        with _noted(store, result, started) as sweep_id:
            # Here and not in a lane: making an environment takes minutes, and Ctrl-C reaches only this thread.
            for stack in result.schedule.worker_stacks:
                commands[stack] = around.worker_command(stack, emit)
            runner = JobRunner(
                pool,
                CpuGate(cancelled, lambda text: emit({"event": "waiting", "host": None, "kind": None, "text": text})),
                sweep.timeouts,
                emit,
                cancelled,
            )
            result.outcome = Executor(
                result.schedule,
                runner,
                Recorder(store, sweep_id, sweep.path.parent),
                boards=boards,
                unreachable=unreachable,
                emit=emit,
                cancelled=cancelled,
                force=options.force,
            ).run()
    emit(_end_event(result))
    return result


def definition(sweep: Sweep) -> dict[str, Any]:
    """A sweep as JSON, as the store keeps it."""
    return {
        "name": sweep.name,
        "description": sweep.description,
        "stack": sweep.stack,
        "hosts": sweep.hosts,
        "baseline": list(sweep.baselines),
        "targets": list(sweep.targets),
        "modes": list(sweep.modes),
        "tuning": [choice.name for choice in sweep.tuning],
        "tune": sweep.tune.document(),
        "references": [
            {"label": one.label, "source": one.source, "seconds": dict(one.seconds)} for one in sweep.references
        ],
        "measure": vars(sweep.measure),
        "timeouts": vars(sweep.timeouts),
        "workloads": [
            {**plain(workload.document), "description": workload.description} for workload in sweep.workloads
        ],
    }


def _identify(boards: Mapping[str, Board]) -> tuple[dict[str, jobs.BoardIdentity], dict[str, str]]:
    """Who answers under each host's name; and why the others do not."""

    def ask(board: Board) -> jobs.BoardIdentity | TvmopsError:
        try:
            return board.identify()
        except TvmopsError as error:
            return error

    with ThreadPoolExecutor(max_workers=max(1, min(32, len(boards)))) as threads:
        answers = dict(zip(boards, threads.map(ask, boards.values()), strict=True))
    good = {name: answer for name, answer in answers.items() if isinstance(answer, jobs.BoardIdentity)}
    return good, {name: str(answer) for name, answer in answers.items() if isinstance(answer, TvmopsError)}


def _worker_limit(boards: Mapping[str, Board]) -> int:
    # One compiles; a measurement on a board with a processor of its own needs another one to drive it.
    apart = sum(not board.shares_cpu for board in boards.values())
    return 1 + min(max(apart, 1), max(2, os.cpu_count() or 2))


@contextlib.contextmanager
def _noted(store: Store, result: SweepResult, started: float) -> Iterator[int]:
    """A row for this run of the sweep, finished however the run ends."""
    sweep, schedule = result.sweep, result.schedule
    sweep_id = store.start_sweep(sweep.name, str(sweep.path), definition(sweep), schedule.total)
    store.reuse_jobs(sweep_id, (row.id for row in schedule.reused.values()))
    result.outcome.interrupted = True  # unless it gets to its end
    try:
        yield sweep_id
    finally:
        result.seconds = time.monotonic() - started
        store.finish_sweep(sweep_id, result.status, result.seconds)


@contextlib.contextmanager
def _closing(
    boards: Mapping[str, Board], pool: WorkerPool, cancelled: threading.Event, result: SweepResult
) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        cancelled.set()
        result.outcome.interrupted = True
        result.raise_if_bad()
    finally:
        pool.close()
        for board in boards.values():
            board.close()


def _one_at_a_time(emit: Emit) -> Emit:
    lock = threading.Lock()

    def locked(event: dict[str, Any]) -> None:
        with lock:
            emit(event)

    return locked


def _start_event(result: SweepResult, hosts: Sequence[Host]) -> dict[str, Any]:
    return {
        "event": "sweep_start",
        "sweep": result.sweep.name,
        "hosts": [host.name for host in hosts],
        "planned": result.schedule.planned,
        "todo": result.schedule.todo,
        "stored": len(result.schedule.reused),
    }


def _end_event(result: SweepResult) -> dict[str, Any]:
    return {
        "event": "sweep_end",
        "sweep": result.sweep.name,
        "status": result.status,
        "seconds": result.seconds,
        "stored": result.stored,
        "planned": result.schedule.total,
        "failed": len(result.outcome.failures),
    }
