"""debug, assert, fail, set_fact and include_vars: the modules that the controller itself carries out."""

from __future__ import annotations

from typing import Any

from tvmops.errors import ConfigError
from tvmops.playbook.faults import UndefinedFault
from tvmops.playbook.model import Task
from tvmops.playbook.registry import validate
from tvmops.playbook.undefined import OMIT
from tvmops.playbook.values import Condition, Text, final
from tvmops.playbook.variables import Scope

MODULES = frozenset(("assert", "debug", "fail", "include_vars", "set_fact"))
NOT_DEFINED = "VARIABLE IS NOT DEFINED!"


def run_local(task: Task, args: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """The result of a controller module; its facts are under "ansible_facts". Raises TemplateFault, Pending."""
    if task.module == "set_fact":
        return _set_fact(task, args, scope)
    clean, problems = validate(task.module, args)
    # `that` and `var` were taken out when the task was read: they are expressions.
    faults = [one.message for one in problems if one.argument not in (None, "that", "var")]
    if faults:
        return {"failed": True, "changed": False, "msg": "; ".join(faults)}
    if task.module == "include_vars":
        return _include_vars(task, args, clean, scope)
    if task.module == "assert":
        return _assert(task.expressions, clean, scope)
    if task.module == "fail":
        return {"failed": True, "changed": False, "msg": clean["msg"]}
    return _debug(task, args, clean, scope)


def _set_fact(task: Task, args: dict[str, Any], scope: Scope) -> dict[str, Any]:
    from tvmops.playbook.fields import IDENTIFIER
    from tvmops.playbook.values import prepare

    facts: dict[str, Any] = {}
    for name, value in args.items():
        if name == "cacheable":
            continue
        key = str(final(prepare(name, task.position), scope)) if "{{" in name else name
        if not IDENTIFIER.match(key):
            return {"failed": True, "changed": False, "msg": f"'{key}' cannot be a variable's name"}
        facts[key] = value
    if not facts:
        return {"failed": True, "changed": False, "msg": "set_fact needs at least one 'name: value'"}
    return {"changed": False, "ansible_facts": facts}


def _include_vars(task: Task, args: dict[str, Any], clean: dict[str, Any], scope: Scope) -> dict[str, Any]:
    from tvmops.playbook.include_vars import include_vars

    reading = scope.get("_reading_files")
    if callable(reading):
        reading()
    try:
        return include_vars(task, args, clean, scope)
    except ConfigError as error:
        return {"failed": True, "changed": False, "msg": error.message, **({"hint": error.hint} if error.hint else {})}


def _assert(expressions: tuple[Condition, ...], clean: dict[str, Any], scope: Scope) -> dict[str, Any]:
    for condition in expressions:
        if not condition.holds(scope):
            message = clean["fail_msg"] if clean["fail_msg"] is not None else "Assertion failed"
            shown = {"assertion": condition.text, "evaluated_to": False, "msg": message}
            return {"failed": True, "changed": False, **shown}
    message = clean["success_msg"] if clean["success_msg"] is not None else "All assertions passed"
    return {"changed": False, "msg": message}


def _debug(task: Task, args: dict[str, Any], clean: dict[str, Any], scope: Scope) -> dict[str, Any]:
    if clean["verbosity"] > 0:
        return {"changed": False, "skipped": True, "skipped_reason": "Verbosity threshold not met."}
    if not task.expressions:
        return {"changed": False, "msg": args.get("msg", "Hello world!")}
    expression = task.expressions[0]
    try:
        value = _value(expression, scope)
    except UndefinedFault:
        value = NOT_DEFINED
    return {"changed": False, expression.text: value}


def _value(expression: Condition, scope: Scope) -> Any:
    if expression.compiled is None:
        return expression.fixed
    value = final(Text(expression.text, expression.compiled, expression.position), scope)
    return "" if value is OMIT else value
