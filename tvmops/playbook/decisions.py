"""What the board decides about a task by itself: whether it runs, and what its result is taken for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tvmops.playbook import local
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.model import Task
from tvmops.playbook.values import Condition, all_hold
from tvmops.playbook.variables import AWAITED, Scope

if TYPE_CHECKING:
    from tvmops.playbook.prepare import TaskContext
    from tvmops.playbook.prepared import Step

Conditions = tuple[Condition, ...]
Rows = list[list[Any]]  # [[expression, text], ...] for the agent


def whether(context: TaskContext, task: Task, scope: Scope, own: Scope | None) -> tuple[Condition | None, Rows]:
    """(the condition of `when` that is false, what the board has to decide).

    `own`: the scope in which the task's registered name is the result of the item before. Raises TemplateFault,
    Pending.
    """
    if own is not None:
        try:
            return _split(task.when, own, context.on_board | {str(task.register)})
        except Pending:
            pass  # it cannot be left to the board: the name is what it was before the task
    try:
        return all_hold(task.when, scope), []
    except Pending:
        if not context.on_board or not (_for_a_board(task) or _only_shown(task)):
            raise
    return _split(task.when, scope, context.on_board)


def reads_own(task: Task) -> bool:
    """True when the task's `when` reads the name that it registers itself."""
    if task.register is None or not task.when or not _for_a_board(task):
        return False
    from tvmops.playbook.residual import reads

    return any(reads(condition, task.register) for condition in task.when)


def on_the_board(
    context: TaskContext, task: Task, steps: list[Step], wanted: Mapping[str, Conditions]
) -> list[Step] | None:
    """The steps with the verdicts that the board is to reach on their results; None when it cannot reach them all.

    `wanted`: the conditions of changed_when, failed_when and until that are not settled already.
    """
    undecided = any(step.when for step in steps)
    if not (_for_a_board(task) or (undecided and _only_shown(task))):
        return None
    if len({step.target for step in steps if step.args is not None}) > 1:
        return None
    if not wanted:
        return steps
    if any(step.args is None and not (step.result or {}).get("skipped") for step in steps):
        return None
    try:
        return [
            one if one.args is None else replace(one, verdicts=_verdicts(context, task, one, wanted)) for one in steps
        ]
    except (Pending, TemplateFault):
        return None


def _verdicts(context: TaskContext, task: Task, step: Step, wanted: Mapping[str, Conditions]) -> dict[str, bool | Rows]:
    names, learned = context.on_board, {}
    if task.register is not None:
        names, learned = names | {task.register}, {task.register: AWAITED}
    scope = context.scope(task, step.variables, learned)
    verdicts: dict[str, bool | Rows] = {}
    for keyword, conditions in wanted.items():
        false, rows = _split(conditions, scope, names)
        if keyword == "until":
            verdicts[keyword] = rows if false is None else [[["lit", False], false.text]]
        else:
            verdicts[keyword] = rows or false is None
    return verdicts


def _split(conditions: Conditions, scope: Scope, names: frozenset[str]) -> tuple[Condition | None, Rows]:
    from tvmops.playbook.residual import residual_all

    left = residual_all(conditions, scope, names)
    return (left, []) if isinstance(left, Condition) else (None, left)


def _for_a_board(task: Task) -> bool:
    from tvmops.playbook.actions import ACTIONS

    return task.include is None and task.module not in local.MODULES and task.module not in ACTIONS


def _only_shown(task: Task) -> bool:
    """True for tasks whose result is known here: the board can say whether they run."""
    keywords = (task.until, task.retries, task.changed_when, task.failed_when)
    return task.module in ("debug", "fail") and not any(keywords)


def never(rows: Rows) -> bool:
    """True when the last of the conditions is known not to hold: the task will not run, one way or the other."""
    return bool(rows) and rows[-1][0] == ["lit", False]
