"""include_tasks and include_role at run time: the tasks they bring in, in their places."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.playbook.load_include import included_values
from tvmops.playbook.model import Included, Task
from tvmops.playbook.plan import Entry, renewed
from tvmops.playbook.prepared import Prepared
from tvmops.playbook.variables import Known, Layer

if TYPE_CHECKING:
    from tvmops.playbook.load import Loader


def children_of(entry: Entry, prepared: Prepared) -> list[Entry]:
    """The tasks that an include brings in, with the variables they see. Raises ConfigError."""
    children: list[Entry] = []
    for index, (found, params) in enumerate(_found(entry, prepared)):
        numbers: dict[int, int] = {}
        for task in found.tasks:
            trail = (*entry.trail, 1 + index, len(children))
            path = renewed(task, entry, numbers)
            children.append(
                Entry(task, entry.loader, params, trail=trail, path=path, parent=entry, handler=entry.handler)
            )
    return children


def inclusions(entry: Entry, prepared: Prepared) -> list[Included]:
    """What each item of an include brings in; its handlers see the item, too. Raises ConfigError."""
    return [
        replace(found, handlers=_with_params(found.handlers, params, entry.loader))
        for found, params in _found(entry, prepared)
    ]


def _with_params(handlers: tuple[Task, ...], params: tuple[Layer, ...], loader: Loader) -> tuple[Task, ...]:
    groups: dict[int, int] = {}
    return tuple(
        replace(
            handler,
            id=loader.next_id(),
            group=groups.setdefault(handler.group, loader.next_id()),
            inherited=replace(handler.inherited, params=(*params, *handler.inherited.params)),
        )
        for handler in handlers
    )


def _found(entry: Entry, prepared: Prepared) -> list[tuple[Included, tuple[Layer, ...]]]:
    found = []
    for step in prepared.steps:
        result = step.result or {}
        if result.get("include") is None:
            continue
        item: list[Layer] = [Known(step.variables)] if prepared.looped else []
        found.append((entry.loader.included(entry.task, result), (*item, *entry.params)))
    return found


def foreseen(entry: Entry) -> tuple[Task, ...] | None:
    """The tasks of an include whose names are fixed; None when they are known only at run time."""
    include = entry.task.include
    assert include is not None
    values = [include.file, *(value for _, value in include.from_files), *([include.role] if include.role else [])]
    if not all(value.constant for value in values):
        return None
    try:
        return entry.loader.included(entry.task, included_values(include, {})).tasks
    except (ConfigError, ConfigErrors):
        return None
