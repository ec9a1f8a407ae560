"""Locks between tvmops processes: released by the kernel when their holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tvmops.errors import LabError


@contextlib.contextmanager
def locked(
    path: Path, what: str, *, deadline: float = 60.0, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock file `path`, waiting at most `deadline` seconds; `what` names it to people.

    Raises LabError naming the process that holds it when the deadline has passed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        limit = time.monotonic() + deadline
        told = False
        while not _try_lock(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            if time.monotonic() > limit:
                raise LabError(
                    f"{what} is in use by another tvmops (process {holder})",
                    "wait for it to finish, or end that process, and try again",
                )
            if on_wait is not None and not told:
                on_wait(f"waiting for process {holder}: {what}")
                told = True
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
