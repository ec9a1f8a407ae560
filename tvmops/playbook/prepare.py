"""One task on one host, worked out as far as it can be before the board has a say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.playbook import local
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.filters_data import TRUE_WORDS
from tvmops.playbook.model import Task
from tvmops.playbook.sending import SENDERS
from tvmops.playbook.state import PlayScope
from tvmops.playbook.undefined import OMIT
from tvmops.playbook.values import Condition, Value, all_hold, final
from tvmops.playbook.variables import Layer, Scope


@dataclass(frozen=True)
class Step:
    """A task, or one item of its loop: `args` for the board, or the `result` that is known already."""

    item: Any = None
    label: str | None = None
    args: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


@dataclass(frozen=True)
class Prepared:
    """A task with everything worked out. `looped` tells one step of a loop from a plain task."""

    task: Task
    title: str
    steps: tuple[Step, ...]
    looped: bool = False
    become_user: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
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


def failure(message: str, fault: ConfigError | None = None) -> dict[str, Any]:
    """A failed result; the hint of `fault` goes with it."""
    result: dict[str, Any] = {"failed": True, "changed": False, "msg": message}
    if fault is not None and fault.hint:
        result["hint"] = fault.hint
    return result


class TaskContext:
    """What preparing needs to know around a task: the play's scopes, and the includes the task came through."""

    def __init__(self, scopes: PlayScope, params: tuple[Layer, ...] = (), files_settled: bool = True) -> None:
        self.scopes = scopes
        self.params = params
        # On a local host earlier tasks may still change the files that this one sends.
        self.files_settled = files_settled or not scopes.state.local

    def scope(self, task: Task, item: dict[str, Any], learned: dict[str, Any]) -> Scope:
        """The task's scope for one item."""
        return self.scopes.of(task, {"_reading_files": self.reading_files, **item}, learned, self.params)

    def search(self, task: Task) -> list[str | Path]:
        """Where files of the task are looked for."""
        return [task.folder, self.scopes.play.basedir]

    def reading_files(self) -> None:
        """Say that a file of this machine is about to be read. Raises Pending when it may yet change."""
        self.scopes.state.reads_files = True
        if not self.files_settled:
            raise Pending("files on this machine")


def prepare_task(context: TaskContext, task: Task) -> Prepared:
    """Work a task out. Raises Pending when it needs what the board has yet to say; TemplateFault, ConfigError."""
    scope = context.scope(task, {}, {})
    no_log = _flag(task.no_log, scope)
    title = str(_or(task.title, scope, "(a name that cannot be worked out)"))
    if task.loop is None:
        steps = [_step(context, task, scope, None, {}, looped=False)]
    else:
        steps = _loop_steps(context, task, scope)
    changed, decides_changed = _verdict(context, task, task.changed_when)
    failed, decides_failed = _verdict(context, task, task.failed_when)
    return Prepared(
        task, title, tuple(steps), task.loop is not None, no_log=no_log,
        changed_when=changed, decides_changed=decides_changed, failed_when=failed, decides_failed=decides_failed,
        ignore_errors=_flag(task.ignore_errors, scope), notify=_notify(task, scope),
        become_user=become_user(task, scope) if any(step.args is not None for step in steps) else None,
        environment=_environment(task, scope) if any(step.args is not None for step in steps) else {},
    )  # fmt: skip


def _or(value: Value, scope: Scope, instead: Any) -> Any:
    if value.constant:
        return value.loose(scope)
    try:
        return final(value, scope)
    except (TemplateFault, Pending):
        return getattr(value, "text", instead)


def _flag(value: Value | None, scope: Scope) -> bool:
    if value is None:
        return False
    result = final(value, scope)
    return result if isinstance(result, bool) else str(result).lower() in TRUE_WORDS


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


def label_of(item: Any) -> str:
    """How an item is shown."""
    return item if isinstance(item, str) else repr(item) if isinstance(item, (dict, list)) else str(item)


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
    return [
        _step(context, task, context.scope(task, loop_variables(item), learned), item, learned, looped=True)
        for item in items
    ]


def loop_variables(item: Any) -> dict[str, Any]:
    """What a loop gives its task."""
    return {"item": item, "ansible_loop_var": "item"}


def skipped(condition: Condition) -> dict[str, Any]:
    """The result of a task whose condition does not hold."""
    return {
        "changed": False,
        "skipped": True,
        "skip_reason": "Conditional result was False",
        "false_condition": condition.fixed if condition.compiled is None else condition.text,
    }


def _step(context: TaskContext, task: Task, scope: Scope, item: Any, learned: dict[str, Any], *, looped: bool) -> Step:
    label = label_of(item) if looped else None
    false = all_hold(task.when, scope)
    if false is not None:
        return Step(item, label, result=skipped(false))
    if task.include is not None:
        file = str(final(task.include.file, scope))
        return Step(item, label, result={"changed": False, "include": file})
    args = final(task.args, scope)
    if not task.args.constant and isinstance(args, dict):
        args = {key: value for key, value in args.items() if value is not OMIT}
    if task.module in local.MODULES:
        result = local.run_local(task, args, scope)
        learned.update(result.get("ansible_facts") or {})
        return Step(item, label, result=result)
    send: Callable[..., dict[str, Any]] | None = SENDERS.get(task.module)
    if send is not None:
        try:
            args = send(args, scope, context.scopes.state.shared.blobs, context.search(task), context.reading_files)
        except TemplateFault:
            raise
        except ConfigError as error:
            context.reading_files()
            return Step(item, label, result=failure(error.message, error))
    return Step(item, label, args=args)


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


def become_user(task: Task, scope: Scope) -> str | None:
    """The user that the task wants to become, or None for the login user. Raises TemplateFault, Pending."""
    wanted = scope.get("ansible_become")
    become = _flag(task.become, scope) if wanted is None else str(wanted).lower() in TRUE_WORDS
    if not become:
        return None
    user = scope.get("ansible_become_user")
    if user is None and task.become_user is not None:
        user = final(task.become_user, scope)
    return str(user or "root")


def _environment(task: Task, scope: Scope) -> dict[str, str]:
    merged: dict[str, str] = {}
    for part in task.environment:
        values = final(part, scope)
        if not isinstance(values, dict):
            raise TemplateFault(getattr(part, "position", task.position), "'environment' wants a mapping")
        merged.update({str(key): str(value) for key, value in values.items()})
    return merged
