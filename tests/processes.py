"""Other processes, which may end while they are looked at."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psutil


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def name(pid: int) -> str:
    """Its program's name; empty when it is gone."""
    try:
        return str(psutil.Process(pid).name())
    except psutil.NoSuchProcess:
        return ""


def gone(*pids: int, seconds: float = 10.0) -> bool:
    """Wait until none of them is alive; whether that came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(alive(pid) for pid in pids):
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


def tree(pid: int) -> list[int]:
    """A process and its descendants, parents first; none when it is gone."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def that(condition: Callable[[psutil.Process], bool]) -> list[int]:
    """Living processes for which the condition holds."""
    found = []
    for process in psutil.process_iter():
        # A zombie has no command line or environment.
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and condition(process):
                found.append(process.pid)
    return found
