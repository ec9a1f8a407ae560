"""Includes in a play's run: what they bring in takes its place on the agenda, among handlers and roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tvmops.errors import ConfigError
from tvmops.playbook.batch import Queued
from tvmops.playbook.including import children_of, inclusions
from tvmops.playbook.model import Included
from tvmops.playbook.plan import Entry, counts
from tvmops.playbook.prepare import TaskContext
from tvmops.playbook.prepared import Prepared, Step, failure
from tvmops.playbook.tags import selected

if TYPE_CHECKING:
    from tvmops.playbook.play_run import PlayRun


class Includes:
    """The includes of one play's run on one host."""

    def __init__(self, run: PlayRun) -> None:
        self._run = run

    def take(self, entry: Entry, prepared: Prepared, context: TaskContext) -> None:
        """Queue an include, and put what it brings in behind it. Raises as the queue's `add`."""
        run, queue = self._run, self._run.queue
        steps = [step for step in prepared.steps if (step.result or {}).get("include") is not None]
        if not steps:
            queue.add(Queued(entry, prepared, context))
            return
        try:
            children = [] if entry.expanded else children_of(entry, prepared)
            found = inclusions(entry, prepared)
        except ConfigError as fault:
            step = Step(result=failure(fault.message, fault))
            failed = Prepared(entry.task, prepared.title, (step,), ignore_errors=prepared.ignore_errors)
            queue.add(Queued(entry, failed, context))
            return
        shown = [(Step(step.variables, step.label, result=step.result),) for step in steps]
        queued = [Queued(entry, Prepared(entry.task, prepared.title, one), context) for one in shown]
        queued[0].undo.append(self._bring_in(found))
        for one in queued:
            queue.add(one)
        options = run.state.shared.options
        chosen = [child for child in children if selected(child.task.tags, options.tags, options.skip_tags)]
        run.report.total += sum(counts(child) for child in chosen)
        run.agenda.put_first(chosen)

    def _bring_in(self, found: list[Included]) -> Callable[[], None]:
        """Add handlers and roles of included roles -> what takes that back, should the include not be reached."""
        tasks, scopes = self._run.handlers.tasks, self._run.scopes
        handlers, roles = [*tasks], scopes.roles
        for one in found:
            self._run.handlers.extend(one.handlers)
            scopes.add_roles(one.roles)

        def undo() -> None:
            tasks[:] = handlers
            scopes.roles = roles

        return undo
