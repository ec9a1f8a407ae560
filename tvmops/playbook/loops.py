"""Loops: their items, what a task sees of them, how items are shown."""

from __future__ import annotations

from typing import Any

from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.model import Task
from tvmops.playbook.values import final
from tvmops.playbook.variables import Known, Scope


def items_of(task: Task, scope: Scope) -> list[Any]:
    """The loop's items. Raises TemplateFault when they are not a list."""
    assert task.loop is not None
    items = final(task.loop, scope, task.loop_position)
    if task.flatten_loop:
        outer = items if isinstance(items, list) else [items]
        return [one for item in outer for one in (item if isinstance(item, list) else [item])]
    if not isinstance(items, list):
        kind = "a dictionary" if isinstance(items, dict) else f"'{items}'"
        hint = "use the filter dict2items" if isinstance(items, dict) else "write a list, or a template that gives one"
        raise TemplateFault(task.loop_position, f"'loop' wants a list, not {kind}", hint)
    return items


def loop_variables(task: Task, items: list[Any], index: int) -> dict[str, Any]:
    """What the item at `index` gives its task, and its result."""
    control = task.loop_control
    variables: dict[str, Any] = {control.loop_var: items[index], "ansible_loop_var": control.loop_var}
    if control.index_var:
        variables.update({control.index_var: index, "ansible_index_var": control.index_var})
    if control.extended:
        variables["ansible_loop"] = _around(items, index, everything=control.extended_allitems)
    return variables


def _around(items: list[Any], index: int, *, everything: bool) -> dict[str, Any]:
    length = len(items)
    around: dict[str, Any] = {
        "index": index + 1, "index0": index, "first": index == 0, "last": index + 1 == length, "length": length,
        "revindex": length - index, "revindex0": length - index - 1,
    }  # fmt: skip
    if everything:
        around["allitems"] = items
    if index + 1 < length:
        around["nextitem"] = items[index + 1]
    if index:
        around["previtem"] = items[index - 1]
    return around


def label_of(task: Task, variables: dict[str, Any], scope: Scope) -> str:
    """How an item is shown."""
    label: Any = variables[task.loop_control.loop_var]
    if task.loop_control.label is not None:
        try:
            label = final(task.loop_control.label, scope.over(Known(variables)))
        except (Pending, TemplateFault):
            label = getattr(task.loop_control.label, "text", label)
    return label if isinstance(label, str) else repr(label) if isinstance(label, (dict, list)) else str(label)
