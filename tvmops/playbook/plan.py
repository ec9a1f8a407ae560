"""What a host's playbook comes to before the host has said anything: tasks worked out, or what they wait for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tvmops.errors import ConfigError
from tvmops.playbook.events import CENSORED
from tvmops.playbook.fields import merged
from tvmops.playbook.model import Play, Section, Task
from tvmops.playbook.prepare import TaskContext
from tvmops.playbook.prepared import Prepared
from tvmops.playbook.progress import Place
from tvmops.playbook.results import combine, judge, of_item
from tvmops.playbook.values import Constant
from tvmops.playbook.variables import Layer

if TYPE_CHECKING:
    from tvmops.playbook.explain import Batches
    from tvmops.playbook.load import Loader

# Blocks of a file that is included twice are not the same blocks. Loaders count upwards from 1.
_block_numbers = itertools.count(-1, -1)


@dataclass(eq=False)
class Entry:
    """One task in its turn. `prepared` is None when it waits for something (`waits_for`).

    `trail` says where it stands among its host's entries: the number of the play's own task, then one number for every
    include around it. `path`: the blocks around it. `parent`: the include that brought it in. `expanded`: an include
    whose tasks already follow it. `handler`: it runs because it was notified; `candidate`: only if it is notified.
    """

    task: Task
    loader: Loader
    params: tuple[Layer, ...] = ()
    prepared: Prepared | None = None
    waits_for: str = ""
    trail: Place = ()
    path: tuple[Section, ...] = ()
    parent: Entry | None = None
    expanded: bool = False
    handler: bool = False
    candidate: bool = False

    def comes_from(self, other: Entry) -> bool:
        """True when `other` is an include around it."""
        parent = self.parent
        while parent is not None:
            if parent is other:
                return True
            parent = parent.parent
        return False


@dataclass
class PlayPlan:
    """One play for one host. `hosts` are the play's hosts on this run, `batch` those of the host's serial batch."""

    play: Play
    hosts: list[str]
    number: int = 0
    batch_number: int = 0
    batch: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


@dataclass
class HostPlan:
    """All plays of one host."""

    host: str
    plays: list[PlayPlan] = field(default_factory=list)
    problems: list[ConfigError] = field(default_factory=list)
    needs_root: bool = False
    foreseen: list[Batches] = field(default_factory=list)  # with --explain

    @property
    def total(self) -> int:
        """How many tasks are in it, without those of `rescue`, which are the exception."""
        return sum(counts(entry) for play in self.plays for entry in play.entries)

    def as_dict(self) -> dict[str, Any]:
        """For plan.json."""
        return {"host": self.host, "plays": [_play_record(one) for one in self.plays]}


def counts(entry: Entry) -> bool:
    """True for tasks that a run is expected to come to and to report."""
    return entry.task.module != "meta" and all(section.kind != "rescue" for section in entry.path)


def renewed(task: Task, include: Entry, numbers: dict[int, int]) -> tuple[Section, ...]:
    """The blocks around a task of an include: those around the include, and its own with numbers of this inclusion."""
    assert include.task.include is not None
    own = task.path[len(include.task.include.inherited.path) :]
    fresh = tuple(replace(section, block=numbers.setdefault(section.block, next(_block_numbers))) for section in own)
    return include.path + fresh


def facts_of(prepared: Prepared) -> dict[str, Any]:
    """What a set_fact task sets, all items together."""
    return merged(*((step.result or {}).get("ansible_facts") or {} for step in prepared.steps))


def local_result(context: TaskContext, prepared: Prepared) -> dict[str, Any]:
    """The result of a task in which the board has no part."""
    results = []
    for step in prepared.steps:
        judged = judge(context, prepared, step, dict(step.result or {}))
        results.append(of_item(step, judged) if prepared.looped else judged)
    return combine(prepared, results)


def names_set_by(task: Task) -> list[str]:
    """Variables that the task may set, as far as their names are known."""
    names = [task.register] if task.register else []
    if task.module == "set_fact":
        args: Any = task.args.value if isinstance(task.args, Constant) else dict(getattr(task.args, "items", ()))
        names += [str(key) for key in args]
    return names


def _play_record(planned: PlayPlan) -> dict[str, Any]:
    record: dict[str, Any] = {
        "play": planned.play.name or str(planned.play.position),
        "position": str(planned.play.position),
        "tasks": [_entry_record(entry) for entry in planned.entries if entry.task.module != "meta"],
    }
    if len(planned.batch) < len(planned.hosts):
        record["batch"] = planned.batch_number
    return record


def _entry_record(entry: Entry) -> dict[str, Any]:
    task, prepared = entry.task, entry.prepared
    record: dict[str, Any] = {"module": task.module, "position": str(task.position)}
    kinds = [section.kind for section in entry.path if section.kind != "tasks"]
    if kinds:
        record["part"] = kinds[-1]
    if prepared is None:
        return {"task": title_of(task), **record, "waits_for": entry.waits_for}
    record["task"] = prepared.title
    if prepared.no_log:
        return {**record, "args": CENSORED}
    steps = [{"args": step.args} if step.args is not None else {"result": step.result} for step in prepared.steps]
    return {**record, **({"items": steps} if prepared.looped else steps[0] if steps else {})}


def title_of(task: Task) -> str:
    """A task's title as it was written."""
    return str(getattr(task.title, "text", None) or task.title.loose({}))


def taken(hosts: Sequence[str], sizes: Sequence[int]) -> list[list[str]]:
    """Hosts in groups of these sizes; the last size goes on to the end, and 0 means all that are left."""
    groups: list[list[str]] = []
    left = list(hosts)
    while left:
        size = sizes[min(len(groups), len(sizes) - 1)] if sizes else 0
        size = size if size > 0 else len(left)
        groups.append(left[:size])
        left = left[size:]
    return groups
