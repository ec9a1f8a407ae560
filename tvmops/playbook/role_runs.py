"""Which roles have run on a host in a play: another use of the same role is left out, unless duplicates are allowed."""

from __future__ import annotations

from collections.abc import Iterable

from tvmops.playbook.model import Task
from tvmops.playbook.plan import Entry


class RoleRuns:
    """The roles of one play on one host. A role's last entry, a meta task, says that it is complete."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._done: set[str] = set()

    def is_done(self, entry: Entry) -> bool:
        """True for a task of a role that was complete before."""
        role = entry.task.role
        return role is not None and role.once and role.same in self._done and not entry.handler

    def ran(self, task: Task, status: str) -> None:
        """A task has come to its end."""
        if task.role is not None and status not in ("skipped", "unreachable"):
            self._used.add(task.role.same)

    def complete(self, entry: Entry, *, runs_yet: bool) -> None:
        """A role's tasks are over; `runs_yet`: some of them are still in the queue."""
        role = entry.task.role
        if role is not None and (runs_yet or role.same in self._used):
            self._done.add(role.same)

    def take_back(self, passed: Iterable[Entry]) -> None:
        """These entries were not reached after all."""
        self._done -= {one.task.role.same for one in passed if one.task.module == "meta" and one.task.role}
