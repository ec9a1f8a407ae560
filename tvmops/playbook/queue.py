"""Prepared tasks of one host waiting for their batch: what goes out together, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from tvmops.errors import AgentError, HostUnreachable, Interrupted
from tvmops.playbook.alone import Alone, goes_alone
from tvmops.playbook.batch import Batch, Queued
from tvmops.playbook.channels import Channels, Place, Sessions
from tvmops.playbook.events import status_of
from tvmops.playbook.plan import facts_of
from tvmops.playbook.prepared import failure
from tvmops.playbook.report import Report
from tvmops.playbook.state import HostState
from tvmops.playbook.variables import AWAITED, FACT_MODULES


class Broken(Exception):
    """The queue was broken off: `failed` failed with `result` (None: its failure is ignored); `left` have not run."""

    def __init__(self, failed: Queued | None, result: dict[str, Any], left: list[Queued]) -> None:
        super().__init__()
        self.failed = failed
        self.result = result
        self.left = left


class Watcher(Protocol):
    """What a play wants to know of its queue."""

    def changed(self, queued: Queued) -> str:
        """A task has changed something; a complaint when it notifies a handler that is not there."""

    def rescued(self, queued: Queued, left: list[Queued]) -> bool:
        """Whether a failed task's block has tasks for that."""

    def finished(self, queued: Queued, result: dict[str, Any], status: str) -> None:
        """A task has its result."""


class TaskQueue:
    """Tasks in order. What counts on the success of tasks that have yet to run is taken back when one fails."""

    def __init__(self, state: HostState, report: Report, sessions: Sessions, *, stopping: Callable[[], bool]) -> None:
        self.watcher: Watcher | None = None
        self.stopping = stopping
        self.channels = Channels(sessions)
        self.state = state
        self.report = report
        self._waiting: list[Queued] = []
        self._place = Place()
        self._batches = 0
        self._failed: tuple[Queued, dict[str, Any]] | None = None
        self._on_board: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def waiting(self) -> list[Queued]:
        """What has yet to run, in order."""
        return self._waiting

    @property
    def remote(self) -> bool:
        """True when a board has something to do before the next task."""
        return any(one.remote for one in self._waiting)

    @property
    def changes_here(self) -> bool:
        """True when what waits may change files of this machine."""
        shared = self.state.shared
        if self._place.target is None:
            return self.state.local and self.remote
        return self.remote and shared.state(shared.host(self._place.target)).local

    @property
    def on_board(self) -> frozenset[str]:
        """The registered results that the board will know before it comes to the next task."""
        return frozenset(self._on_board)

    def joins(self, queued: Queued) -> bool:
        """True when a task goes out with what waits."""
        return not self.remote or self.place_of(queued.prepared.target, queued) == self._place

    def add(self, queued: Queued) -> None:
        """Add a task; it may run at once. Raises Broken, Interrupted, and what sessions raise."""
        prepared, task = queued.prepared, queued.entry.task
        if goes_alone(prepared):
            self.flush(f"'{prepared.title}' is taken step by step")
            self._run_alone(queued)
            return
        if not queued.remote:
            self._add_local(queued)
            return
        place = self.place_of(prepared.target, queued)
        if self.remote and place != self._place:
            # What waits belongs to another session.
            self.flush("becoming root" if place.target == self._place.target else f"delegated to {place.target}")
        self._place = self.channels.chosen(place)
        self._count_on(queued, [task.register] if task.register else [])
        self._waiting.append(queued)
        if task.register:
            self.state.await_results([task.register])
            (self._on_board.add if queued.known_on_board() else self._on_board.discard)(task.register)
        if task.module in FACT_MODULES:
            self.state.facts.awaited = True
        if prepared.decides_failed:
            self.flush(f"failed_when of '{prepared.title}'")

    def place_of(self, target: str | None, queued: Queued) -> Place:
        """Where a task goes."""
        return self.channels.place(target, queued.prepared.conduct.become_user, queued.prepared.conduct.become_method)

    def _add_local(self, queued: Queued) -> None:
        prepared, task = queued.prepared, queued.entry.task
        self._waiting.append(queued)
        result = queued.local_result()
        facts = {} if prepared.gives_facts_to else facts_of(prepared)
        self._count_on(queued, [*facts, *([task.register] if task.register else [])])
        self.state.remember(task, facts)
        if task.register:
            self.state.results.values[task.register] = result
        if status_of(result, prepared.ignore_errors) == "failed" or not self.remote:
            self.flush()

    def _count_on(self, queued: Queued, names: Iterable[str]) -> None:
        """Note how to take back what is set before the board has come to it."""
        values, state, included = self.state.results.values, self.state, self.state.included
        before = {name: values[name] for name in names if name in values}
        absent = [name for name in names if name not in values]

        def undo() -> None:
            # What was awaited then has been given since, by a task that did run.
            values.update({name: value for name, value in before.items() if value is not AWAITED})
            for name in absent:
                values.pop(name, None)
            state.included = included

        queued.undo.append(undo)

    def flush(self, reason: str = "") -> None:
        """Run what waits and finish it in order. Raises Broken, Interrupted, and what sessions raise."""
        queue, self._waiting = self._waiting, []
        self._on_board.clear()
        if not queue:
            return
        try:
            if any(one.remote for one in queue):
                self._run(queue, reason)
            self._finish_ready(queue)
        except HostUnreachable as error:
            self._bear(error, queue)
        finally:
            self.state.facts.awaited = False
        self._break_off(queue)
        self.check_stop()
        if queue:
            raise AgentError(f"{self.state.host.name}: the agent left out '{queue[0].prepared.title}'")

    def drop(self) -> list[Queued]:
        """Give up what waits: it will not run."""
        left, self._waiting = self._waiting, []
        self._on_board.clear()
        self._take_back(left)
        self.state.facts.awaited = False
        return left

    def _break_off(self, left: list[Queued]) -> None:
        if self._failed is None:
            return
        (failed, result), self._failed = self._failed, None
        self._take_back(left)
        raise Broken(failed, result, left)

    def _take_back(self, left: list[Queued]) -> None:
        for one in reversed(left):
            for undo in reversed(one.undo):
                undo()

    def _bear(self, error: HostUnreachable, queue: list[Queued]) -> None:
        """A host that is out of reach ends its run, unless the task it was at ignores that."""
        self._finish_ready(queue)
        if not queue or not queue[0].prepared.conduct.ignore_unreachable or self.stopping():
            raise error
        self.channels.sessions(self._place).reset()
        out = queue.pop(0)
        out.settle(out_of_reach(error))
        self._finish(out)
        self._take_back(queue)
        raise Broken(None, {}, queue)

    def _run(self, queue: list[Queued], reason: str) -> None:
        self._batches += 1
        shared = self.state.shared
        self.check_stop()
        with self.channels.open(self._place) as (session, login_user):
            batch = Batch(self._batches, queue, shared, login_user)
            self.report.batch(len(batch.message["tasks"]), reason)
            self._finish_ready(queue)
            session.run_batch(batch.message, shared.blobs.read, lambda event: self._answer(event, queue))

    def ask(self, queued: Queued, target: str | None, module: str, args: dict[str, Any]) -> dict[str, Any]:
        """Let a board carry out one step for a task that goes alone. Raises what sessions raise."""
        self._batches += 1
        self.check_stop()
        answers: list[dict[str, Any]] = []

        def listen(event: dict[str, Any]) -> None:
            if event.get("ev") == "progress":
                self.report.progress(queued, str(event.get("text", "")))
            elif event.get("ev") == "done":
                answers.append(event["result"])

        shared = self.state.shared
        with self.channels.open(self.channels.chosen(self.place_of(target, queued))) as (session, login_user):
            batch = Batch.of_step(self._batches, queued, module, args, shared, login_user)
            session.run_batch(batch.message, shared.blobs.read, listen)
        self.check_stop()
        if not answers:
            raise AgentError(f"{self.state.host.name}: the agent left out '{queued.prepared.title}'")
        return answers[0]

    def _run_alone(self, queued: Queued) -> None:
        self.check_stop()
        self.report.begin_task(queued)
        queued.settle(Alone(self, queued).run())
        self._finish(queued)
        self._break_off([])
        self.check_stop()

    def check_stop(self) -> None:
        """Raises Interrupted when the run is being stopped."""
        if self.stopping():
            raise Interrupted(f"{self.state.host.name}: interrupted")

    def _answer(self, event: dict[str, Any], queue: list[Queued]) -> None:
        queued = next((one for one in queue if one.number == event.get("task")), None)
        if queued is None:
            return
        kind = event.get("ev")
        if kind == "start":
            self.report.begin_task(queued)
        elif kind == "progress":
            self.report.progress(queued, str(event.get("text", "")))
        elif kind == "result" and isinstance(event.get("item"), int):
            queued.item_result(event["result"])
            if queued is queue[0]:
                self.report.items(queued, queued.items_so_far())
        elif kind == "done":
            queued.board_result = event["result"]
            self._finish_ready(queue)

    def _finish_ready(self, queue: list[Queued]) -> None:
        """Finish, in order, what has its result; stop at the first that has not, and after a failure."""
        # After a failure the batch's last events are still to be read: the queue is broken off when they have been.
        while queue and queue[0].ready and self._failed is None:
            self._finish(queue.pop(0), queue)

    def _finish(self, queued: Queued, left: list[Queued] | None = None) -> None:
        prepared = queued.prepared
        result = queued.final_result()
        assert self.watcher is not None
        self._learn(queued, result)
        if prepared.gives_facts_to and not queued.remote:
            self._other(prepared.gives_facts_to).remember(queued.entry.task, Alone.facts(result))
        if result.get("changed") and not result.get("failed") and not result.get("skipped"):
            complaint = self.watcher.changed(queued)
            if complaint:
                result = {**result, **failure(complaint)}
        status = status_of(result, prepared.ignore_errors, prepared.conduct.ignore_unreachable)
        if status == "failed":
            self._failed = queued, result
            if self.watcher.rescued(queued, left or []):
                status = "rescued"
        self.report.end_task(queued, result, status)
        self.watcher.finished(queued, result, status)

    def _learn(self, queued: Queued, result: dict[str, Any]) -> None:
        """Keep what a task registers and the facts it brings."""
        task, alone = queued.entry.task, goes_alone(queued.prepared)
        if not (queued.remote or alone):
            return
        if task.register:
            self.state.results.values[task.register] = result
        if not queued.remote:
            if not queued.prepared.gives_facts_to:
                self.state.remember(task, Alone.facts(result))
            return
        for facts, target in Alone.facts_of_board(queued, result):
            given = queued.prepared.conduct.delegate_facts and target is not None
            (self._other(str(target)) if given else self.state).facts.learn(facts)

    def _other(self, host: str) -> HostState:
        return self.state.shared.state(self.state.shared.host(host))


def out_of_reach(error: HostUnreachable) -> dict[str, Any]:
    """The result of a task whose host could not be reached."""
    return {"changed": False, "unreachable": True, "msg": error.message}
