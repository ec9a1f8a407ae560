"""A deadline for calls that cannot be interrupted, such as TVM waiting for a server that never answers."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Callable

EXIT_HUNG = 70


@contextlib.contextmanager
def deadline(seconds: float, expired: Callable[[], None]):
    """Calls `expired` and ends the process if the inside takes longer: a thread stuck in C code cannot be saved."""

    def end_process() -> None:
        try:
            expired()
        finally:
            os._exit(EXIT_HUNG)

    timer = threading.Timer(seconds, end_process)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
