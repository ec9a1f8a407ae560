"""A long task's own [n/m], as builds print it: shown as a bar, with the time that is left."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

WIDTH = 16
SURE_AFTER = 3.0  # seconds of watching before a time is said
_STEP = re.compile(r"^\[\s*(\d+)/(\d+)\]\s*(.*)", re.DOTALL)


class StepBar:
    """Follows the progress of one task. A count that begins anew (another phase) is a new bar."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = 0
        self._first = (0, 0.0)
        self._last = 0

    def shown(self, text: str) -> str:
        """A progress text for people: as it is, or with a bar in place of its [n/m]."""
        match = _STEP.match(text)
        if match is None:
            return text
        done, total = int(match[1]), int(match[2])
        if total < 1 or done > total:
            return text
        now = self._clock()
        if total != self._total or done < self._last:
            self._total, self._first = total, (done, now)
        self._last = done
        filled = WIDTH * done // total
        bar = "━" * filled + "┄" * (WIDTH - filled)
        return "  ".join(part for part in (f"{bar} {done}/{total}", self._left(done, now), match[3]) if part)

    def _left(self, done: int, now: float) -> str:
        began, since = self._first
        # The first step may have been seen near its end: it counts as just finished.
        if done == began or now - since < SURE_AFTER or done == self._total:
            return ""
        seconds = (now - since) / (done - began) * (self._total - done)
        return f"{duration(seconds)} left"


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "1 h 50 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
