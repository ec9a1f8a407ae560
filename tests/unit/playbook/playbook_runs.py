"""What a run of a playbook left, and sessions that note what a host was sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tvmops.fleet.recap import Recap
from tvmops.fleet.sessions import HostSessions
from tvmops.inventory.model import Host
from tvmops.playbook.events import RunEvent


class Ran:
    """What a run left: recap, events, and the batches as they were sent."""

    def __init__(self) -> None:
        self.recap = Recap()
        self.events: list[RunEvent] = []
        self.batches: dict[str, list[dict[str, Any]]] = {}

    def begin(self, hosts: list[str], totals: Any) -> None:
        self.batches = {host: [] for host in hosts}

    def event(self, event: RunEvent) -> None:
        self.events.append(event)

    def end(self, recap: Recap) -> None:
        self.recap = recap

    def statuses(self, host: str = "h1") -> list[tuple[str, str]]:
        """(task, status) in the order they were finished."""
        return [(one.task, one.status) for one in self.events if one.kind == "task" and one.host == host]

    def sent(self, host: str = "h1") -> list[list[str]]:
        """The modules of each batch."""
        return [[task["module"] for task in batch["tasks"]] for batch in self.batches[host]]

    def result(self, task: str, host: str = "h1") -> dict[str, Any]:
        """The result of a task."""
        return next(one.result or {} for one in self.events if (one.kind, one.task, one.host) == ("task", task, host))


class _Noting:
    """A session that notes batches on their way to the real one."""

    def __init__(self, session: Any, batches: list[dict[str, Any]]) -> None:
        self._session = session
        self._batches = batches

    def run_batch(self, batch: dict[str, Any], blobs: Any, on_event: Any) -> None:
        self._batches.append(json.loads(json.dumps(batch)))
        self._session.run_batch(batch, blobs, on_event)


class NotingSessions(HostSessions):
    """The real sessions of a host, whose batches are noted."""

    def __init__(self, host: Host, notify: Callable[[str], None], batches: list[dict[str, Any]]) -> None:
        super().__init__(host, None, notify)
        self._batches = batches

    def session(self, root: bool, method: str | None = None) -> Any:
        return _Noting(super().session(root, method), self._batches)


RunPlaybook = Callable[..., Ran]
