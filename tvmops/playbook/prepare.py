"""One task on one host, worked out as far as it can be before the board has a say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.playbook import local
from tvmops.playbook.conduct import Conduct, conduct_of, delegate_of, flag
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.load_include import included_values
from tvmops.playbook.loops import items_of, label_of, loop_variables
from tvmops.playbook.model import Task
from tvmops.playbook.role_scope import search_folders
from tvmops.playbook.sending import SENDERS
from tvmops.playbook.state import PlayScope
from tvmops.playbook.undefined import OMIT
from tvmops.playbook.values import Condition, Value, all_hold, final
from tvmops.playbook.variables import Known, Layer, Scope


@dataclass(frozen=True)
class Step:
    """A task, or one item of its loop: `args` for the board, or the `result` that is known already.

    `variables` are what the loop gives this item; `target` is the host that the task is delegated to.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    label: str | None = None
    args: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    target: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A task with everything worked out. `looped` tells one step of a loop from a plain task."""

    task: Task
    title: str
    steps: tuple[Step, ...]
    looped: bool = False
    conduct: Conduct = field(default_factory=Conduct)
    changed_when: bool | None = None
    failed_when: bool | None = None
    decides_changed: bool = False
    decides_failed: bool = False
    ignore_errors: bool = False
    no_log: bool = False
    notify: tuple[str, ...] = ()

    @property
    def remote(self) -> bool:
        """True when the board has something to do."""
        return any(step.args is not None for step in self.steps)

    @property
    def target(self) -> str | None:
        """The host that all of the task is delegated to, or None."""
        return self.steps[0].target if self.steps else None


def failure(message: str, fault: ConfigError | None = None) -> dict[str, Any]:
    """A failed result; the hint of `fault` goes with it."""
    result: dict[str, Any] = {"failed": True, "changed": False, "msg": message}
    if fault is not None and fault.hint:
        result["hint"] = fault.hint
    return result


class TaskContext:
    """What preparing needs to know around a task: the play's scopes, and the includes the task came through.

    `files_settled`: no earlier task can still change the files of this machine that this one sends.
    """

    def __init__(self, scopes: PlayScope, params: tuple[Layer, ...] = (), files_settled: bool = True) -> None:
        self.scopes = scopes
        self.params = params
        self.files_settled = files_settled

    def scope(self, task: Task, item: dict[str, Any], learned: dict[str, Any]) -> Scope:
        """The task's scope for one item."""
        return self.scopes.of(task, {"_reading_files": self.reading_files, **item}, learned, self.params)

    def search(self, task: Task) -> list[str | Path]:
        """Where files of the task are looked for."""
        return [*search_folders(task, self.scopes.play)]

    def reading_files(self) -> None:
        """Say that a file of this machine is about to be read. Raises Pending when it may yet change."""
        self.scopes.state.reads_files = True
        if not self.files_settled:
            raise Pending("files on this machine")


def prepare_task(context: TaskContext, task: Task) -> Prepared:
    """Work a task out. Raises Pending when it needs what the board has yet to say; TemplateFault, ConfigError."""
    scope = context.scope(task, {}, {})
    no_log = flag(task.no_log, scope)
    title = str(_or(task.title, scope, "(a name that cannot be worked out)"))
    steps = [step_of(context, task, scope, {}, None)] if task.loop is None else _loop_steps(context, task, scope)
    changed, decides_changed = _verdict(context, task, task.changed_when)
    failed, decides_failed = _verdict(context, task, task.failed_when)
    remote = any(step.args is not None for step in steps)
    return Prepared(
        task, title, tuple(steps), task.loop is not None, no_log=no_log,
        changed_when=changed, decides_changed=decides_changed, failed_when=failed, decides_failed=decides_failed,
        ignore_errors=flag(task.ignore_errors, scope), notify=_notify(task, scope),
        conduct=conduct_of(task, scope, context.scopes.state, steps[0].target if steps else None, remote=remote),
    )  # fmt: skip


def _or(value: Value, scope: Scope, instead: Any) -> Any:
    if value.constant:
        return value.loose(scope)
    try:
        return final(value, scope)
    except (TemplateFault, Pending):
        return getattr(value, "text", instead)


def _loop_steps(context: TaskContext, task: Task, scope: Scope) -> list[Step]:
    try:
        items = items_of(task, scope)
    except TemplateFault:
        # As in Ansible, a task that is skipped anyway may have a loop that cannot be worked out.
        false = all_hold(task.when, scope)
        if false is None:
            raise
        return [Step(result=skipped(false))]
    learned: dict[str, Any] = {}
    steps = []
    for index in range(len(items)):
        variables = loop_variables(task, items, index)
        inner = context.scope(task, variables, learned)
        steps.append(step_of(context, task, inner, variables, label_of(task, variables, inner), learned))
    return steps


def skipped(condition: Condition) -> dict[str, Any]:
    """The result of a task whose condition does not hold."""
    return {
        "changed": False,
        "skipped": True,
        "skip_reason": "Conditional result was False",
        "false_condition": condition.fixed if condition.compiled is None else condition.text,
    }


def step_of(  # noqa: PLR0917
    context: TaskContext,
    task: Task,
    scope: Scope,
    variables: dict[str, Any],
    label: str | None,
    learned: dict[str, Any] | None = None,
) -> Step:
    """One item of a loop, or the whole task. `learned`: what its items set, for those after them."""
    false = all_hold(task.when, scope)
    if false is not None:
        return Step(variables, label, result=skipped(false))
    if task.include is not None:
        return Step(variables, label, result={"changed": False, **included_values(task.include, scope)})
    target = delegate_of(task, scope, context.scopes.state)
    args = final(task.args, scope)
    if not task.args.constant and isinstance(args, dict):
        args = {key: value for key, value in args.items() if value is not OMIT}
    if task.module in local.MODULES:
        result = local.run_local(task, args, scope)
        if learned is not None:
            learned.update(result.get("ansible_facts") or {})
        return Step(variables, label, result=result, target=target)
    send: Callable[..., dict[str, Any]] | None = SENDERS.get(task.module)
    if send is not None:
        try:
            args = send(args, scope, context.scopes.state.shared.blobs, context.search(task), context.reading_files)
        except TemplateFault:
            raise
        except ConfigError as error:
            context.reading_files()
            return Step(variables, label, result=failure(error.message, error))
    return Step(variables, label, args=args, target=target)


def _verdict(context: TaskContext, task: Task, conditions: tuple[Condition, ...] | None) -> tuple[bool | None, bool]:
    """(the verdict when it is the same whatever the result, whether the result decides)."""
    if not conditions:
        return None, False
    if all(condition.compiled is None for condition in conditions):
        return all(condition.fixed for condition in conditions), False
    # `item` and the registered name are the result's own: anything else is known now or needs the result.
    if task.loop is not None or task.register is not None:
        return None, True
    try:
        return all_hold(conditions, context.scope(task, {}, {})) is None, False
    except (Pending, TemplateFault):
        return None, True


def _notify(task: Task, scope: Scope) -> tuple[str, ...]:
    if task.notify is None:
        return ()
    names = final(task.notify, scope)
    return tuple(str(one) for name in names for one in (name if isinstance(name, list) else [name]))


def again(context: TaskContext, task: Task, step: Step, learned: dict[str, Any]) -> Step:
    """The same step worked out once more, for an attempt after the first. Raises as prepare_task."""
    inner = context.scope(task, step.variables, learned)
    return step_of(context, task, inner.over(Known(learned)) if learned else inner, step.variables, step.label)
