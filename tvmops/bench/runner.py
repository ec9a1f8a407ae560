"""Runs one job: prepares its directory, hands it to a worker or a board, takes conditions around it."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tvmops.bench import documents, job_files
from tvmops.bench.cells import Cell
from tvmops.bench.jobs import ABSENT, BASELINE, BoardIdentity, Job
from tvmops.bench.leases import Cancelled, CpuGate, board_lease
from tvmops.bench.pool import WorkerCrashed, WorkerPool, WorkerTimeout
from tvmops.bench.store import utc_now
from tvmops.bench.sweep_file import Timeouts
from tvmops.errors import StackError, TvmopsError
from tvmops.rpc import Endpoint

Emit = Callable[[dict[str, Any]], None]

# The worker watches its session and says better than we what is wrong; our deadline stands behind it.
WORKER_MARGIN_SECONDS = 60.0


class Board(Protocol):
    """What a sweep needs of a host. Every call has a deadline and may raise HostUnreachable."""

    shares_cpu: bool

    def identify(self) -> BoardIdentity:
        """Connect and say which machine answered."""

    def facts(self) -> dict[str, Any]:
        """What the board is, without secrets. Gathered once."""

    def conditions(self) -> dict[str, Any]:
        """Clocks, governor, temperature, load, throttling: right now."""

    def rpc(self, stack: str) -> Endpoint | None:
        """The way to the board's RPC server, which has just answered; None when `stack` needs none. Raises RpcError."""

    def restore_rpc(self, stack: str) -> None:
        """Make a dead RPC server answer again. Raises RpcError."""

    def run_baseline(self, job: dict[str, Any], files: dict[str, Path], deadline: float) -> dict[str, Any]:
        """Run a baseline job with `files` there; its result.json. Error `Absent`: there is no such runtime."""

    def run_local(
        self, job: dict[str, Any], files: dict[str, Path], deadline: float, into: Path
    ) -> dict[str, Any] | None:
        """Run a measure job on the board itself, its outcome and outputs into a folder; else what is wrong."""

    def reset(self) -> None:
        """Drop the connection; the next call makes a new one."""

    def close(self) -> None:
        """End everything. May be called from another thread to break a wait."""


@dataclass
class Finished:
    """A job that ran: its result and what was noted around it."""

    job: Job
    result: dict[str, Any]
    started: str
    seconds: float
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    facts: dict[str, Any] | None = None
    shares_cpu: bool = False
    """Whether the board runs on this machine's own processor."""
    ran: bool = field(default=True)
    """False when a compile's artifacts were found where an earlier run left them."""

    @property
    def ok(self) -> bool:
        """Whether the job did what it should."""
        return bool(self.result["ok"])

    @property
    def absent(self) -> bool:
        """Whether it is a baseline that its board does not have."""
        return self.job.kind == BASELINE and not self.ok and self.error["kind"] == ABSENT

    @property
    def error(self) -> dict[str, str]:
        """kind and message of a failed job."""
        found = self.result.get("error") or {}
        return {"kind": str(found.get("kind", "Internal")), "message": str(found.get("message", "no message"))}


class JobRunner:
    """Runs jobs one at a time per calling thread. Failures of a job are results, not exceptions."""

    def __init__(
        self, pool: WorkerPool, gate: CpuGate, timeouts: Timeouts, emit: Emit, cancelled: threading.Event
    ) -> None:
        self._pool, self._gate, self._timeouts = pool, gate, timeouts
        self._emit, self._cancelled = emit, cancelled

    def warm(self, stack: str) -> None:
        """Start a worker ahead of the first job; a stack that cannot start fails its jobs later."""
        with contextlib.suppress(StackError), self._gate.compiling():
            self._pool.warm(stack)

    def prepare(self, board: Board, stacks: Sequence[str]) -> None:
        """Learn a board's facts and wake its RPC server ahead of its first job; what fails will fail again there."""
        with contextlib.ExitStack() as held:
            held.enter_context(contextlib.suppress(TvmopsError))
            if board.shares_cpu:
                held.enter_context(self._gate.compiling())
            board.facts()
            for stack in stacks:
                board.rpc(stack)

    def tune(self, job: Job, cell: Cell, boards: Mapping[str, Board]) -> Finished:
        """Measure trials on `boards`, all held alone, or here when there are none. Raises Cancelled."""
        try:
            with contextlib.ExitStack() as held:
                held.enter_context(job_files.job_lock(job.key, self._cancelled))
                for name in sorted(boards):  # in one order, so that two sweeps cannot wait for each other
                    held.enter_context(self._lease(job, name))
                if not boards or any(board.shares_cpu for board in boards.values()):
                    held.enter_context(self._gate.measuring())
                self._starting(job)
                started, clock = utc_now(), time.monotonic()
                document = documents.for_tune(job, cell, self._servers(job, cell, boards), int(self._timeouts.measure))
                result = self._in_worker(job, document, self._timeouts.tune)
                return Finished(job, result, started, time.monotonic() - clock)
        except TvmopsError as error:
            return Finished(job, job_files.failure(type(error).__name__, str(error)), utc_now(), 0.0)

    def compile(self, job: Job, cell: Cell, force: bool) -> Finished:
        """Compile, or take what an earlier run left. Raises Cancelled when the sweep is interrupted."""
        with job_files.job_lock(job.key, self._cancelled):
            if not force and job_files.compiled(job.key):
                result = job_files.read_result(job_files.job_dir(job.key))
                return Finished(job, result, utc_now(), _phase_sum(result), ran=False)
            with self._gate.compiling():
                try:
                    document = documents.for_compile(job, cell)
                except StackError as error:
                    return Finished(job, job_files.failure("StackError", str(error)), utc_now(), 0.0)
                started, clock = utc_now(), time.monotonic()
                self._starting(job)
                result = self._in_worker(job, document, self._timeouts.compile)
                return Finished(job, result, started, time.monotonic() - clock)

    def measure(self, job: Job, cell: Cell, board: Board) -> Finished:
        """Measure, or run the baseline, on `board`, held alone. Raises Cancelled when interrupted."""
        name = cell.host.name
        try:
            with contextlib.ExitStack() as held:
                held.enter_context(self._lease(job, name))
                if board.shares_cpu:
                    held.enter_context(self._gate.measuring())
                self._starting(job)
                return self._on_board(job, cell, board)
        except TvmopsError as error:
            return Finished(job, job_files.failure(type(error).__name__, str(error)), utc_now(), 0.0)

    def _on_board(self, job: Job, cell: Cell, board: Board) -> Finished:
        started, clock = utc_now(), time.monotonic()
        finished = self._attempt(job, cell, board)
        if not finished.ok and self._cancelled.is_set():  # the connections were cut to end the sweep
            raise Cancelled
        if not finished.ok and finished.error["kind"] in ("Rpc", "RpcError", "HostUnreachable"):
            self._emit({"event": "retry", **describe(job), "text": _first_line(finished.error["message"])})
            with contextlib.suppress(TvmopsError):
                if finished.error["kind"] == "HostUnreachable":
                    board.reset()
                elif job.kind != BASELINE:
                    board.restore_rpc(cell.stack)
                # A program that runs on the board by itself is still at it: what it began under is known already.
                finished = self._attempt(job, cell, board, finished.before if cell.mode == "local" else None)
        finished.started, finished.seconds = started, time.monotonic() - clock
        return finished

    def _attempt(self, job: Job, cell: Cell, board: Board, before: dict[str, Any] | None = None) -> Finished:
        finished = Finished(job, {}, "", 0.0, shares_cpu=board.shares_cpu)
        try:
            finished.facts = board.facts()
            finished.before = before or board.conditions()
            if job.kind == BASELINE:
                finished.result = self._run_baseline(job, cell, board)
            else:
                finished.result = self._run_measure(job, cell, board)
            finished.after = board.conditions()
        except TvmopsError as error:
            finished.result = job_files.failure(type(error).__name__, str(error))
        return finished

    def _lease(self, job: Job, name: str) -> contextlib.AbstractContextManager[None]:
        waiting = {"event": "waiting", "host": name, "workload": job.workload, "kind": job.kind}
        return board_lease(
            name,
            f"sweep ({job.title})",
            deadline=self._timeouts.board,
            cancelled=self._cancelled,
            on_wait=lambda text: self._emit({**waiting, "text": text}),
        )

    def _servers(self, job: Job, cell: Cell, boards: Mapping[str, Board]) -> list[dict[str, Any]]:
        """Where the boards' RPC servers are; one that does not answer is left out, unless all are like that."""
        found, errors = [], []
        for name, board in sorted(boards.items()):
            try:
                endpoint = board.rpc(cell.stack)
            except TvmopsError as error:
                errors.append(error)
                self._emit({"event": "retry", **describe(job), "text": f"without {name}: {_first_line(str(error))}"})
                continue
            if endpoint is not None:
                found.append({"name": name, "host": endpoint.host, "port": endpoint.port, "key": endpoint.key})
        if errors and not found:
            raise errors[0]
        return found

    def _run_measure(self, job: Job, cell: Cell, board: Board) -> dict[str, Any]:
        document = documents.for_board(job, cell)
        if cell.mode == "local":
            return self._run_local(job, document, board)
        endpoint = board.rpc(cell.stack) if cell.mode == "rpc" else None
        seconds = int(self._timeouts.measure)
        if endpoint is not None:
            documents.with_endpoint(document, endpoint, seconds)
        return self._in_worker(job, document, seconds + WORKER_MARGIN_SECONDS)

    def _run_local(self, job: Job, document: dict[str, Any], board: Board) -> dict[str, Any]:
        files = {"artifact": Path(document["artifact"]), "reference": Path(document["reference"])}
        with tempfile.TemporaryDirectory(prefix="tvmops-local-") as into:
            problem = board.run_local(document, files, self._timeouts.measure, Path(into))
            if problem is not None:
                job_files.write_json(job_files.start_job(job.key, document) / "result.json", problem)
                return problem
            # The same code as for every other measurement says whether the board's answer is right.
            return self._in_worker(job, {**document, "local": into}, WORKER_MARGIN_SECONDS)

    def _run_baseline(self, job: Job, cell: Cell, board: Board) -> dict[str, Any]:
        document = documents.for_board(job, cell)
        folder = job_files.start_job(job.key, document)
        source = job_files.job_dir(job.needs or "")
        files = {"reference": source / job_files.REFERENCE}
        result = board.run_baseline(document, files, self._timeouts.baseline)
        job_files.write_json(folder / "result.json", result)
        return result

    def _in_worker(self, job: Job, document: dict[str, Any], deadline: float) -> dict[str, Any]:
        folder = job_files.start_job(job.key, document)
        try:
            self._pool.run(document["stack"], folder, deadline, lambda event: self._progress(job, event))
        except WorkerTimeout:
            return job_files.failure(
                "Timeout",
                f"took longer than {deadline:.0f} s (timeouts.{job.kind} in the sweep file); see {folder / 'log.txt'}",
            )
        except WorkerCrashed as error:
            return job_files.failure("Crash", f"the worker ended in the middle of the job: {error}")
        except StackError as error:
            return job_files.failure("StackError", str(error))
        return job_files.read_result(folder)

    def _starting(self, job: Job) -> None:
        self._emit({"event": "job_start", **describe(job)})

    def _progress(self, job: Job, event: dict[str, Any]) -> None:
        if event.get("event") == "tuning":
            self._emit({**event, **describe(job)})
        elif event.get("state") == "start":
            self._emit({"event": "job_phase", **describe(job), "phase": event["phase"]})


def describe(job: Job) -> dict[str, Any]:
    """A job's part of an event."""
    return {
        "kind": job.kind,
        "workload": job.workload,
        "host": job.host,
        "stack": job.stack,
        "key": job.key,
        "title": job.title,
    }


def _phase_sum(result: dict[str, Any]) -> float:
    return float(sum((result.get("seconds") or {}).values()))


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""
