"""Plans a host's plays with what is known before the host has said anything.

Planning finds faults that are certain (an undefined variable, say) before any host is touched. What was worked out here
is not worked out again when it runs: a value counts as known only where nothing that happens on the way can change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.playbook import local
from tvmops.playbook.conduct import become_user, delegate_of, flag
from tvmops.playbook.events import status_of
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.including import children_of, foreseen, inclusions
from tvmops.playbook.model import SETUP_NAME, Play, Section, Task
from tvmops.playbook.plan import Entry, HostPlan, PlayPlan, facts_of, local_result, names_set_by
from tvmops.playbook.prepare import TaskContext, prepare_task
from tvmops.playbook.prepared import Prepared
from tvmops.playbook.sending import SENDERS
from tvmops.playbook.state import HostState, PlayScope
from tvmops.playbook.tags import selected
from tvmops.playbook.values import Constant, all_hold
from tvmops.playbook.variables import AWAITED, FACT_MODULES

if TYPE_CHECKING:
    from tvmops.playbook.explain import Foreseen

INCLUDE_DEPTH = 100
FAILED_NAMES = ["ansible_failed_task", "ansible_failed_result"]
# Tasks after which groups and variables may be others.
CHANGING = frozenset(("add_host", "group_by"))


def setup_task(play: Play) -> Task:
    """The task that gathers facts at a play's start."""
    inherited = play.inherited
    return Task(
        id=0, module="setup", position=play.position, title=Constant(SETUP_NAME), args=Constant({}), folder=play.folder,
        inherited=inherited, when=inherited.when, tags=inherited.tags | {"always"}, become=inherited.become,
        become_user=inherited.become_user, become_method=inherited.become_method, environment=inherited.environment,
        no_log=inherited.no_log, ignore_errors=inherited.ignore_errors, timeout=inherited.timeout,
        ignore_unreachable=inherited.ignore_unreachable, facts_of_play=True,
    )  # fmt: skip


def _foreseen(state: HostState) -> Foreseen:
    from tvmops.playbook.explain import Foreseen

    return Foreseen(state)


class Planner:
    """Plans one host's plays with a copy of its state."""

    def __init__(self, state: HostState) -> None:
        self.state = state.shadow()
        self.options = state.shared.options
        self.plan = HostPlan(state.host.name)
        self._foreseen = _foreseen(self.state) if self.options.explain else None
        # After something that cannot be foreseen, an unknown name may be one that it will set.
        self.blind = False
        # Nothing is worked out any more: what comes next may never run.
        self.stopped = False
        self._files_settled = not self.state.local
        # The module that may have changed the inventory by now.
        self._changed_by = ""
        # Tasks of block parts that may be broken off, until the part is left.
        self._tentative: dict[int, list[Task]] = {}
        self._roles_used: dict[str, object] = {}

    def play(self, planned: PlayPlan) -> None:
        """Add a play with its entries still to be made."""
        play = planned.play
        first = self.state.shared.first_task
        if first is not None and planned.number < first[0]:
            return
        self.plan.plays.append(planned)
        scopes = PlayScope(self.state, play, planned.hosts, planned.batch)
        if len(planned.hosts) > 1:
            scopes.hosts_left(AWAITED, AWAITED)
        self._tentative = {}
        self._roles_used = {}
        if self._foreseen:
            self._foreseen.begin(planned)
        if play.gather_facts:
            self._task(planned, scopes, Entry(setup_task(play), play.loader, trail=(0,)), 0)
        for order, task in enumerate(play.tasks, 1):
            if first is not None and (planned.number, order) < first:
                continue
            self._task(planned, scopes, Entry(task, play.loader, trail=(order,), path=task.path), 0)
        self._leave_parts(())
        if self._foreseen:
            self._foreseen.end()
            self.plan.foreseen = self._foreseen.plays
        if any(task.become is not None for task in play.handlers):
            self.plan.needs_root = self.plan.needs_root or self._wants_root(play.handlers, scopes)

    def _wants_root(self, tasks: Sequence[Task], scopes: PlayScope) -> bool:
        for task in tasks:
            try:
                scope = scopes.of(task, {}, {})
                target = delegate_of(task, scope, self.state)
                if target is None and become_user(task, scope, scope):
                    return True
            except (Pending, ConfigError):
                continue
        return False

    def _task(self, planned: PlayPlan, scopes: PlayScope, entry: Entry, depth: int) -> None:
        task = entry.task
        if not selected(task.tags, self.options.tags, self.options.skip_tags):
            return
        self._leave_parts(entry.path)
        self._enter_parts(entry.path, task)
        planned.entries.append(entry)
        if self.stopped:
            entry.waits_for = "its turn: it may never come"
            return
        reason = self._uncertain(planned, scopes, entry)
        if reason:
            entry.waits_for = reason
            if self._foreseen and task.module != "meta" and not any(one.kind == "rescue" for one in entry.path):
                self._foreseen.waits(entry, None, reason)
            self._forget(entry)
            self._note_root(task, scopes)
            return
        if task.module == "meta":
            self._meta(scopes, entry)
            return
        self._work_out(planned, scopes, entry, depth)

    def _work_out(self, planned: PlayPlan, scopes: PlayScope, entry: Entry, depth: int) -> None:
        """Prepare a task that may be prepared ahead, and learn from it what later ones need."""
        task, context = entry.task, TaskContext(scopes, entry.params, self._files_settled)
        try:
            prepared = prepare_task(context, task)
        except Pending as pending:
            entry.waits_for = pending.name
            if self._foreseen:
                self._foreseen.waits(entry, context, pending.name)
            self._forget(entry)
            self._note_root(task, scopes)
            return
        except ConfigError as fault:
            self._fault(entry, task, fault)
            return
        if prepared.target is None and prepared.conduct.become_user is not None:
            self.plan.needs_root = True
        if self._foreseen:
            self._foreseen.ready(entry, prepared, context)
        if self.blind:
            # What could be worked out may come out differently once everything before it has been done.
            entry.waits_for = "its turn: variables may be set before that"
            self._forget(entry)
            return
        if task.include is not None:
            self._include(planned, scopes, entry, prepared, depth)
            return
        entry.prepared = prepared
        self._learn(scopes, entry, prepared)

    def _note_root(self, task: Task, scopes: PlayScope) -> None:
        self.plan.needs_root = self.plan.needs_root or self._wants_root([task], scopes)

    def _uncertain(self, planned: PlayPlan, scopes: PlayScope, entry: Entry) -> str:
        """Why a task cannot be worked out ahead whatever is known; empty when it can."""
        task = entry.task
        if any(section.kind == "rescue" for section in entry.path):
            return "a failure in its block"
        if task.module in CHANGING:
            self._changed_by = task.module
            return "its turn"
        if self._changed_by:
            return f"its turn: {self._changed_by} changes the inventory"
        if task.run_once is not None and len(planned.batch) > 1:
            try:
                once = flag(task.run_once, scopes.of(task, {}, {}, entry.params))
            except (Pending, ConfigError):
                once = True
            if once:
                return "the other hosts: run_once"
        if task.delegate_to is not None and task.delegate_facts is not None and len(planned.batch) > 1:
            return "the other hosts: delegate_facts"
        role = task.role
        if role is not None and role.once and self._roles_used.setdefault(role.same, role) is not role:
            return "its turn: the role may have run already"
        return ""

    def _leave_parts(self, path: tuple[Section, ...]) -> None:
        """What a part of a block that may have been broken off has set is not known after it."""
        inside = {section.block for section in path if section.kind == "tasks"}
        for block in [one for one in self._tentative if one not in inside]:
            for task in self._tentative.pop(block):
                self.state.await_results(names_set_by(task))
                self._unsettle(task)
            self.state.await_results(FAILED_NAMES)

    def _enter_parts(self, path: tuple[Section, ...], task: Task) -> None:
        for section in path:
            if section.kind == "tasks" and (section.rescue or section.always):
                self._tentative.setdefault(section.block, []).append(task)

    def _meta(self, scopes: PlayScope, entry: Entry) -> None:
        """After what ends a play or a role, the rest may or may not run."""
        task = entry.task
        action = str(task.args.loose({}).get("_raw_params")) if task.args.constant else ""
        if action == "flush_handlers" and self._foreseen:
            self._foreseen.flushes_handlers(entry)
        if action == "clear_facts":
            self.state.facts.awaited = True
        if action == "refresh_inventory":
            self._changed_by = action
        if action == "flush_handlers":
            for handler in scopes.play.handlers:
                self._forget(Entry(handler, entry.loader))
        if not action.startswith("end_"):
            return
        try:
            if all_hold(task.when, scopes.of(task, {}, {}, entry.params)) is not None:
                return
        except (Pending, ConfigError):
            entry.waits_for = "its condition"
        self.stopped = True

    def _fault(self, entry: Entry, task: Task, fault: ConfigError) -> None:
        entry.waits_for = "its turn: it will fail"
        certain = not self.blind
        if certain and not _forgiven(entry) and isinstance(fault, TemplateFault):
            where = "" if fault.position else f"{task.position}: "
            self.plan.problems.append(ConfigError(f"{where}{fault.message}", fault.hint))
        self._forget(entry)

    def _forget(self, entry: Entry, depth: int = 0) -> None:
        """From here on, what this task may set is not known."""
        task = entry.task
        names = names_set_by(task)
        self.blind = self.blind or any("{{" in name for name in names) or task.module == "include_vars"
        self.state.await_results(names)
        self._unsettle(task)
        if task.include is None:
            return
        children = foreseen(entry) if depth < INCLUDE_DEPTH else None
        # The variables of an included role may become those of the play.
        self.blind = self.blind or children is None or task.include.role is not None
        for child in children or ():
            self._forget(Entry(child, entry.loader), depth + 1)

    def _unsettle(self, task: Task) -> None:
        if task.module in FACT_MODULES:
            self.state.facts.awaited = True
        if task.delegate_to is not None or task.module == "fetch":
            self._files_settled = False

    def _include(self, planned: PlayPlan, scopes: PlayScope, entry: Entry, prepared: Prepared, depth: int) -> None:
        """An include whose file is known: its tasks take its place (the include itself is counted, too)."""
        entry.prepared = prepared
        if depth > INCLUDE_DEPTH:
            entry.prepared, entry.waits_for = None, "its turn: it includes itself without end"
            return
        try:
            children = children_of(entry, prepared)
        except ConfigError as fault:
            entry.prepared, entry.waits_for = None, "its turn: it will fail"
            self.plan.problems.extend(fault.errors if isinstance(fault, ConfigErrors) else [fault])
            return
        entry.expanded = True
        for found in inclusions(entry, prepared):
            scopes.add_roles(found.roles)
        for child in children:
            self._task(planned, scopes, child, depth + 1)

    def _learn(self, scopes: PlayScope, entry: Entry, prepared: Prepared) -> None:
        task = entry.task
        if task.module not in FACT_MODULES:
            self._unsettle(task)
        if prepared.remote:
            self.state.await_results([task.register] if task.register else [])
            self.state.facts.awaited = self.state.facts.awaited or task.module in FACT_MODULES
            return
        if prepared.conduct.retries is not None:
            self._forget(entry)
            return
        result = local_result(TaskContext(scopes, entry.params), prepared)
        if status_of(result, prepared.ignore_errors) == "failed":
            self.stopped = not any(section.kind == "tasks" for section in entry.path)
            if task.module in SENDERS and not _forgiven(entry):
                self.plan.problems.extend(_missing_files(task, prepared))
        if task.module in local.MODULES and not prepared.gives_facts_to:
            self.state.remember(task, facts_of(prepared))
        if task.register:
            self.state.results.values[task.register] = result


def _forgiven(entry: Entry) -> bool:
    """Whether a failure of the task may be meant to happen."""
    task = entry.task
    if task.ignore_errors is not None or task.failed_when is not None:
        return True
    return any(section.kind == "tasks" and section.rescue for section in entry.path)


def _missing_files(task: Task, prepared: Prepared) -> list[ConfigError]:
    """The complaints of a task that sends files which cannot be sent."""
    failed = [step.result for step in prepared.steps if step.result and step.result.get("failed")]
    return [ConfigError(f"{task.position}: {one['msg']}", str(one.get("hint", ""))) for one in failed]
