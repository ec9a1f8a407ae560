"""Which module a task calls and with which arguments, checked against the module's SPEC."""

from __future__ import annotations

from typing import Any, NamedTuple

from tvmops.playbook.engine import has_template
from tvmops.playbook.fields import check_name, kind_of, unknown_keyword
from tvmops.playbook.keywords import ANSIBLE_ONLY, INSTEAD, TASK_KEYWORDS
from tvmops.playbook.names import short_name
from tvmops.playbook.registry import NAMES, aliases, free_form, validate
from tvmops.playbook.split import COMMAND_OPTIONS, Unbalanced, split_arguments
from tvmops.source import Map, Position, Problems, did_you_mean

INCLUDES = ("import_tasks", "include_tasks")
VERSION_HINT = "see docs/getting-started.md for the language that is supported"


class Call(NamedTuple):
    """A module by its short name, and its arguments with their positions."""

    module: str
    args: Map
    position: Position
    readable: bool = True


def find_call(task: Map, problems: Problems) -> Call | None:
    """The module call of a task, or None after a complaint."""
    keys = [key for key in task if key not in TASK_KEYWORDS]
    calls = [key for key in keys if isinstance(key, str) and _known(key)]
    for key in keys:
        if key not in calls:
            _complain_unknown(task, key, problems, bool(calls))
    if len(calls) > 1:
        at = task.keys_at[calls[1]]
        problems.add(at, f"a task calls one module, here are '{calls[0]}' and '{calls[1]}'", "make two tasks of it")
    if not calls:
        if not keys:
            problems.add(task.position, "this task calls no module", "add one, such as 'command: ...'")
        return None
    return _call(task, calls[0], problems)


def _known(key: str) -> bool:
    return key in NAMES or short_name(key) in INCLUDES


def _complain_unknown(task: Map, key: Any, problems: Problems, has_call: bool) -> None:
    name = str(key)
    if name in ANSIBLE_ONLY or name in INSTEAD or name.startswith("with_"):
        message, hint = unknown_keyword(key, TASK_KEYWORDS, "task")
        problems.add(task.keys_at[key], message, hint)
    elif has_call:
        message, hint = unknown_keyword(key, [*TASK_KEYWORDS], "task")  # type: ignore[arg-type]
        problems.add(task.keys_at[key], message, hint)
    else:
        known = [one for one in NAMES if "." not in one] + [*INCLUDES, *TASK_KEYWORDS]
        near = did_you_mean(short_name(name), known)
        problems.add(
            task.keys_at[key], f"there is no module '{name}'", near if near.startswith("did") else VERSION_HINT
        )


def _call(task: Map, key: str, problems: Problems) -> Call:
    module, value, at = short_name(key), task[key], task.at(key)
    args: Map | None = Map(at)
    if isinstance(value, Map):
        args = value
    elif isinstance(value, str):
        args = _free_form(module, value, at, problems)
        if args is None:
            return Call(module, Map(at), at, readable=False)
    elif value is not None and _takes_free_form(module):
        args = _one(at, "_raw_params", str(value))
    elif value is not None:
        problems.add(at, f"'{key}' wants its arguments as a mapping, not {kind_of(value)}")
    return Call(module, _with_args_keyword(task, args or Map(at), problems), at)


def _takes_free_form(module: str) -> bool:
    return module in INCLUDES or free_form(module)


def _one(at: Position, key: str, value: Any) -> Map:
    args = Map(at)
    args[key] = value
    args.keys_at[key] = args.values_at[key] = at
    return args


def _free_form(module: str, text: str, at: Position, problems: Problems) -> Map | None:
    command = module not in INCLUDES and free_form(module)
    args = Map(at)
    try:
        options, rest = split_arguments(text, COMMAND_OPTIONS if command else None)
    except Unbalanced as error:
        problems.add(at, f"'{module}': {error}", "close the quote, or write the arguments as a mapping")
        return None
    for key, value in {**options, **({"_raw_params": rest} if rest else {})}.items():
        args[key] = value
        args.keys_at[key] = args.values_at[key] = at
    return args


def _with_args_keyword(task: Map, args: Map, problems: Problems) -> Map:
    extra = task.get("args")
    if extra is None:
        return args
    if not isinstance(extra, Map):
        problems.add(task.at("args"), f"'args' wants a mapping, not {kind_of(extra)}")
        return args
    merged = Map(args.position)
    for source in (extra, args):
        merged.update(source)
        merged.keys_at.update(source.keys_at)
        merged.values_at.update(source.values_at)
    return merged


def check_arguments(call: Call, problems: Problems) -> list[tuple[str, Any, Position]]:
    """(the module's own name of the argument, the value as written, where it stands); faults go to `problems`."""
    if not call.readable:
        return []
    if call.module == "set_fact":
        for name in call.args:
            if name != "cacheable" and not has_template(str(name)):
                check_name(name, call.args.keys_at.get(name, call.position), problems)
    _, found = validate(call.module, dict(call.args), templated=True)
    for problem in found:
        at = call.args.keys_at.get(problem.argument, call.position)
        problems.add(at, problem.message, f"did you mean '{problem.nearest}'?" if problem.nearest else "")
    own = aliases(call.module)
    return [(own.get(key, key), value, call.args.at(key)) for key, value in call.args.items()]
