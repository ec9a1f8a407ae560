"""Which module a task calls and with which arguments, checked against the module's SPEC."""

from __future__ import annotations

from typing import Any, NamedTuple

from tvmops.playbook.engine import has_template
from tvmops.playbook.fields import LANGUAGE_HINT, check_name, kind_of, unknown_keyword
from tvmops.playbook.keywords import ANSIBLE_ONLY, HANDLER_KEYWORDS, INSTEAD, TASK_KEYWORDS
from tvmops.playbook.names import short_name
from tvmops.playbook.registry import NAMES, aliases, free_form, validate
from tvmops.playbook.split import COMMAND_OPTIONS, Unbalanced, split_arguments
from tvmops.source import Map, Position, Problems, did_you_mean

# The arguments of what brings in other tasks; the first is what free text means.
INCLUDES: dict[str, tuple[str, ...]] = {
    "import_tasks": ("file",),
    "include_tasks": ("file", "apply"),
    "import_role": (
        "name", "role", "tasks_from", "vars_from", "defaults_from", "handlers_from", "allow_duplicates", "public",
        "rolespec_validate",
    ),
    "include_role": (
        "name", "role", "tasks_from", "vars_from", "defaults_from", "handlers_from", "allow_duplicates", "public",
        "rolespec_validate", "apply",
    ),
}  # fmt: skip
COMMANDS = frozenset(("command", "raw", "script", "shell"))


class Call(NamedTuple):
    """A module by its short name, and its arguments with their positions. `local`: written as a local_action."""

    module: str
    args: Map
    position: Position
    readable: bool = True
    written: str = ""
    local: bool = False


def find_call(task: Map, problems: Problems, *, handler: bool = False) -> Call | None:
    """The module call of a task, or None after a complaint."""
    known = HANDLER_KEYWORDS if handler else TASK_KEYWORDS
    keys = [key for key in task if key not in known]
    if "listen" in keys:
        problems.add(task.keys_at["listen"], "'listen' is for handlers", "put the task under 'handlers'")
        keys.remove("listen")
    old_style = [key for key in ("action", "local_action") if key in task]
    if old_style:
        return _old_style(task, [*old_style, *keys], problems)
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


def _old_style(task: Map, keys: list[Any], problems: Problems) -> Call | None:
    """`action: copy src=a dest=b`, as text or as a mapping with `module`."""
    key, *others = keys
    value, at = task[key], task.at(key)
    for other in others:
        problems.add(
            task.keys_at[other], f"a task calls one module, here are '{key}' and '{other}'", "keep one of them"
        )
    if others:
        return None
    args = Map(at)
    name: Any = ""
    if isinstance(value, str):
        name, _, text = value.strip().partition(" ")
    elif isinstance(value, Map):
        name, text = value.get("module"), None
        for one in value:
            if one != "module":
                args[one], args.keys_at[one], args.values_at[one] = value[one], value.keys_at[one], value.at(one)
    if not isinstance(name, str) or not name or has_template(name):
        problems.add(at, f"'{key}' wants a module's name (without templates) and its arguments")
        return None
    if not _known(name):
        _no_such_module(name, at, problems)
        return None
    rewritten = Map(task.position)
    rewritten.update({name: args if text is None else text, **({"args": task["args"]} if "args" in task else {})})
    rewritten.keys_at.update({name: task.keys_at[key]})
    rewritten.values_at.update({name: at, "args": task.at("args")})
    return _call(rewritten, name, problems)._replace(local=key == "local_action")


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
        _no_such_module(name, task.keys_at[key], problems)


def _no_such_module(name: str, at: Position, problems: Problems) -> None:
    known = [one for one in NAMES if "." not in one] + [*INCLUDES, *TASK_KEYWORDS]
    near = did_you_mean(short_name(name), known)
    problems.add(at, f"there is no module '{name}'", near if near.startswith("did") else LANGUAGE_HINT)


def _call(task: Map, key: str, problems: Problems) -> Call:
    module, value, at = short_name(key), task[key], task.at(key)
    args: Map | None = Map(at)
    if isinstance(value, Map):
        args = value
    elif isinstance(value, str):
        args = _free_form(module, value, at, problems)
        if args is None:
            return Call(module, Map(at), at, readable=False, written=key)
    elif value is not None and _takes_free_form(module):
        args = _one(at, "_raw_params", str(value))
    elif value is not None:
        problems.add(at, f"'{key}' wants its arguments as a mapping, not {kind_of(value)}")
    return Call(module, _with_args_keyword(task, args or Map(at), problems), at, written=key)


def _takes_free_form(module: str) -> bool:
    return module in INCLUDES or free_form(module)


def _one(at: Position, key: str, value: Any) -> Map:
    args = Map(at)
    args[key] = value
    args.keys_at[key] = args.values_at[key] = at
    return args


def _free_form(module: str, text: str, at: Position, problems: Problems) -> Map | None:
    command = module in COMMANDS
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
