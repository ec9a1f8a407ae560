"""Who may use a board, and this machine's processor, right now: locks that also hold between two sweeps.

They are flocks on files in the state folder, so the kernel frees them when their holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tvmops.errors import JobFailed
from tvmops.paths import state_dir

POLL_SECONDS = 0.1


class Cancelled(Exception):
    """The sweep was interrupted while something waited."""


def lease_folder() -> Path:
    """Where the lock files are."""
    return state_dir() / "leases"


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
    path = lease_folder() / host.replace("/", "_")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not _take(file.fileno(), fcntl.LOCK_EX):
            on_wait(f"{host} is held by {_holder(path)}")
            until = time.monotonic() + deadline
            while not _take(file.fileno(), fcntl.LOCK_EX):
                if cancelled.wait(POLL_SECONDS):
                    raise Cancelled
                if time.monotonic() > until:
                    raise JobFailed(
                        f"{host}: still held by {_holder(path)} after {deadline:.0f} s",
                        "wait for that sweep, or raise timeouts.board in the sweep file",
                    )
        file.truncate(0)
        file.write(json.dumps(_self(purpose)))
        file.flush()
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
        path = lease_folder() / "this-processor"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as file:
            if not _take(file.fileno(), mode):
                self._on_wait("another sweep uses this machine's processor")
                # No deadline of its own: every holder's job has one.
                while not _take(file.fileno(), mode):
                    if self._cancelled.wait(POLL_SECONDS):
                        raise Cancelled
            yield


def _take(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _self(purpose: str) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "user": getpass.getuser(),
        "on": socket.gethostname(),
        "purpose": purpose,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"{found['purpose']} of {found['user']} (pid {found['pid']} on {found['on']}, since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another sweep"
