"""Runs a sweep's jobs: compiles in one lane, every board in a lane of its own; each job is stored as it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tvmops.bench import job_files
from tvmops.bench.cells import Cell
from tvmops.bench.jobs import MEASURE, Job
from tvmops.bench.leases import Cancelled
from tvmops.bench.recording import Recorder
from tvmops.bench.runner import Board, Emit, Finished, JobRunner, describe
from tvmops.bench.schedule import Schedule
from tvmops.bench.store import utc_now

POLL_SECONDS = 0.1
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Failure:
    """A job that failed. `skipped` jobs did not run because of it."""

    job: Job
    kind: str
    message: str
    skipped: tuple[Job, ...] = ()


@dataclass
class Outcome:
    """What a run of a sweep came to."""

    done: list[Job] = field(default_factory=list)
    absent: list[Job] = field(default_factory=list)
    """Baselines that a board does not have: told, and no failure."""
    failures: list[Failure] = field(default_factory=list)
    interrupted: bool = False


class Executor:
    """One run of a schedule."""

    def __init__(
        self,
        schedule: Schedule,
        runner: JobRunner,
        recorder: Recorder,
        *,
        boards: Mapping[str, Board],
        unreachable: Mapping[str, str],
        emit: Emit,
        cancelled: threading.Event,
        force: bool,
    ) -> None:
        self._schedule, self._runner, self._recorder = schedule, runner, recorder
        self._boards, self._unreachable = boards, unreachable
        self._emit, self._cancelled, self._force = emit, cancelled, force
        self._lock = threading.Lock()
        self._outcome = Outcome()
        self._crash: BaseException | None = None
        self._skipped: dict[str, list[Job]] = {}  # key of the job that failed -> those it took along
        before_boards = [*schedule.tunes, *schedule.compiles]
        self._ended: dict[str, Future[Finished]] = {job.key: Future() for job, _ in before_boards}

    def run(self) -> Outcome:
        """Run everything. On Ctrl-C stops what runs and returns with `interrupted` set; what ended is stored."""
        lanes = [self._thread("tune", self._tune_lane), self._thread("compile", self._compile_lane)]
        lanes += [self._thread(host, partial(self._board_lane, host)) for host in self._schedule.lanes]
        for lane in lanes:
            lane.start()
        try:
            while any(lane.is_alive() for lane in lanes):
                for lane in lanes:
                    lane.join(POLL_SECONDS)
        except KeyboardInterrupt:
            self._outcome.interrupted = True
            self._stop(lanes)
        if self._crash is not None:
            raise self._crash
        failures = self._outcome.failures
        self._outcome.failures = [
            replace(failure, skipped=tuple(self._skipped.get(failure.job.key, ()))) for failure in failures
        ]
        return self._outcome

    def _stop(self, lanes: list[threading.Thread]) -> None:
        self._cancelled.set()
        for board in self._boards.values():
            board.close()  # breaks whatever waits for the board
        for lane in lanes:
            lane.join(STOP_SECONDS)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except Cancelled:
                pass
            except BaseException as error:  # a fault of the store, or of ours: the whole sweep stops
                with self._lock:
                    self._crash = self._crash or error
                self._cancelled.set()

        return threading.Thread(target=guarded, name=f"sweep {name}", daemon=True)

    # -- lanes -----------------------------------------------------------------------------------------------

    def _tune_lane(self) -> None:
        for job, cell in self._schedule.tunes:
            names = self._schedule.tune_hosts[job.key] if cell.tune.runner == "boards" else []
            finished = self._runner.tune(job, cell, {name: self._boards[name] for name in names})
            self._record(finished, cell)
            self._ended[job.key].set_result(finished)

    def _compile_lane(self) -> None:
        for stack in self._schedule.worker_stacks:
            self._runner.warm(stack)
        for job, cell in self._schedule.compiles:
            finished = self._wait_for_files(job)
            if finished is not None and not finished.ok:
                self._skip(job, finished.job)
            else:
                finished = self._runner.compile(job, cell, self._force)
                self._record(finished, cell)
            self._ended[job.key].set_result(finished)

    def _board_lane(self, host: str) -> None:
        lane = self._schedule.lanes[host]
        if host in self._unreachable:
            self._fail_lane(lane, self._unreachable[host])
            return
        measured = dict.fromkeys(cell.stack for job, cell in lane if job.kind == MEASURE and cell.mode == "rpc")
        self._runner.prepare(self._boards[host], list(measured))
        for job, cell in lane:
            before = self._wait_for_files(job)
            if before is not None and not before.ok:
                self._skip(job, before.job)
                continue
            self._record(self._runner.measure(job, cell, self._boards[host]), cell)

    def _wait_for_files(self, job: Job) -> Finished | None:
        """How the job ended whose files `job` needs; None when they were there before. Raises Cancelled."""
        future = self._ended.get(job.needs or "")
        while future is not None:
            if self._cancelled.is_set():
                raise Cancelled
            try:
                return future.result(POLL_SECONDS)
            except NotYet:
                continue
        return None

    def _fail_lane(self, lane: list[tuple[Job, Cell]], reason: str) -> None:
        first, cell = lane[0]
        failed = Finished(first, job_files.failure("HostUnreachable", reason), utc_now(), 0.0)
        self._record(failed, cell)
        for job, _ in lane[1:]:
            self._skip(job, first)

    # -- what came of it -------------------------------------------------------------------------------------

    def _record(self, finished: Finished, cell: Cell) -> None:
        if not finished.ok and self._cancelled.is_set():
            raise Cancelled  # it failed because it was stopped
        self._recorder.record(finished, cell)
        event: dict[str, Any] = {"event": "job_done", **describe(finished.job), "ok": finished.ok}
        event |= {"seconds": finished.seconds, "reused": not finished.ran}
        with self._lock:
            if finished.absent:
                self._outcome.absent.append(finished.job)
                event["error"] = finished.error
            elif finished.ok:
                self._outcome.done.append(finished.job)
                event["samples"] = finished.result.get("samples")
                event["task"] = finished.result.get("task_check")
            else:
                error = finished.error
                self._outcome.failures.append(Failure(finished.job, error["kind"], error["message"]))
                event["error"] = error
        self._emit(event)

    def _skip(self, job: Job, because: Job) -> None:
        with self._lock:
            self._skipped.setdefault(because.key, []).append(job)
        self._emit({"event": "job_skipped", **describe(job), "because": because.title})
