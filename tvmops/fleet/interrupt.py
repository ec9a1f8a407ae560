"""Ctrl-C: the first stops in good order, the second at once."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

GRACE = 10.0  # seconds for hosts to stop after the first Ctrl-C


class Interruption:
    """While active, SIGINT and SIGTERM set `requested` and call `on_first` once; a second one makes give_up() true."""

    def __init__(self, on_first: Callable[[], None]) -> None:
        self.requested = False
        self._hard = False
        self._since = 0.0
        self._on_first = on_first
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            self._hard = True
            return
        self.requested = True
        self._since = time.monotonic()
        sys.stderr.write("\ninterrupted: hosts finish the task they are at; Ctrl-C again to leave at once\n")
        self._on_first()

    def give_up(self) -> bool:
        """True when there is no more waiting: a second signal, or the grace is over."""
        return self._hard or (self.requested and time.monotonic() - self._since > GRACE)
