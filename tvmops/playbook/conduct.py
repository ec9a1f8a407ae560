"""How a task is carried out: where, as whom, how often, for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tvmops.playbook.faults import TemplateFault
from tvmops.playbook.filters_data import TRUE_WORDS
from tvmops.playbook.model import Task
from tvmops.playbook.state import HostState
from tvmops.playbook.undefined import OMIT
from tvmops.playbook.values import Value, final
from tvmops.playbook.variables import Scope

DELAY = 5.0  # seconds between the attempts of `until`
RETRIES = 3  # attempts after the first
POLL = 10.0  # seconds between looks at an asynchronous task


@dataclass(frozen=True)
class Conduct:
    """What keywords other than the module's arguments say about a task, worked out for one host.

    `retries`: how many attempts may follow the first (None: neither until nor retries is given). `delay`, `timeout`,
    `async_seconds`, `poll` and `pause` are in seconds.
    """

    become_user: str | None = None
    become_method: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    check: bool = False
    diff: bool = False
    retries: int | None = None
    delay: float = DELAY
    timeout: float | None = None
    async_seconds: float | None = None
    poll: float = POLL
    pause: float | None = None
    ignore_unreachable: bool = False
    delegate_facts: bool = False


def conduct_of(task: Task, scope: Scope, state: HostState, target: str | None, *, remote: bool) -> Conduct:
    """How the task is carried out. `remote`: a board has a part in it. Raises TemplateFault, Pending."""
    options = state.shared.options
    user = method = None
    environment: dict[str, str] = {}
    if remote:
        around = scope if target is None else connection_scope(state, target)
        user = become_user(task, scope, around)
        method = become_method(task, scope, around) if user is not None else None
        environment = _environment(task, scope)
    return Conduct(
        user, method, environment,
        check=checked(task, scope, state),
        diff=options.diff if task.diff is None else flag(task.diff, scope),
        retries=_retries(task, scope), delay=_delay(task, scope),
        timeout=number(task.timeout, scope, "timeout") or None,
        async_seconds=number(task.async_seconds, scope, "async") or None,
        poll=_or_default(number(task.poll, scope, "poll"), POLL),
        pause=number(task.loop_control.pause, scope, "pause") or None,
        ignore_unreachable=flag(task.ignore_unreachable, scope), delegate_facts=flag(task.delegate_facts, scope),
    )  # fmt: skip


def checked(task: Task, scope: Scope, state: HostState) -> bool:
    """Whether the task only looks what it would do. Raises TemplateFault, Pending."""
    return state.shared.options.check if task.check_mode is None else flag(task.check_mode, scope)


def flag(value: Value | None, scope: Scope) -> bool:
    """A keyword's yes or no; no when it is not given. Raises TemplateFault, Pending."""
    if value is None:
        return False
    result = final(value, scope)
    return result if isinstance(result, bool) else str(result).lower() in TRUE_WORDS


def number(value: Value | None, scope: Scope, keyword: str) -> float | None:
    """A keyword's number, None when it is not given. Raises TemplateFault when it is none, Pending."""
    if value is None:
        return None
    result = final(value, scope)
    if result is OMIT or result is None:
        return None
    try:
        return float(result)
    except (TypeError, ValueError):
        raise TemplateFault(getattr(value, "position", None), f"'{keyword}' wants a number, not {result!r}") from None


def _or_default(given: float | None, default: float) -> float:
    return default if given is None else given


def _retries(task: Task, scope: Scope) -> int | None:
    given = number(task.retries, scope, "retries")
    if given is not None:
        return max(0, int(given))
    return RETRIES if task.until else None


def _delay(task: Task, scope: Scope) -> float:
    given = _or_default(number(task.delay, scope, "delay"), DELAY)
    return 1.0 if given < 0 else given


def delegate_of(task: Task, scope: Scope, state: HostState) -> str | None:
    """The host that the task is delegated to; None for its own. Raises TemplateFault, Pending."""
    if task.delegate_to is None:
        return None
    name = final(task.delegate_to, scope)
    if name is OMIT or name is None or name in ("", state.host.name):
        return None
    return str(name)


def connection_scope(state: HostState, host: str) -> Scope:
    """What says how `host` is connected to: its own variables, whoever delegates a task to it."""
    other = state.shared.state(state.shared.host(host))
    return Scope([state.shared.extra, other.inventory_vars])


def become_user(task: Task, scope: Scope, around: Scope) -> str | None:
    """The user that the task wants to become, or None for the login user. Raises TemplateFault, Pending."""
    wanted = around.get("ansible_become")
    become = flag(task.become, scope) if wanted is None else str(wanted).lower() in TRUE_WORDS
    if not become:
        return None
    user = around.get("ansible_become_user")
    if user is None and task.become_user is not None:
        user = final(task.become_user, scope)
    return str(user or "root")


def become_method(task: Task, scope: Scope, around: Scope) -> str | None:
    """sudo, su, or None for what the host's variables or the default say. Raises TemplateFault, Pending."""
    method: Any = around.get("ansible_become_method")
    if method is None and task.become_method is not None:
        method = final(task.become_method, scope)
    return None if method is None else str(method)


def _environment(task: Task, scope: Scope) -> dict[str, str]:
    merged: dict[str, str] = {}
    for part in task.environment:
        values = final(part, scope)
        if not isinstance(values, dict):
            raise TemplateFault(getattr(part, "position", task.position), "'environment' wants a mapping")
        merged.update({str(key): str(value) for key, value in values.items()})
    return merged
