"""One play on one host: its entries in order, blocks, includes, handlers."""

from __future__ import annotations

from typing import Any

from tvmops.errors import ConfigError, HostUnreachable
from tvmops.playbook import meta
from tvmops.playbook.agenda import Agenda
from tvmops.playbook.batch import Queued
from tvmops.playbook.bringing_in import Includes
from tvmops.playbook.company import Company, HostStopped
from tvmops.playbook.conduct import flag
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.handlers import Handlers
from tvmops.playbook.model import Task
from tvmops.playbook.plan import Entry, PlayPlan, counts
from tvmops.playbook.prepare import TaskContext, prepare_task
from tvmops.playbook.prepared import Prepared, Step, failure
from tvmops.playbook.queue import Broken, TaskQueue
from tvmops.playbook.report import Report
from tvmops.playbook.role_runs import RoleRuns
from tvmops.playbook.shared_tasks import SharedTasks
from tvmops.playbook.state import HostState, PlayScope
from tvmops.playbook.unwinding import Path
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
        self.agenda = Agenda(planned.entries, report)
        self._shared_tasks = SharedTasks(self)
        self._includes = Includes(self)
        # The path of the last task that ran: where a failure of other hosts meets this one.
        self._last_path: Path = ()
        self._roles = RoleRuns()
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
                while self.agenda:
                    self._take(self.agenda.next())
                self.queue.flush()
                overdue = self.agenda.unwinding.overdue(None)
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
        if self.agenda.unwinding.is_overdue(entry):
            self.agenda.put_first([entry])
            self.queue.flush("the end of always")
            self._fail(self.agenda.unwinding.overdue(entry) or (), HostFailed())
            return
        if not self.queue:
            self.agenda.passed.clear()
        if not self.agenda.unwinding.admits(entry):
            self.agenda.passed.append(entry)
            return
        if self._roles.is_done(entry):
            self.agenda.drop(entry)
            return
        self.agenda.current = entry
        if entry.candidate and not self._notified(entry):
            self.agenda.current = None
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
        self.agenda.current = None

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
            self._fail(self.agenda.unwinding.position, self._stopped)
        return True

    def role_complete(self, entry: Entry) -> None:
        """A role's tasks are over: another use of the same is left out when any of them ran."""
        if entry.task.role is None:
            return
        runs_yet = any(one.entry.task.role is entry.task.role and one.remote for one in self.queue.waiting)
        self._roles.complete(entry, runs_yet=runs_yet)
        if self.queue:
            # Should one of its tasks fail, it is not over yet.
            self.agenda.passed.append(entry)

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
            self._includes.take(entry, prepared, context)
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
        self.agenda.put_first(children)

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
        return self.agenda.unwinding.rescues(queued.entry.path, self.agenda.waiting_with(left))

    def finished(self, queued: Queued, result: dict[str, Any], status: str) -> None:
        """As Watcher."""
        task = queued.entry.task
        self._roles.ran(task, status)
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
        entries, passed = self.agenda.put_back(left, failed)
        self._roles.take_back(passed)
        for entry in entries:
            if entry.candidate:
                self.handlers.back(entry.task)
                self.report.total -= 1

    def _fail(self, path: Path, failed: Exception) -> None:
        """Go on where a failure at `path` is dealt with; where it is not, only handlers may still run."""
        if self._failed is not None or not self.agenda.unwinding.fail(path):
            self.agenda.clear()
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
        self.agenda.clear()
        self.agenda.unwinding.forget()


def _args(prepared: Prepared) -> dict[str, Any]:
    return (prepared.steps[0].args or {}) if prepared.steps and not prepared.no_log else {}


def _stands(value: Any, *, doubtful: bool) -> bool:
    """A flag of a task that could not be worked out; `doubtful` is the answer when the flag is a template."""
    if value is None:
        return False
    return bool(value.loose({})) if value.constant else doubtful
