"""One play on one host: its entries in order, blocks, includes, handlers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from tvmops.errors import ConfigError, HostUnreachable
from tvmops.playbook import meta
from tvmops.playbook.batch import Queued
from tvmops.playbook.company import Company, HostStopped
from tvmops.playbook.conduct import flag
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.handlers import Handlers
from tvmops.playbook.including import children_of, inclusions
from tvmops.playbook.model import Included, Task
from tvmops.playbook.plan import Entry, PlayPlan, counts
from tvmops.playbook.prepare import Prepared, Step, TaskContext, failure, prepare_task
from tvmops.playbook.progress import END
from tvmops.playbook.queue import Broken, TaskQueue
from tvmops.playbook.report import Report
from tvmops.playbook.shared_tasks import SharedTasks
from tvmops.playbook.state import HostState, PlayScope
from tvmops.playbook.tags import selected
from tvmops.playbook.unwinding import Path, Unwinding
from tvmops.playbook.values import final
from tvmops.playbook.variables import Scope

END_OF_TASKS = 1 << 28  # comes after the number of every task of a play


class HostFailed(Exception):
    """A task failed and the host's run ends here."""


class PlayRun:
    """One play on one host."""

    def __init__(self, state: HostState, planned: PlayPlan, queue: TaskQueue, report: Report) -> None:
        self.state = state
        self.planned = planned
        self.queue = queue
        self.report = report
        self.scopes = PlayScope(state, planned.play, planned.hosts, planned.batch)
        self.company = Company(state, planned, self.scope)
        self.handlers = Handlers(planned.play.handlers, self._title)
        self.entries: deque[Entry] = deque(planned.entries)
        self._unwinding = Unwinding(self.entries, self.drop)
        self._shared_tasks = SharedTasks(self)
        self._current: Entry | None = None
        # Tasks of a rescue that were passed by while it was not known yet whether their block would fail.
        self._passed: list[Entry] = []
        # The path of the last task that ran: where a failure of other hosts meets this one.
        self._last_path: Path = ()
        self._roles_used: set[str] = set()
        self._roles_done: set[str] = set()
        self._last_flush = False  # the handlers that run are those at the end of a part of the play
        self._failed: Exception | None = None
        self._stopped: HostStopped | None = None

    def run(self) -> None:
        """All entries. Raises HostFailed, HostStopped, Interrupted, and what sessions raise."""
        self.queue.watcher = self
        if not self.company.begin():
            return
        self.report.begin_play(self.planned.play.name)
        try:
            self._loop()
            self.company.end()
        except HostUnreachable as error:
            self.company.fails(unreachable=True)
            if self.queue.stopping() or not self.company.forgiven():
                raise
            self.report.ended_by(error)
            self.report.forgiven()
            self.queue.channels.reset()
        except (HostFailed, HostStopped):
            self.company.fails()
            if not self.company.forgiven():
                raise
            self.report.forgiven()

    def _loop(self) -> None:
        while True:
            try:
                while self.entries:
                    self._take(self.entries.popleft())
                self.queue.flush()
                overdue = self._unwinding.overdue(None)
                if overdue is not None:
                    self._fail(overdue, HostFailed())
                    continue
                self.company.last()
                if not self._obeyed():
                    break
            except Broken as broken:
                self._broken(broken)
        if self._failed or self._stopped:
            raise self._failed or self._stopped or HostFailed

    def _take(self, entry: Entry) -> None:
        """Queue one task; at a boundary, run what is queued first."""
        if self._unwinding.is_overdue(entry):
            self.entries.appendleft(entry)
            self.queue.flush("the end of always")
            self._fail(self._unwinding.overdue(entry) or (), HostFailed())
            return
        if not self.queue:
            self._passed.clear()
        if not self._unwinding.admits(entry):
            self._passed.append(entry)
            return
        if self._role_done(entry):
            self.drop(entry)
            return
        self._current = entry
        if entry.candidate and not self._notified(entry):
            self._current = None
            return
        if self._obeyed():
            return
        if not counts(entry) and entry.task.module != "meta":
            self.report.total += 1
        if entry.task.module == "meta":
            meta.carry_out(self, entry)
        elif self.company.together(entry.task):
            self._shared_tasks.take(entry)
        else:
            self.enqueue(entry)
        self._current = None

    def _obeyed(self) -> bool:
        """True when other hosts have told this one to do something else than its next entry, which it now does."""
        order = self.company.told()
        if order is None:
            return False
        left = self.queue.drop()
        self._put_back(left)
        if order.kind == "end":
            self.end_play()
            return True
        # As in Ansible, it takes no part in later plays, even if a block rescues it.
        self.company.fails()
        self._stopped = self._stopped or HostStopped(order.text)
        self._fail(self._last_path, self._stopped)
        if order.twice:
            self._fail(self._unwinding.position, self._stopped)
        return True

    def _role_done(self, entry: Entry) -> bool:
        role = entry.task.role
        return role is not None and role.once and role.same in self._roles_done and not entry.handler

    def role_complete(self, entry: Entry) -> None:
        """A role's tasks are over: another use of the same is left out when any of them ran."""
        role = entry.task.role
        if role is None:
            return
        waiting = [one for one in self.queue.waiting if one.entry.task.role is role and one.remote]
        if waiting or role.same in self._roles_used:
            self._roles_done.add(role.same)
        if self.queue:
            # Should one of its tasks fail, it is not over yet.
            self._passed.append(entry)

    def _notified(self, entry: Entry) -> bool:
        """Whether a handler is to run; what is queued may yet notify it."""
        if not self.handlers.notified(entry.task):
            waiting = [name for one in self.queue.waiting if one.entry.handler for name in one.prepared.notify]
            if not any(entry.task in self.handlers.matching(name) for name in waiting):
                return False
            self.queue.flush("what handlers notify")
            if not self.handlers.notified(entry.task):
                return False
        self.handlers.done(entry.task, entry.trail)
        self.report.total += 1
        return True

    # -- one task ---------------------------------------------------------------------------------------------------

    def scope(self, entry: Entry) -> Scope:
        """What the entry's task sees, apart from a loop's items."""
        return self.scopes.of(entry.task, {}, {}, entry.params)

    def enqueue(self, entry: Entry) -> None:
        """Queue a task, prepared; what it waits for is run first. Raises Broken and what queues raise."""
        prepared = entry.prepared
        if prepared is not None and prepared.remote and not prepared.judged_on_board and self.queue.on_board:
            prepared = None  # now that it is known what waits, the board may be able to judge it
        if prepared is None:
            try:
                prepared = self._prepare(entry)
            except Pending as pending:
                self.queue.flush(pending.name)
                prepared = self._prepare(entry)
            counted_on = prepared.reads - {entry.task.register}
            if counted_on and not self.queue.joins(Queued(entry, prepared, self.context(entry))):
                # The results are another board's, or another user's session.
                self.queue.flush(min(counted_on))
                prepared = self._prepare(entry)
        context = self.context(entry)
        self._last_path = entry.path
        if entry.task.include is not None:
            self._take_include(entry, prepared, context)
        else:
            self.queue.add(Queued(entry, prepared, context))

    def settled(self, entry: Entry, ask: Any) -> Any:
        """`ask()`, after what is queued has been run if it needs that. Raises TemplateFault, and as flush."""
        try:
            return ask()
        except Pending as pending:
            self.queue.flush(pending.name)
            self.reached(entry)
            return ask()

    def context(self, entry: Entry) -> TaskContext:
        settled = not self.queue.changes_here
        return TaskContext(self.scopes, entry.params, files_settled=settled, on_board=self.queue.on_board)

    def reached(self, entry: Entry) -> None:
        """Say how far this host is; with an empty queue everything before the entry is done."""
        self.scopes.hosts_left(*self.company.left())
        self.state.place = self.company.place(entry.trail)
        self.state.unsettled = bool(self.queue)
        if not self.queue:
            self.company.at(entry.trail)

    def _prepare(self, entry: Entry) -> Prepared:
        """As prepare_task; faults become a task that fails. Raises Pending."""
        self.reached(entry)
        task = entry.task
        try:
            return prepare_task(self.context(entry), task)
        except ConfigError as fault:
            return self.faulty(entry, fault)

    def faulty(self, entry: Entry, fault: ConfigError) -> Prepared:
        """A task that cannot be worked out: it fails in its turn."""
        task = entry.task
        step = Step(result=failure(fault.message, fault))
        return Prepared(
            task,
            self._title(task),
            (step,),
            ignore_errors=_stands(task.ignore_errors, doubtful=False),
            no_log=_stands(task.no_log, doubtful=True),
        )

    def _take_include(self, entry: Entry, prepared: Prepared, context: TaskContext) -> None:
        steps = [step for step in prepared.steps if (step.result or {}).get("include") is not None]
        if not steps:
            self.queue.add(Queued(entry, prepared, context))
            return
        try:
            children = [] if entry.expanded else children_of(entry, prepared)
            found = inclusions(entry, prepared)
        except ConfigError as fault:
            step = Step(result=failure(fault.message, fault))
            failed = Prepared(entry.task, prepared.title, (step,), ignore_errors=prepared.ignore_errors)
            self.queue.add(Queued(entry, failed, context))
            return
        shown = [(Step(step.variables, step.label, result=step.result),) for step in steps]
        queued = [Queued(entry, Prepared(entry.task, prepared.title, one), context) for one in shown]
        queued[0].undo.append(self._bring_in(found))
        for one in queued:
            self.queue.add(one)
        options = self.state.shared.options
        chosen = [child for child in children if selected(child.task.tags, options.tags, options.skip_tags)]
        self.report.total += sum(counts(child) for child in chosen)
        self.entries.extendleft(reversed(chosen))

    def _bring_in(self, found: list[Included]) -> Callable[[], None]:
        """Add handlers and roles of included roles -> what takes that back, should the include not be reached."""
        handlers, roles = [*self.handlers.tasks], self.scopes.roles
        for one in found:
            self.handlers.extend(one.handlers)
            self.scopes.add_roles(one.roles)

        def undo() -> None:
            self.handlers.tasks[:] = handlers
            self.scopes.roles = roles

        return undo

    # -- handlers ---------------------------------------------------------------------------------------------------

    def flush_handlers(self, entry: Entry) -> None:
        """Put the handlers before everything else; those that are notified run when their turn comes."""
        self.handlers.flush()
        self._last_flush = entry.task.implicit
        children = [
            Entry(
                task, self.planned.play.loader, trail=(*entry.trail, 1 << 20, number), path=entry.path,
                handler=True, candidate=True,
            )
            for number, task in enumerate(self.handlers.tasks)
        ]  # fmt: skip
        self.entries.extendleft(reversed(children))

    def may_notify(self) -> bool:
        """Whether a handler is notified, or what is queued may notify one."""
        return bool(self.handlers) or any(one.prepared.notify for one in self.queue.waiting)

    def changed(self, queued: Queued) -> str:
        """As Watcher."""
        entry = queued.entry
        return self.handlers.notify(queued.prepared.notify, running=entry.handler, place=entry.trail)

    def _title(self, task: Task) -> str:
        if task.title.constant:
            return str(task.title.loose({}))
        try:
            return str(final(task.title, TaskContext(self.scopes).scope(task, {}, {})))
        except (Pending, TemplateFault):
            return str(getattr(task.title, "text", ""))

    # -- failures ---------------------------------------------------------------------------------------------------

    def rescued(self, queued: Queued, left: list[Queued]) -> bool:
        """As Watcher."""
        current = [self._current] if self._current is not None else []
        return self._unwinding.rescues(queued.entry.path, [*(one.entry for one in left), *current, *self._passed])

    def finished(self, queued: Queued, result: dict[str, Any], status: str) -> None:
        """As Watcher."""
        task = queued.entry.task
        if task.role is not None and status not in ("skipped", "unreachable"):
            self._roles_used.add(task.role.same)
        self._shared_tasks.finished(queued, result, status)
        if status == "rescued":
            failed = {
                "name": queued.prepared.title if task.named else "", "action": task.module,
                "args": _args(queued.prepared), "path": str(task.position),
            }  # fmt: skip
            self.state.results.values.update(ansible_failed_task=failed, ansible_failed_result=result)

    def _broken(self, broken: Broken) -> None:
        """Put back what has not run, and go on where the failure is dealt with."""
        self._put_back(broken.left, broken.failed)
        if broken.failed is not None:
            failed = HostFailed()
            if broken.failed.entry.handler and self._last_flush:
                # As in Ansible, those of the handlers that were to follow are not forced any more.
                self._failed = self._failed or failed
            self._fail(broken.failed.entry.path, failed)

    def _put_back(self, left: list[Queued], failed: Queued | None = None) -> None:
        entries = list(dict.fromkeys(one.entry for one in left))
        current, self._current = self._current, None
        if current is not None and current not in entries and (failed is None or current is not failed.entry):
            entries.append(current)
        first = failed.entry.trail if failed else entries[0].trail if entries else END
        passed, self._passed = [one for one in self._passed if one.trail > first], []
        self._roles_done -= {one.task.role.same for one in passed if one.task.module == "meta" and one.task.role}
        for entry in entries:
            if entry.candidate:
                self.handlers.back(entry.task)
                self.report.total -= 1
        back = self._without_included([*entries, *passed])
        self.entries.extendleft(sorted(back, key=lambda entry: entry.trail, reverse=True))

    def _without_included(self, back: list[Entry]) -> list[Entry]:
        """What goes back, without what its includes brought in: that is found out anew."""
        anew = [one for one in back if one.task.include is not None and one.prepared is None]
        for one in [one for one in (*back, *self.entries) if any(one.comes_from(other) for other in anew)]:
            self.drop(one)
            if one in back:
                back.remove(one)
            else:
                self.entries.remove(one)
        return back

    def _fail(self, path: Path, failed: Exception) -> None:
        """Go on where a failure at `path` is dealt with; where it is not, only handlers may still run."""
        if self._failed is not None or not self._unwinding.fail(path):
            while self.entries:
                self.drop(self.entries.popleft())
            if self._failed is not None:
                raise self._failed
            self._failed = failed
            if self._forces_handlers():
                self.flush_handlers(Entry(self.planned.play.tasks[0], self.planned.play.loader, trail=(END_OF_TASKS,)))
            else:
                raise failed

    def _forces_handlers(self) -> bool:
        if not self.planned.play.tasks:
            return False
        return self.state.shared.options.force_handlers or flag(self.planned.play.force_handlers, self.scopes.base())

    def end_play(self) -> None:
        """No more of this play on this host."""
        while self.entries:
            self.drop(self.entries.popleft())
        self._unwinding.forget()

    def drop(self, entry: Entry) -> None:
        """An entry that will not run."""
        if counts(entry) and not entry.candidate:
            self.report.total -= 1


def _args(prepared: Prepared) -> dict[str, Any]:
    return (prepared.steps[0].args or {}) if prepared.steps and not prepared.no_log else {}


def _stands(value: Any, *, doubtful: bool) -> bool:
    """A flag of a task that could not be worked out; `doubtful` is the answer when the flag is a template."""
    if value is None:
        return False
    return bool(value.loose({})) if value.constant else doubtful
