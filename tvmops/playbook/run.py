"""One host's playbook, run over an agent session: batches out, results in, events to whoever listens."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tvmops.errors import AgentError, ConfigError, HostUnreachable, Interrupted, TvmopsError
from tvmops.playbook.batch import Batch, Queued
from tvmops.playbook.events import HostRecap, RunEvent, censor, status_of
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.model import Play, Task
from tvmops.playbook.plan import Entry, HostPlan, Planner, PlayPlan, children_of, facts_of
from tvmops.playbook.prepare import Prepared, Step, TaskContext, failure, prepare_task
from tvmops.playbook.state import HostState, PlayScope
from tvmops.playbook.tags import selected
from tvmops.source import did_you_mean

HANDLER_ROUNDS = 20


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


OnEvent = Callable[[RunEvent], None]


class HostFailed(Exception):
    """A task failed and the host's run ends here."""


def plan_host(state: HostState, plays: Sequence[tuple[Play, list[str]]]) -> HostPlan:
    """Plan a host's part of all plays, which come with their hosts. Certain faults are in the plan's `problems`."""
    planner = Planner(state)
    for number, (play, hosts) in enumerate(plays):
        if state.host.name in hosts:
            planner.play(play, hosts, number)
    return planner.plan


class HostRun:
    """Runs one host's plan. `stopping` is asked between events: when it says yes, Interrupted ends the run."""

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
        self.sessions = sessions
        self.recap = HostRecap(state.host.name)
        self._listener = on_event
        self._stopping = stopping
        self._started = time.monotonic()
        self._root = plan.needs_root
        self._batches = 0
        self._done = 0
        self._total = plan.total
        self._play: PlayPlan | None = None
        self._scopes: PlayScope | None = None
        self._queue: list[Queued] = []
        self._notified: set[str] = set()
        self._in_handlers = False
        self._failed = False

    def run(self) -> HostRecap:
        """Run everything; what ends the run early is in the recap. Raises nothing a host can cause."""
        try:
            for planned in self.plan.plays:
                self._run_play(planned)
        except HostFailed:
            pass
        except Interrupted:
            self.recap.interrupted = True
        except TvmopsError as error:
            self._ended_by(error)
        finally:
            self.state.shared.progress.end(self.state.host.name)
        self.recap.seconds = time.monotonic() - self._started
        self._emit("host", status=_end_status(self.recap), text=self.recap.error)
        return self.recap

    def _ended_by(self, error: TvmopsError) -> None:
        if self._stopping():
            # Its session was closed under it.
            self.recap.interrupted = True
            return
        if isinstance(error, HostUnreachable):
            self.recap.unreachable = 1
        else:
            self.recap.failed += 1
        self.recap.error, self.recap.hint, self.recap.exit_code = error.message, error.hint, error.exit_code

    # Plays, tasks, handlers

    def _run_play(self, planned: PlayPlan) -> None:
        self._play = planned
        self._scopes = PlayScope(self.state, planned.play, planned.hosts)
        self._notified = set()
        self.state.shared.progress.at(self.state.host.name, (planned.number, 0))
        self._emit("play", text=planned.play.name)
        entries = deque(planned.entries)
        while entries:
            self._take(entries.popleft(), entries)
        self._flush()
        self.state.shared.progress.at(self.state.host.name, (planned.number, len(planned.play.tasks) + 1))
        self._in_handlers = True
        self._run_handlers(planned.play)
        self._in_handlers = False

    def _take(self, entry: Entry, following: deque[Entry]) -> None:
        """Queue one task; at a boundary, run what is queued first."""
        context = self._context(entry)
        prepared = entry.prepared
        if prepared is None:
            self._settled_up_to(entry)
            try:
                prepared = self._prepare(context, entry)
            except Pending as pending:
                self._flush(pending.name)
                self._settled_up_to(entry)
                prepared = self._prepare(self._context(entry), entry)
        if entry.task.include is not None:
            self._take_include(entry, prepared, context, following)
            return
        self._enqueue(Queued(entry, prepared, context))

    def _settled_up_to(self, entry: Entry) -> None:
        assert self._play is not None
        self.state.place = (self._play.number, entry.order)
        self.state.unsettled = bool(self._queue)
        if not self._queue:
            self.state.shared.progress.at(self.state.host.name, self.state.place)

    def _context(self, entry: Entry) -> TaskContext:
        assert self._scopes is not None
        return TaskContext(self._scopes, entry.params, files_settled=not any(one.remote for one in self._queue))

    def _prepare(self, context: TaskContext, entry: Entry) -> Prepared:
        """As prepare_task; faults become a task that fails."""
        try:
            return prepare_task(context, entry.task)
        except ConfigError as fault:
            text = fault.message
            title = entry.task.title.loose({}) if entry.task.title.constant else getattr(entry.task.title, "text", "")
            ignore = entry.task.ignore_errors
            ignored = bool(ignore is not None and ignore.constant and ignore.loose({}))
            step = Step(result=failure(text, fault))
            return Prepared(entry.task, str(title), (step,), ignore_errors=ignored, no_log=_censored(entry.task))

    def _take_include(self, entry: Entry, prepared: Prepared, context: TaskContext, following: deque[Entry]) -> None:
        steps = [step for step in prepared.steps if (step.result or {}).get("include") is not None]
        if not steps:
            self._enqueue(Queued(entry, prepared, context))
            return
        try:
            children = [] if entry.expanded else children_of(entry, prepared)
        except ConfigError as fault:
            failed = Step(result=failure(fault.message, fault))
            self._enqueue(Queued(entry, Prepared(entry.task, prepared.title, (failed,)), context))
            return
        for step in steps:
            one = Prepared(entry.task, prepared.title, (Step(step.item, step.label, result=step.result),))
            self._enqueue(Queued(entry, one, context))
        options = self.state.shared.options
        chosen = [
            Entry(task, entry.loader, params, order=entry.order)
            for task, params in children
            if selected(task.tags, options.tags, options.skip_tags)
        ]
        self._total += len(chosen)
        following.extendleft(reversed(chosen))

    def _run_handlers(self, play: Play) -> None:
        for _ in range(HANDLER_ROUNDS):
            if not self._notified:
                return
            for handler in play.handlers:
                name = self._title(handler)
                if name not in self._notified:
                    continue
                self._notified.discard(name)
                self._total += 1
                following: deque[Entry] = deque()
                self._take(Entry(handler, play.loader, order=len(play.tasks) + 1), following)
                while following:
                    self._take(following.popleft(), following)
                if handler.notify is not None:
                    self._flush()
            self._flush()

    def _title(self, task: Task) -> str:
        if task.title.constant:
            return str(task.title.loose({}))
        assert self._scopes is not None
        try:
            return prepare_title(task, TaskContext(self._scopes))
        except (Pending, TemplateFault):
            return str(getattr(task.title, "text", ""))

    # The queue

    def _enqueue(self, queued: Queued) -> None:
        prepared, task = queued.prepared, queued.entry.task
        self._queue.append(queued)
        if not queued.remote:
            result = queued.local_result()
            self.state.results.values.update(facts_of(prepared))
            if task.register:
                self.state.results.values[task.register] = result
            if status_of(result, prepared.ignore_errors) == "failed" or not any(one.remote for one in self._queue):
                self._flush()
            return
        if prepared.become_user is not None and not self._root:
            # A session as root from here on; what is queued belongs to the one before.
            last = self._queue.pop()
            self._flush()
            self._queue.append(last)
            self._root = True
        self.state.await_results([task.register] if task.register else [])
        if task.module == "setup":
            self.state.facts.awaited = True
        if prepared.decides_failed:
            self._flush(f"failed_when of {prepared.title}")

    def _flush(self, reason: str = "") -> None:
        """Run what is queued and finish it in order. Raises HostFailed when the run ends here."""
        queue, self._queue = self._queue, []
        if not queue:
            return
        try:
            if any(one.remote for one in queue):
                self._batches += 1
                batch = Batch(self._batches, queue, self.state.shared, self._login_user if self._root else None)
                self._finish_ready(queue)
                handler = _BatchEvents(self, queue)
                self._check_stop()
                session = self.sessions.session(self._root)
                self._emit("batch", text=reason, total=len(batch.message["tasks"]))
                session.run_batch(batch.message, self.state.shared.blobs.read, handler)
            if not self._failed:
                self._finish_ready(queue)
            if self._failed:
                raise HostFailed
            self._check_stop()
            if queue:
                raise AgentError(f"{self.state.host.name}: the agent left out '{queue[0].prepared.title}'")
        finally:
            self.state.facts.awaited = False

    def _login_user(self) -> str:
        return self.sessions.login_user()

    def _finish_ready(self, queue: list[Queued]) -> None:
        """Finish, in order, what has its result; stop at the first that has not, and after a failure."""
        while queue and queue[0].ready and not self._failed:
            self._finish(queue.pop(0))

    def _check_stop(self) -> None:
        if self._stopping():
            raise Interrupted(f"{self.state.host.name}: interrupted")

    def _finish(self, queued: Queued) -> None:
        prepared, task = queued.prepared, queued.entry.task
        result = queued.final_result()
        if queued.remote:
            if task.register:
                self.state.results.values[task.register] = result
            facts = result.get("ansible_facts")
            if isinstance(facts, dict):
                self.state.facts.learn(facts)
        missing = self._notify(prepared, result)
        if missing:
            result = {**result, **failure(missing)}
        status = status_of(result, prepared.ignore_errors)
        self._done += 1
        self.recap.count(status, bool(result.get("changed")))
        shown = censor(result) if prepared.no_log else result
        if not queued.started:
            self._at(queued)
            self._emit_task("start", queued)
        self.recap.running = False
        if prepared.looped and not queued.items_shown:
            for step, one in zip(prepared.steps, result.get("results") or [], strict=False):
                self._emit_item(queued, step, one)
        self._emit_task("task", queued, status=status, result=shown)
        if status == "failed":
            self.recap.error = str(shown.get("msg") or "")
            # The batch's last events are still to be read: the run ends when they have been.
            self._failed = True

    def _at(self, queued: Queued) -> None:
        self.recap.task, self.recap.position = queued.prepared.title, str(queued.entry.task.position)
        self.recap.running = True

    def _notify(self, prepared: Prepared, result: dict[str, Any]) -> str:
        """Remember the handlers to run; a message when there is no such handler."""
        if not prepared.notify or not result.get("changed") or result.get("failed") or result.get("skipped"):
            return ""
        assert self._play is not None
        names = [self._title(handler) for handler in self._play.play.handlers]
        for name in prepared.notify:
            if name not in names:
                return f"there is no handler '{name}' in this play; {did_you_mean(name, names)}"
            self._notified.add(name)
        return ""

    # Events

    def agent_event(self, event: dict[str, Any], queue: list[Queued]) -> None:
        """One event of the running batch."""
        kind = event.get("ev")
        queued = next((one for one in queue if one.number == event.get("task")), None)
        if queued is not None:
            self._task_event(kind, event, queued, queue)

    def _task_event(self, kind: Any, event: dict[str, Any], queued: Queued, queue: list[Queued]) -> None:
        if kind == "start" and not queued.started:
            queued.started = True
            self._at(queued)
            self._emit_task("start", queued)
        elif kind == "progress" and not queued.prepared.no_log:
            self._emit_task("progress", queued, text=str(event.get("text", "")))
        elif kind == "result" and isinstance(event.get("item"), int):
            queued.item_result(event["item"], event["result"])
        elif kind == "done":
            queued.board_result = event["result"]
            if not self._failed:
                self._finish_ready(queue)

    def _emit_item(self, queued: Queued, step: Step, result: dict[str, Any]) -> None:
        hidden = queued.prepared.no_log
        label = "(censored)" if hidden else step.label
        shown = censor(result) if hidden else result
        status = status_of(result, queued.prepared.ignore_errors)
        self._emit_task("item", queued, status=status, label=label, result=shown)

    def _emit_task(self, kind: str, queued: Queued, **values: Any) -> None:
        self._emit(
            kind,
            task=queued.prepared.title,
            module=queued.entry.task.module,
            position=str(queued.entry.task.position),
            **values,
        )

    def _emit(self, kind: str, **values: Any) -> None:
        values.setdefault("total", self._total)
        play = self._play.play.name if self._play else ""
        elapsed = time.monotonic() - self._started
        self._listener(
            RunEvent(
                kind, self.state.host.name, elapsed, play=play, done=self._done, handler=self._in_handlers, **values
            )
        )


class _BatchEvents:
    """Passes a batch's events to the run, which finishes tasks of this queue."""

    def __init__(self, run: HostRun, queue: list[Queued]) -> None:
        self._run = run
        self._queue = queue

    def __call__(self, event: dict[str, Any]) -> None:
        self._run.agent_event(event, self._queue)


def _censored(task: Task) -> bool:
    return task.no_log is not None and not (task.no_log.constant and not task.no_log.loose({}))


def _end_status(recap: HostRecap) -> str:
    if recap.unreachable:
        return "unreachable"
    if recap.interrupted:
        return "interrupted"
    return "failed" if recap.failed else "changed" if recap.changed else "ok"


def prepare_title(task: Task, context: TaskContext) -> str:
    """A templated name, worked out. Raises TemplateFault, Pending."""
    from tvmops.playbook.values import final

    return str(final(task.title, context.scope(task, {}, {})))
