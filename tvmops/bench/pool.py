"""Worker processes: one runs jobs inside a stack's environment until it is told to stop, crashes or is killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.bench.leases import Cancelled
from tvmops.errors import StackError

START_SECONDS = 180.0
POLL_SECONDS = 0.1
STOP_SECONDS = 5.0
END_SECONDS = 0.2
LOG_TAIL_BYTES = 4000
VMSTAT = Path("/proc/vmstat")

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class WorkerCommand:
    """How a stack's worker is started. `--status-fd N` is added."""

    argv: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class WorkerCrashed(Exception):
    """The worker ended in the middle of a job. The message says how, with the end of its log."""


class WorkerTimeout(Exception):
    """A job ran past its deadline; its worker was killed."""


class Worker:
    """One worker process. Runs one job at a time; any exception from `run` means that the process is gone."""

    def __init__(self, stack: str, command: WorkerCommand, log: Path, cancelled: threading.Event) -> None:
        """Start the process and wait until it is ready. Raises StackError when it does not get there."""
        self.stack = stack
        self.versions: dict[str, Any] = {}
        self._log = log
        self._cancelled = cancelled
        self._pending = b""
        self._killed_for_memory = oom_kills()
        read_end, write_end = os.pipe()
        self._status = read_end
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*command.argv, "--status-fd", str(write_end)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **command.environment},
                    pass_fds=(write_end,),
                    start_new_session=True,  # Ctrl-C is for the controller; a kill must reach every child
                )
        except OSError as error:
            os.close(read_end)
            raise StackError(f"stack {stack}: cannot start {command.argv[0]}: {error.strerror}") from error
        finally:
            os.close(write_end)
        self._wait_until_ready()

    def run(self, job_dir: Path, deadline: float, on_event: OnEvent) -> None:
        """Run the job in `job_dir`; its result.json is there afterwards.

        Raises WorkerTimeout after `deadline` seconds, WorkerCrashed, or Cancelled; the worker is dead then.
        """
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"job_dir": str(job_dir)}).encode() + b"\n")
            self._process.stdin.flush()
            with _Tail(job_dir / "events.jsonl", on_event) as tail:
                done = self._await("done", time.monotonic() + deadline, tail.poll)
            if not done.get("ok"):
                self._let_it_end()
        except (BrokenPipeError, EOFError):
            ended = self._how_it_ended()
            self.kill()
            raise WorkerCrashed(ended) from None

    def stop(self) -> None:
        """Let the worker end by itself, then make sure."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the worker and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self._status >= 0:
            os.close(self._status)
            self._status = -1

    @property
    def alive(self) -> bool:
        """Whether the worker can take a job."""
        return self._status >= 0 and self._process.poll() is None

    def _wait_until_ready(self) -> None:
        try:
            ready = self._await("ready", time.monotonic() + START_SECONDS, lambda: None)
        except EOFError:
            ended = self._how_it_ended()
            self.kill()
            raise StackError(
                f"stack {self.stack}: its worker did not start: {ended}",
                f"make the environment again: tvmops env.create --stack {self.stack}",
            ) from None
        except WorkerTimeout:
            raise StackError(
                f"stack {self.stack}: its worker was not ready after {START_SECONDS:.0f} s", f"see {self._log}"
            ) from None
        self.versions = dict(ready.get("versions") or {})

    def _await(self, wanted: str, until: float, on_poll: Callable[[], None]) -> dict[str, Any]:
        while True:
            while b"\n" in self._pending:
                line, self._pending = self._pending.split(b"\n", 1)
                message = json.loads(line)
                if message.get("event") == wanted:
                    on_poll()
                    return dict(message)
            if self._cancelled.is_set():
                self.kill()
                raise Cancelled
            if time.monotonic() > until:
                self.kill()
                raise WorkerTimeout
            if select.select([self._status], [], [], POLL_SECONDS)[0]:
                data = os.read(self._status, 65536)
                if not data:
                    raise EOFError
                self._pending += data
            on_poll()

    def _let_it_end(self) -> None:
        """A worker whose board hangs reports its job's failure and ends at once: it must not get another job."""
        if select.select([self._status], [], [], END_SECONDS)[0]:
            self.kill()

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        code = self._process.poll()
        if code is None:
            how = "closed its status channel"
        elif code == -signal.SIGKILL and oom_kills() > self._killed_for_memory:
            how = "was killed by the kernel, which ran out of memory; free some, add swap, or give fewer tune.builders"
        elif code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"exited with {code}"
        return f"it {how}; the end of {self._log}: {log_tail(self._log)}"


class WorkerPool:
    """Workers by stack, started when first needed and kept: importing TVM costs seconds."""

    def __init__(
        self,
        command_for: Callable[[str], WorkerCommand],
        log_folder: Path,
        cancelled: threading.Event,
        limit: int,
    ) -> None:
        self._command_for = command_for
        self._log_folder = log_folder
        self._cancelled = cancelled
        self._slots = threading.BoundedSemaphore(limit)
        self._lock = threading.Lock()
        self._idle: dict[str, list[Worker]] = {}
        self._broken: dict[str, StackError] = {}
        self._started = 0

    def run(self, stack: str, job_dir: Path, deadline: float, on_event: OnEvent) -> None:
        """Run a job on an idle worker of `stack`, or a new one. Raises as Worker.run and Worker()."""
        with self._slot():
            worker = self._take(stack)
            worker.run(job_dir, deadline, on_event)
            with self._lock:
                self._idle.setdefault(stack, []).append(worker)

    def warm(self, stack: str) -> None:
        """Start a worker ahead of its first job."""
        with self._slot():
            worker = self._take(stack)
            with self._lock:
                self._idle.setdefault(stack, []).append(worker)

    def close(self) -> None:
        """Stop every idle worker; one that runs a job is stopped by its own thread."""
        with self._lock:
            workers = [worker for idle in self._idle.values() for worker in idle]
            self._idle.clear()
        for worker in workers:
            worker.kill() if self._cancelled.is_set() else worker.stop()

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        while not self._slots.acquire(timeout=POLL_SECONDS):
            if self._cancelled.is_set():
                raise Cancelled
        try:
            yield
        finally:
            self._slots.release()

    def _take(self, stack: str) -> Worker:
        with self._lock:
            idle = self._idle.get(stack, [])
            while idle:
                worker = idle.pop()
                if worker.alive:
                    return worker
                worker.kill()
            if stack in self._broken:
                raise self._broken[stack]
            self._started += 1
            number = self._started
        log = self._log_folder / f"worker-{stack}-{os.getpid()}-{number}.log"
        try:
            return Worker(stack, self._command_for(stack), log, self._cancelled)
        except StackError as error:
            with self._lock:
                self._broken[stack] = error  # the next job need not wait for the same failure
            raise


def oom_kills() -> int:
    """How many processes this machine's kernel has killed for lack of memory since it started."""
    with contextlib.suppress(OSError):
        for line in VMSTAT.read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


class _Tail:
    """Follows a job's events.jsonl while it runs."""

    def __init__(self, path: Path, on_event: OnEvent) -> None:
        self._path, self._on_event = path, on_event
        self._offset = 0

    def __enter__(self) -> _Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self.poll()

    def poll(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return
        complete = data.rfind(b"\n") + 1
        self._offset += complete
        for line in data[:complete].splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    self._on_event(event)


def log_tail(path: Path) -> str:
    """The last lines of a log, on one line; "(empty)" when there is nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
            lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return "(empty)"
    return " | ".join(lines[-3:]) or "(empty)"
