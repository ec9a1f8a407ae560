"""Hosts of one play that need each other: run_once, serial batches, failures that end the play for all, throttle."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tvmops.playbook.progress import AFTER_TASKS, POLL, Place, Progress

Key = tuple[Place, int]  # where it is, and which task


@dataclass
class Order:
    """What all hosts of a batch are told by one of them: to "fail" where they are, or to "end" the play.

    `twice`: a failure that goes past the innermost block's rescue or always.
    """

    kind: str
    by: str
    text: str
    twice: bool = False


@dataclass
class Meeting:
    """A task that one host carries out for all. `outcome` is set by that host before `done`."""

    arrived: set[str] = field(default_factory=set)
    outcome: dict[str, Any] | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Group:
    """The hosts of one serial batch of a play."""

    def __init__(self, hosts: list[str]) -> None:
        self.hosts = hosts
        self.failed: set[str] = set()
        self.unreachable: set[str] = set()
        self.forgiven: set[str] = set()
        self.orders: list[Order] = []
        self.meetings: dict[Key, Meeting] = {}

    @property
    def lost(self) -> bool:
        """True when no host got through."""
        return len(self.failed | self.unreachable) == len(self.hosts)


class Together:
    """What the hosts of a run know of each other's plays. Used by all their threads."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._lock = threading.Lock()
        self._groups: dict[tuple[int, int], Group] = {}
        self._slots: dict[tuple[int, int], threading.Semaphore] = {}
        # Plays that a failure may end for all later ones, with their hosts.
        self._gates: dict[int, list[str]] = {}
        self._ended: set[int] = set()

    def add_play(self, number: int, batches: list[list[str]], *, gate: bool) -> None:
        """A play, as it is planned. `gate`: when all hosts of a batch fail, nothing after it is begun."""
        for index, hosts in enumerate(batches):
            self._groups[number, index] = Group(hosts)
        if gate:
            self._gates[number] = [host for hosts in batches for host in hosts]

    def group(self, play: int, batch: int) -> Group:
        """The hosts of a batch."""
        return self._groups[play, batch]

    def earlier(self, play: int, batch: int) -> list[Group]:
        """The batches of a play before this one."""
        return [self._groups[play, number] for number in range(batch)]

    def end_play(self, play: int) -> None:
        """No batch of this play is begun any more."""
        self._ended.add(play)

    def ended(self, play: int) -> bool:
        """True after end_play."""
        return play in self._ended

    def lost_before(self, play: int) -> str:
        """Wait for earlier plays that may end the run, and say why it has ended; empty when it goes on."""
        for number in sorted(one for one in self._gates if one < play):
            self.progress.wait_for(self._gates[number], (number, AFTER_TASKS))
            if self.lost(number):
                return "all hosts of an earlier play, or of one of its serial batches, have failed"
        return ""

    def lost(self, play: int) -> bool:
        """True when all hosts of one of the play's batches have failed."""
        return any(group.lost for (number, _), group in self._groups.items() if number == play)

    def forgive(self, group: Group) -> None:
        """The failures of a batch so far are forgotten."""
        with self._lock:
            group.forgiven |= group.failed | group.unreachable
            group.failed.clear()
            group.unreachable.clear()

    def gone(self, play: int) -> set[str]:
        """Hosts that have failed or gone out of reach in this play or before it."""
        found: set[str] = set()
        for (number, _), group in self._groups.items():
            if number <= play:
                found |= group.failed | group.unreachable
        return found

    def meet(self, group: Group, key: Key, host: str) -> Meeting:
        """A host arrives where one of those that come does something for all."""
        with self._lock:
            meeting = group.meetings.setdefault(key, Meeting())
            meeting.arrived.add(host)
            return meeting

    def order(self, group: Group, order: Order) -> None:
        """Tell all hosts of the batch."""
        with self._lock:
            if order.kind == "fail":
                group.failed.update(host for host in group.hosts if host != order.by)
            group.orders.append(order)

    def wait(self, event: threading.Event) -> None:
        """Wait for another host, or for the run to be stopped."""
        with self.progress.idle():
            while not event.wait(POLL):
                if self.progress.stopping():
                    return

    @contextlib.contextmanager
    def slot(self, play: int, task: int, most: int) -> Iterator[None]:
        """At most so many hosts at a time carry out a task."""
        with self._lock:
            slots = self._slots.setdefault((play, task), threading.Semaphore(most))
        held = False
        with self.progress.idle():
            while not held and not self.progress.stopping():
                held = slots.acquire(timeout=POLL)
        try:
            yield
        finally:
            if held:
                slots.release()
