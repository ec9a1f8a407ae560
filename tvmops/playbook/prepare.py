"""One task on one host, worked out as far as it can be before the board has a say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.playbook import local
from tvmops.playbook.conduct import conduct_of, delegate_of, flag
from tvmops.playbook.decisions import never, on_the_board, reads_own, whether
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.load_include import included_values
from tvmops.playbook.loops import items_of, label_of, loop_variables
from tvmops.playbook.model import Task
from tvmops.playbook.prepared import Prepared, Step, failure, skipped, unchanged_by_json
from tvmops.playbook.residual_names import names_in
from tvmops.playbook.role_scope import search_folders
from tvmops.playbook.sending import SENDERS
from tvmops.playbook.state import PlayScope
from tvmops.playbook.unforeseen import arguments, guessed
from tvmops.playbook.values import Condition, Value, all_hold, final
from tvmops.playbook.variables import AWAITED, Known, Layer, Scope


class TaskContext:
    """What preparing needs to know around a task: the play's scopes, and the includes the task came through.

    `files_settled`: no earlier task can still change the files of this machine that this one sends.
    `on_board`: registered results that the board will have when it comes to the task, in the same batch.
    """

    def __init__(
        self,
        scopes: PlayScope,
        params: tuple[Layer, ...] = (),
        files_settled: bool = True,
        on_board: frozenset[str] = frozenset(),
    ) -> None:
        self.scopes = scopes
        self.on_board = on_board
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
    asked = {"changed_when": decides_changed, "failed_when": decides_failed, "until": bool(task.until)}
    wanted = {keyword: getattr(task, keyword) for keyword, open_ in asked.items() if open_}
    judged = on_the_board(context, task, steps, wanted)
    reads = frozenset[str]().union(*(step.reads for step in (judged or steps)))
    if judged is None and reads:
        if reads != {task.register}:
            raise Pending(min(reads - {task.register}))
        steps, reads = _loop_steps(context, task, scope, see_own=False), frozenset()
    remote = any(step.args is not None for step in steps)
    try:
        return Prepared(
            task, title, tuple(judged or steps), task.loop is not None, no_log=no_log, changed_when=changed,
            decides_changed=decides_changed and judged is None, failed_when=failed,
            decides_failed=decides_failed and judged is None, judged_on_board=judged is not None, reads=reads,
            ignore_errors=flag(task.ignore_errors, scope), notify=_notify(task, scope),
            conduct=conduct_of(task, scope, context.scopes.state, steps[0].target if steps else None, remote=remote),
        )  # fmt: skip
    except TemplateFault:
        if any(step.when for step in steps) and reads != {task.register}:
            raise Pending(min(reads - {task.register})) from None
        raise


def _or(value: Value, scope: Scope, instead: Any) -> Any:
    if value.constant:
        return value.loose(scope)
    try:
        return final(value, scope)
    except (TemplateFault, Pending):
        return getattr(value, "text", instead)


def _loop_steps(context: TaskContext, task: Task, scope: Scope, see_own: bool = True) -> list[Step]:
    context.scopes.state.results.guesses.clear()
    items: Sequence[Any] = ()
    try:
        items = items_of(task, scope)
    except TemplateFault:
        if unknown := guessed(context.scopes.state, task, scope):
            return [Step(result=unknown)]
        # As in Ansible, a task that is skipped anyway may have a loop that cannot be worked out.
        false = all_hold(task.when, scope)
        if false is None:
            raise
        return [Step(result=skipped(false))]
    if unknown := guessed(context.scopes.state, task, scope):
        return [Step(result=unknown)]
    learned: dict[str, Any] = {}
    steps: list[Step] = []
    after_own = see_own and reads_own(task)
    for index in range(len(items)):
        variables = loop_variables(task, items, index)
        inner = context.scope(task, variables, learned)
        # As in Ansible, the conditions of an item see the result of the one before it.
        own = context.scope(task, variables, {**learned, str(task.register): AWAITED}) if index and after_own else None
        steps.append(step_of(context, task, inner, variables, label_of(task, variables, inner), learned, own))
    return steps


def step_of(  # noqa: PLR0917
    context: TaskContext,
    task: Task,
    scope: Scope,
    variables: dict[str, Any],
    label: str | None,
    learned: dict[str, Any] | None = None,
    own: Scope | None = None,
) -> Step:
    """One item of a loop, or the whole task. `learned`: what its items set, for later ones; `own`: as in `whether`."""
    context.scopes.state.results.guesses.clear()
    try:
        false, when = whether(context, task, scope, own)
    except TemplateFault:
        if unknown := guessed(context.scopes.state, task, scope):
            return Step(variables, label, result=unknown)
        raise
    if false is not None:
        return Step(variables, label, result=skipped(false))
    if not when:
        return _step_that_runs(context, task, scope, variables, label, learned)
    if never(when):
        return Step(variables, label, args={}, when=when)
    try:
        step = _step_that_runs(context, task, scope, variables, label, learned)
    except TemplateFault as fault:
        return Step(variables, label, args={}, when=when, settled=failure(fault.message, fault))
    if step.args is not None:
        return replace(step, when=when)
    if not unchanged_by_json(step.result):
        raise Pending(min(names_in(when)))
    return replace(step, args={}, result=None, when=when, settled=step.result)


def _step_that_runs(  # noqa: PLR0917
    context: TaskContext,
    task: Task,
    scope: Scope,
    variables: dict[str, Any],
    label: str | None,
    learned: dict[str, Any] | None,
) -> Step:
    if task.include is not None:
        return Step(variables, label, result={"changed": False, **included_values(task.include, scope)})
    target = delegate_of(task, scope, context.scopes.state)
    args, unknown = arguments(context.scopes.state, task, scope)
    if unknown:
        return Step(variables, label, result=unknown)
    if task.module in local.MODULES:
        result = local.run_local(task, args, scope)
        if result.get("failed"):
            result = guessed(context.scopes.state, task, scope) or result
        if learned is not None:
            learned.update(result.get("ansible_facts") or {})
        return Step(variables, label, result=result, target=target)
    if task.module in SENDERS:
        args, problem = _with_files(context, task, scope, args)
        if problem:
            return Step(variables, label, result=problem)
    return Step(variables, label, args=args, target=target)


def _with_files(
    context: TaskContext, task: Task, scope: Scope, args: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """(arguments that name what is sent, the result of a task whose files cannot be read or worked out)."""
    state = context.scopes.state
    send: Callable[..., dict[str, Any]] = SENDERS[task.module]
    try:
        args = send(args, scope, state.shared.blobs, context.search(task), context.reading_files)
    except TemplateFault:
        if unknown := guessed(state, task, scope):
            return args, unknown
        raise
    except ConfigError as error:
        context.reading_files()
        return args, failure(error.message, error)
    return args, guessed(state, task, scope)  # the text of a template may read it, too


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
