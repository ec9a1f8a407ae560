"""Prepared tasks of one host waiting for their batch: what goes out together, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tvmops.errors import AgentError, Interrupted
from tvmops.playbook.batch import Batch, Queued
from tvmops.playbook.events import status_of
from tvmops.playbook.plan import facts_of
from tvmops.playbook.prepare import failure
from tvmops.playbook.report import Report
from tvmops.playbook.state import HostState


class Session(Protocol):
    """What runs batches on a host: connection.session.AgentSession, or the like."""

    def run_batch(
        self, batch: dict[str, Any], blobs: Callable[[str], bytes], on_event: Callable[[dict[str, Any]], None]
    ) -> None:
        """Run a batch; raises HostUnreachable, AgentError."""


class Sessions(Protocol):
    """Opens a host's sessions when they are needed."""

    def session(self, root: bool) -> Session:
        """The session as root, or as the login user."""

    def login_user(self) -> str:
        """The name of the login user."""


class HostFailed(Exception):
    """A task failed and the host's run ends here."""


Notify = Callable[[Queued], str]


class TaskQueue:
    """Tasks in order. `notify` is called when one has changed something, and complains when a handler is missing."""

    def __init__(
        self, state: HostState, report: Report, sessions: Sessions, *, root: bool, stopping: Callable[[], bool]
    ) -> None:
        self.notify: Notify = lambda _queued: ""
        self._state = state
        self._report = report
        self._sessions = sessions
        self._root = root
        self._stopping = stopping
        self._waiting: list[Queued] = []
        self._batches = 0
        self._failed = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def remote(self) -> bool:
        """True when the board has something to do before the next task."""
        return any(one.remote for one in self._waiting)

    def add(self, queued: Queued) -> None:
        """Add a task; it may run at once. Raises HostFailed, Interrupted, and what sessions raise."""
        prepared, task = queued.prepared, queued.entry.task
        if not queued.remote:
            self._add_local(queued)
            return
        if prepared.become_user is not None and not self._root:
            # What waits belongs to the login user's session; from here on everything goes through root's.
            self.flush("becoming root")
            self._root = True
        self._waiting.append(queued)
        self._state.await_results([task.register] if task.register else [])
        if task.module == "setup":
            self._state.facts.awaited = True
        if prepared.decides_failed:
            self.flush(f"failed_when of '{prepared.title}'")

    def _add_local(self, queued: Queued) -> None:
        prepared, task = queued.prepared, queued.entry.task
        self._waiting.append(queued)
        result = queued.local_result()
        self._state.results.values.update(facts_of(prepared))
        if task.register:
            self._state.results.values[task.register] = result
        if status_of(result, prepared.ignore_errors) == "failed" or not self.remote:
            self.flush()

    def flush(self, reason: str = "") -> None:
        """Run what waits and finish it in order. Raises HostFailed, Interrupted, and what sessions raise."""
        queue, self._waiting = self._waiting, []
        if not queue:
            return
        try:
            if any(one.remote for one in queue):
                self._run(queue, reason)
            self._finish_ready(queue)
        finally:
            self._state.facts.awaited = False
        if self._failed:
            raise HostFailed
        self._check_stop()
        if queue:
            raise AgentError(f"{self._state.host.name}: the agent left out '{queue[0].prepared.title}'")

    def _run(self, queue: list[Queued], reason: str) -> None:
        self._batches += 1
        shared = self._state.shared
        self._check_stop()
        session = self._sessions.session(self._root)
        batch = Batch(self._batches, queue, shared, self._sessions.login_user if self._root else None)
        self._report.batch(len(batch.message["tasks"]), reason)
        self._finish_ready(queue)
        session.run_batch(batch.message, shared.blobs.read, lambda event: self._answer(event, queue))

    def _check_stop(self) -> None:
        if self._stopping():
            raise Interrupted(f"{self._state.host.name}: interrupted")

    def _answer(self, event: dict[str, Any], queue: list[Queued]) -> None:
        queued = next((one for one in queue if one.number == event.get("task")), None)
        if queued is None:
            return
        kind = event.get("ev")
        if kind == "start":
            self._report.begin_task(queued)
        elif kind == "progress":
            self._report.progress(queued, str(event.get("text", "")))
        elif kind == "result" and isinstance(event.get("item"), int):
            queued.item_result(event["result"])
            if queued is queue[0]:
                self._report.items(queued, queued.items_so_far())
        elif kind == "done":
            queued.board_result = event["result"]
            self._finish_ready(queue)

    def _finish_ready(self, queue: list[Queued]) -> None:
        """Finish, in order, what has its result; stop at the first that has not, and after a failure."""
        # After a failure the batch's last events are still to be read: the run ends when they have been.
        while queue and queue[0].ready and not self._failed:
            self._finish(queue.pop(0))

    def _finish(self, queued: Queued) -> None:
        task = queued.entry.task
        result = queued.final_result()
        if queued.remote:
            if task.register:
                self._state.results.values[task.register] = result
            facts = result.get("ansible_facts")
            if isinstance(facts, dict):
                self._state.facts.learn(facts)
        if result.get("changed") and not result.get("failed") and not result.get("skipped"):
            complaint = self.notify(queued)
            if complaint:
                result = {**result, **failure(complaint)}
        if self._report.end_task(queued, result) == "failed":
            self._failed = True
