"""What a host's playbook comes to before the host has said anything: tasks worked out, or what they wait for.

Planning finds faults that are certain (an undefined variable, say) before any host is touched. What was worked out here
is not worked out again when it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.playbook import local
from tvmops.playbook.events import CENSORED, status_of
from tvmops.playbook.faults import Pending, TemplateFault, UndefinedFault
from tvmops.playbook.model import SETUP_NAME, Play, Task
from tvmops.playbook.prepare import Prepared, TaskContext, become_user, loop_variables, prepare_task
from tvmops.playbook.results import combine, judge, of_item
from tvmops.playbook.state import HostState, PlayScope
from tvmops.playbook.tags import selected
from tvmops.playbook.values import Constant
from tvmops.playbook.variables import Known, Layer

if TYPE_CHECKING:
    from tvmops.playbook.load import Loader

INCLUDE_DEPTH = 100


@dataclass
class Entry:
    """One task in its turn. `prepared` is None when it waits for something (`waits_for`).

    `order` is the number of the play's own task that it is or came from. `expanded`: an include whose tasks already
    follow it.
    """

    task: Task
    loader: Loader
    params: tuple[Layer, ...] = ()
    prepared: Prepared | None = None
    waits_for: str = ""
    order: int = 0
    expanded: bool = False


@dataclass
class PlayPlan:
    """One play for one host. `hosts` are the play's hosts on this run."""

    play: Play
    hosts: list[str]
    number: int = 0
    entries: list[Entry] = field(default_factory=list)


@dataclass
class HostPlan:
    """All plays of one host."""

    host: str
    plays: list[PlayPlan] = field(default_factory=list)
    problems: list[ConfigError] = field(default_factory=list)
    needs_root: bool = False

    @property
    def total(self) -> int:
        """How many tasks are in it."""
        return sum(len(play.entries) for play in self.plays)

    def as_dict(self) -> dict[str, Any]:
        """For plan.json."""
        return {"host": self.host, "plays": [_play_record(one) for one in self.plays]}


def setup_task(play: Play) -> Task:
    """The task that gathers facts at a play's start."""
    inherited = play.inherited
    return Task(
        id=0, module="setup", position=play.position, title=Constant(SETUP_NAME), args=Constant({}), folder=play.folder,
        inherited=inherited, when=inherited.when, tags=inherited.tags | {"always"}, become=inherited.become,
        become_user=inherited.become_user, environment=inherited.environment, no_log=inherited.no_log,
        ignore_errors=inherited.ignore_errors, facts_of_play=True,
    )  # fmt: skip


class Planner:
    """Plans one host's plays with a copy of its state."""

    def __init__(self, state: HostState) -> None:
        self.state = state.shadow()
        self.options = state.shared.options
        self.plan = HostPlan(state.host.name)
        # After an include that cannot be foreseen, an unknown name may be one that the include will set.
        self.blind = False
        self.stopped = False
        self._order = 0

    def play(self, play: Play, hosts: list[str], number: int) -> None:
        """Add a play; `number` is its place among all plays of the run."""
        planned = PlayPlan(play, hosts, number)
        self.plan.plays.append(planned)
        scopes = PlayScope(self.state, play, hosts)
        self._order = 0
        if play.gather_facts:
            self._task(planned, scopes, setup_task(play), (), 0)
        for order, task in enumerate(play.tasks, 1):
            self._order = order
            self._task(planned, scopes, task, (), 0)
        if any(task.become is not None for task in play.handlers):
            self.plan.needs_root = self.plan.needs_root or self._wants_root(play.handlers, scopes)

    def _wants_root(self, tasks: Sequence[Task], scopes: PlayScope) -> bool:
        for task in tasks:
            try:
                if become_user(task, scopes.of(task, {}, {})):
                    return True
            except (Pending, ConfigError):
                continue
        return False

    def _task(self, planned: PlayPlan, scopes: PlayScope, task: Task, params: tuple[Layer, ...], depth: int) -> None:
        if not selected(task.tags, self.options.tags, self.options.skip_tags):
            return
        entry = Entry(task, planned.play.loader, params, order=self._order)
        planned.entries.append(entry)
        if self.stopped:
            return
        # On a local host nothing that reads this machine's files is worked out ahead of its turn.
        settled = not self.state.local
        try:
            prepared = prepare_task(TaskContext(scopes, params, settled), task)
        except Pending as pending:
            entry.waits_for = pending.name
            self._forget(task)
            self.plan.needs_root = self.plan.needs_root or self._wants_root([task], scopes)
            return
        except ConfigError as fault:
            self._fault(entry, task, fault)
            return
        self.plan.needs_root = self.plan.needs_root or prepared.become_user is not None
        if task.include is not None:
            planned.entries.pop()
            self._include(planned, scopes, entry, prepared, depth)
            return
        entry.prepared = prepared
        self._learn(scopes, entry, prepared)

    def _fault(self, entry: Entry, task: Task, fault: ConfigError) -> None:
        entry.waits_for = "its turn: it will fail"
        certain = not (self.blind and isinstance(fault, UndefinedFault))
        forgiven = task.ignore_errors is not None or task.failed_when is not None
        if certain and not forgiven and isinstance(fault, TemplateFault):
            where = "" if fault.position else f"{task.position}: "
            self.plan.problems.append(ConfigError(f"{where}{fault.message}", fault.hint))
        self._forget(task)

    def _forget(self, task: Task, depth: int = 0) -> None:
        """From here on, what this task may set is not known."""
        names = [task.register] if task.register else []
        if task.module == "set_fact":
            args = task.args.value if isinstance(task.args, Constant) else dict(getattr(task.args, "items", ()))
            names += [str(key) for key in args]
            self.blind = self.blind or any("{{" in name for name in names)
        self.state.await_results(names)
        if task.module == "setup":
            self.state.facts.awaited = True
        if task.include is None:
            return
        loader = self.plan.plays[-1].play.loader
        children: tuple[Task, ...] | None = None
        if task.include.file.constant and depth < INCLUDE_DEPTH:
            name = str(task.include.file.loose({}))
            try:
                children = loader.included(name, task.folder, task.include.inherited, task.position)
            except (ConfigError, ConfigErrors):
                children = None
        self.blind = self.blind or children is None
        for child in children or ():
            self._forget(child, depth + 1)

    def _include(self, planned: PlayPlan, scopes: PlayScope, entry: Entry, prepared: Prepared, depth: int) -> None:
        """An include whose file is known: its tasks take its place (the include itself is counted, too)."""
        planned.entries.append(entry)
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
        for task, params in children:
            self._task(planned, scopes, task, params, depth + 1)

    def _learn(self, scopes: PlayScope, entry: Entry, prepared: Prepared) -> None:
        task = entry.task
        if prepared.remote:
            self.state.await_results([task.register] if task.register else [])
            self.state.facts.awaited = self.state.facts.awaited or task.module == "setup"
            return
        result = local_result(TaskContext(scopes, entry.params), prepared)
        if status_of(result, prepared.ignore_errors) == "failed":
            self.stopped = True
        if task.module in local.MODULES:
            self.state.results.values.update(facts_of(prepared))
        if task.register:
            self.state.results.values[task.register] = result


def facts_of(prepared: Prepared) -> dict[str, Any]:
    """What a set_fact task sets, all items together."""
    facts: dict[str, Any] = {}
    for step in prepared.steps:
        facts.update((step.result or {}).get("ansible_facts") or {})
    return facts


def local_result(context: TaskContext, prepared: Prepared) -> dict[str, Any]:
    """The result of a task in which the board has no part."""
    results = []
    for step in prepared.steps:
        judged = judge(context, prepared, step, dict(step.result or {}))
        results.append(of_item(step, judged) if prepared.looped else judged)
    return combine(prepared, results)


def children_of(entry: Entry, prepared: Prepared) -> list[tuple[Task, tuple[Layer, ...]]]:
    """The tasks that an include brings in, with the variables they see. Raises ConfigError."""
    include = entry.task.include
    assert include is not None
    children: list[tuple[Task, tuple[Layer, ...]]] = []
    for step in prepared.steps:
        name = (step.result or {}).get("include")
        if name is None:
            continue
        item: list[Layer] = [Known(loop_variables(step.item))] if prepared.looped else []
        tasks = entry.loader.included(name, entry.task.folder, include.inherited, entry.task.position)
        children.extend((task, (*item, *entry.params)) for task in tasks)
    return children


def _play_record(planned: PlayPlan) -> dict[str, Any]:
    return {
        "play": planned.play.name or str(planned.play.position),
        "position": str(planned.play.position),
        "tasks": [_entry_record(entry) for entry in planned.entries],
    }


def _entry_record(entry: Entry) -> dict[str, Any]:
    task, prepared = entry.task, entry.prepared
    record: dict[str, Any] = {"module": task.module, "position": str(task.position)}
    if prepared is None:
        return {
            "task": getattr(task.title, "text", None) or task.title.loose({}),
            **record,
            "waits_for": entry.waits_for,
        }
    record["task"] = prepared.title
    if prepared.no_log:
        return {**record, "args": CENSORED}
    steps = [{"args": step.args} if step.args is not None else {"result": step.result} for step in prepared.steps]
    return {**record, **({"items": steps} if prepared.looped else steps[0])}
