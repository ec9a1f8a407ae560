"""How far each host of a run is, who waits for whom, and how many work at the same time.

A place grows as its host goes on: (play, serial batch, task, ...). A host waits only until others have come to a place
that is not beyond its own, so the one that is furthest behind never waits and nobody waits in a circle.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

Place = tuple[int, ...]
END: Place = (1 << 30,)
AFTER_TASKS = 1 << 29  # comes after every task of a play, and after every serial batch
POLL = 0.5  # seconds between looks at whether the run is being stopped


class Turns:
    """At most some hosts work at the same time. Who waits for others gives its turn away for as long."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)
        self._mine = threading.local()

    def take(self, stopping: Callable[[], bool]) -> None:
        """Wait for a turn, or for the run to be stopped."""
        while not self._free.acquire(timeout=POLL):
            if stopping():
                return
        self._mine.held = True

    def give(self) -> None:
        """Give the turn away, if there is one."""
        if getattr(self._mine, "held", False):
            self._mine.held = False
            self._free.release()


class _Waiter:
    def __init__(self, hosts: set[str], place: Place) -> None:
        self.hosts = hosts
        self.place = place
        self.done = threading.Event()


class Progress:
    """Every host's place. A host that has ended, or is not part of the run, is never waited for."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._moved = threading.Condition()
        self._waiters: list[_Waiter] = []
        self._turns: Turns | None = None
        # Set by whoever can end a run early.
        self.stopping: Callable[[], bool] = lambda: False

    def begin(self, hosts: Iterable[str], most: int) -> None:
        """These hosts take part from now on, at most so many at the same time."""
        self._turns = self._turns or Turns(most)
        with self._moved:
            for host in hosts:
                self._places[host] = ()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Work only when it is this thread's turn."""
        if self._turns is None:
            yield
            return
        self._turns.take(self.stopping)
        try:
            yield
        finally:
            self._turns.give()

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """Let another host work meanwhile."""
        if self._turns is None:
            yield
            return
        self._turns.give()
        try:
            yield
        finally:
            self._turns.take(self.stopping)

    def place(self, host: str) -> Place:
        """Where a host is."""
        return self._places.get(host, END)

    def at(self, host: str, place: Place) -> None:
        """`host` has finished everything before `place`."""
        with self._moved:
            if place < self._places.get(host, ()):
                return
            self._places[host] = place
            for waiter in [one for one in self._waiters if host in one.hosts and place >= one.place]:
                waiter.hosts.discard(host)
                if not waiter.hosts:
                    self._waiters.remove(waiter)
                    waiter.done.set()
            self._moved.notify_all()

    def moves(self, host: str, seconds: float) -> bool:
        """Wait at most some seconds for `host` to get further; False when it has ended or the run is being stopped."""
        with self._moved:
            if self._places.get(host, END) == END or self.stopping():
                return False
        if seconds:
            with self.idle(), self._moved:
                self._moved.wait(seconds)
        return True

    def end(self, host: str) -> None:
        """`host` does nothing more."""
        self.at(host, END)

    def wait_for(self, hosts: Iterable[str], place: Place) -> None:
        """Return when all hosts have finished everything before `place` or have ended, or the run is being stopped.

        A host that goes silent ends by its connection's deadlines.
        """
        with self._moved:
            behind = {host for host in hosts if self._places.get(host, END) < place}
            if not behind:
                return
            waiter = _Waiter(behind, place)
            self._waiters.append(waiter)
        with self.idle():
            while not waiter.done.wait(POLL):
                if self.stopping():
                    return
