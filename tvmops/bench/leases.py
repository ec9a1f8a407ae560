"""Who may use a board, and this machine's processor, right now: locks that also hold between two sweeps.

They are locks of tvmops/board_locks.py, so the kernel frees them when their holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Iterator

from tvmops.board_locks import holder, open_lock, sign, take
from tvmops.errors import JobFailed

POLL_SECONDS = 0.1


class Cancelled(Exception):
    """The sweep was interrupted while something waited."""


@contextlib.contextmanager
def board_lease(
    host: str,
    purpose: str,
    *,
    deadline: float,
    cancelled: threading.Event,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[None]:
    """Hold `host` alone. Waits up to `deadline` seconds; `on_wait` is told once who holds it.

    Raises JobFailed naming the holder when the deadline passes, Cancelled when the sweep was interrupted.
    """
    with open_lock(host) as file:
        if not take(file, fcntl.LOCK_EX):
            on_wait(f"{host} is held by {holder(file)}")
            until = time.monotonic() + deadline
            while not take(file, fcntl.LOCK_EX):
                if cancelled.wait(POLL_SECONDS):
                    raise Cancelled
                if time.monotonic() > until:
                    raise JobFailed(
                        f"{host}: still held by {holder(file)} after {deadline:.0f} s",
                        "wait for that sweep, or raise timeouts.board in the sweep file",
                    )
        sign(file, purpose)
        yield
        file.truncate(0)


class CpuGate:
    """This machine's processor: many may compile, or one may measure.

    Used by the jobs that run here and by boards that share this processor. A waiting measurement goes before
    compiles that come later.
    """

    def __init__(self, cancelled: threading.Event, on_wait: Callable[[str], None] = lambda _: None) -> None:
        """`on_wait` is told when another sweep has the processor."""
        self._cancelled, self._on_wait = cancelled, on_wait
        self._condition = threading.Condition()
        self._compiling = 0
        self._measuring = False
        self._waiting = 0

    @contextlib.contextmanager
    def compiling(self) -> Iterator[None]:
        """Run beside other compiles, beside no measurement."""
        with self._condition:
            self._wait(lambda: not self._measuring and not self._waiting)
            self._compiling += 1
        try:
            with self._between_sweeps(fcntl.LOCK_SH):
                yield
        finally:
            with self._condition:
                self._compiling -= 1
                self._condition.notify_all()

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Run alone."""
        with self._condition:
            self._waiting += 1
            try:
                self._wait(lambda: not self._measuring and not self._compiling)
                self._measuring = True
            finally:
                self._waiting -= 1
                self._condition.notify_all()
        try:
            with self._between_sweeps(fcntl.LOCK_EX):
                yield
        finally:
            with self._condition:
                self._measuring = False
                self._condition.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._condition.wait(POLL_SECONDS)
            if self._cancelled.is_set():
                raise Cancelled

    @contextlib.contextmanager
    def _between_sweeps(self, mode: int) -> Iterator[None]:
        with open_lock("this-processor") as file:
            if not take(file, mode):
                self._on_wait("another sweep uses this machine's processor")
                # No deadline of its own: every holder's job has one.
                while not take(file, mode):
                    if self._cancelled.wait(POLL_SECONDS):
                        raise Cancelled
            yield
