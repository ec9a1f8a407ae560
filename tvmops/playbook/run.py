"""One host's playbook from its first play to its recap: tasks in order, includes, handlers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from tvmops.errors import ConfigError, Interrupted, TvmopsError
from tvmops.playbook.batch import Queued
from tvmops.playbook.events import HostRecap
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.model import Play, Task
from tvmops.playbook.plan import Entry, HostPlan, Planner, PlayPlan, children_of
from tvmops.playbook.prepare import Prepared, Step, TaskContext, failure, prepare_task
from tvmops.playbook.queue import HostFailed, Sessions, TaskQueue
from tvmops.playbook.report import OnEvent, Report
from tvmops.playbook.state import HostState, PlayScope
from tvmops.playbook.tags import selected
from tvmops.playbook.values import final
from tvmops.source import did_you_mean

# Handlers that notify each other in a circle end here, not never.
HANDLER_ROUNDS = 20


def plan_host(state: HostState, plays: Sequence[tuple[Play, list[str]]]) -> HostPlan:
    """Plan a host's part of all plays, which come with their hosts. Certain faults are in the plan's `problems`."""
    planner = Planner(state)
    for number, (play, hosts) in enumerate(plays):
        if state.host.name in hosts:
            planner.play(play, hosts, number)
    return planner.plan


class HostRun:
    """Runs one host's plan. When `stopping` says yes, the run ends after the batch that is out."""

    def __init__(
        self,
        state: HostState,
        plan: HostPlan,
        sessions: Sessions,
        on_event: OnEvent,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.state = state
        self.plan = plan
        self.report = Report(state.host.name, plan.total, on_event)
        self._stopping = stopping
        self._queue = TaskQueue(state, self.report, sessions, root=plan.needs_root, stopping=stopping)

    def run(self) -> HostRecap:
        """Run everything; what ends the run early is in the recap. Raises nothing a host can cause."""
        recap = self.report.recap
        try:
            for planned in self.plan.plays:
                _PlayRun(self.state, planned, self._queue, self.report).run()
        except HostFailed:
            pass
        except Interrupted:
            recap.interrupted = True
        except TvmopsError as error:
            # While stopping, a session may have been closed under it.
            recap.interrupted = self._stopping()
            if not recap.interrupted:
                self.report.ended_by(error)
        finally:
            self.state.shared.progress.end(self.state.host.name)
        return self.report.end()


class _PlayRun:
    """One play on one host."""

    def __init__(self, state: HostState, planned: PlayPlan, queue: TaskQueue, report: Report) -> None:
        self._state = state
        self._planned = planned
        self._queue = queue
        self._report = report
        self._scopes = PlayScope(state, planned.play, planned.hosts)
        self._notified: set[str] = set()
        self._after_tasks = len(planned.play.tasks) + 1

    def run(self) -> None:
        """Tasks, then the handlers they notified. Raises HostFailed, Interrupted, and what sessions raise."""
        self._queue.notify = self._notify
        self._reached(0)
        self._report.begin_play(self._planned.play.name)
        self._run_entries(deque(self._planned.entries))
        self._queue.flush()
        self._reached(self._after_tasks)
        self._report.in_handlers = True
        self._run_handlers()
        self._report.in_handlers = False

    def _reached(self, order: int) -> None:
        self._state.shared.progress.at(self._state.host.name, (self._planned.number, order))

    def _run_entries(self, entries: deque[Entry]) -> None:
        while entries:
            self._take(entries.popleft(), entries)

    def _take(self, entry: Entry, following: deque[Entry]) -> None:
        """Queue one task; at a boundary, run what is queued first."""
        prepared = entry.prepared
        if prepared is None:
            try:
                prepared = self._prepare(entry)
            except Pending as pending:
                self._queue.flush(pending.name)
                prepared = self._prepare(entry)
        context = self._context(entry)
        if entry.task.include is not None:
            self._take_include(entry, prepared, context, following)
        else:
            self._queue.add(Queued(entry, prepared, context))

    def _context(self, entry: Entry) -> TaskContext:
        return TaskContext(self._scopes, entry.params, files_settled=not self._queue.remote)

    def _prepare(self, entry: Entry) -> Prepared:
        """As prepare_task; faults become a task that fails. Raises Pending."""
        self._state.place = (self._planned.number, entry.order)
        self._state.unsettled = bool(self._queue)
        if not self._queue:
            self._reached(entry.order)
        task = entry.task
        try:
            return prepare_task(self._context(entry), task)
        except ConfigError as fault:
            step = Step(result=failure(fault.message, fault))
            return Prepared(
                task,
                self._title(task),
                (step,),
                ignore_errors=_stands(task.ignore_errors, doubtful=False),
                no_log=_stands(task.no_log, doubtful=True),
            )

    def _take_include(self, entry: Entry, prepared: Prepared, context: TaskContext, following: deque[Entry]) -> None:
        steps = [step for step in prepared.steps if (step.result or {}).get("include") is not None]
        if not steps:
            self._queue.add(Queued(entry, prepared, context))
            return
        try:
            children = [] if entry.expanded else children_of(entry, prepared)
        except ConfigError as fault:
            step = Step(result=failure(fault.message, fault))
            failed = Prepared(entry.task, prepared.title, (step,), ignore_errors=prepared.ignore_errors)
            self._queue.add(Queued(entry, failed, context))
            return
        for step in steps:
            one = Prepared(entry.task, prepared.title, (Step(step.item, step.label, result=step.result),))
            self._queue.add(Queued(entry, one, context))
        options = self._state.shared.options
        chosen = [
            Entry(task, entry.loader, params, order=entry.order)
            for task, params in children
            if selected(task.tags, options.tags, options.skip_tags)
        ]
        self._report.total += len(chosen)
        following.extendleft(reversed(chosen))

    def _run_handlers(self) -> None:
        for _ in range(HANDLER_ROUNDS):
            if not self._notified:
                return
            for handler in self._planned.play.handlers:
                name = self._title(handler)
                if name not in self._notified:
                    continue
                self._notified.discard(name)
                self._report.total += 1
                self._run_entries(deque([Entry(handler, self._planned.play.loader, order=self._after_tasks)]))
                if handler.notify is not None:
                    self._queue.flush()
            self._queue.flush()

    def _notify(self, queued: Queued) -> str:
        """Remember the handlers that a changed task notifies; a complaint when there is no such handler."""
        if not queued.prepared.notify:
            return ""
        names = [self._title(handler) for handler in self._planned.play.handlers]
        for name in queued.prepared.notify:
            if name not in names:
                return f"there is no handler '{name}' in this play; {did_you_mean(name, names)}".rstrip("; ")
            self._notified.add(name)
        return ""

    def _title(self, task: Task) -> str:
        if task.title.constant:
            return str(task.title.loose({}))
        try:
            return str(final(task.title, TaskContext(self._scopes).scope(task, {}, {})))
        except (Pending, TemplateFault):
            return str(getattr(task.title, "text", ""))


def _stands(flag: Any, *, doubtful: bool) -> bool:
    """A flag of a task that could not be worked out; `doubtful` is the answer when the flag is a template."""
    if flag is None:
        return False
    return bool(flag.loose({})) if flag.constant else doubtful
