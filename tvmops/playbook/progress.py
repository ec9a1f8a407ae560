"""How far each host of a run is: a host waits for another only where it reads the other's `hostvars`."""

from __future__ import annotations

import threading
from collections.abc import Callable

Place = tuple[int, int]  # number of the play in the run, number of the task in the play
END: Place = (1 << 30, 0)


class Progress:
    """Every host's place. A host that has not begun, or has ended, is never waited for."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._moved = threading.Condition()
        # Set by whoever can end a run early.
        self.stopping: Callable[[], bool] = lambda: False

    def at(self, host: str, place: Place) -> None:
        """`host` has finished everything before `place`."""
        with self._moved:
            self._places[host] = place
            self._moved.notify_all()

    def moves(self, host: str, seconds: float) -> bool:
        """Wait at most some seconds for `host` to get further; False when it has ended or the run is being stopped."""
        with self._moved:
            if self._places.get(host, END) == END or self.stopping():
                return False
            if seconds:
                self._moved.wait(seconds)
            return True

    def end(self, host: str) -> None:
        """`host` does nothing more."""
        self.at(host, END)

    def wait_for(self, host: str, place: Place) -> None:
        """Return when `host` has finished everything before `place`, has ended, or the run is being stopped.

        Waiting hosts cannot block each other: each waits only for places before its own. A host that goes silent ends
        by its connection's deadlines.
        """
        with self._moved:
            while self._places.get(host, END) < place and not self.stopping():
                self._moved.wait(0.5)
