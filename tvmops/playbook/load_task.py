"""One task mapping -> Task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmops.playbook.arguments import INCLUDES, Call, check_arguments, find_call
from tvmops.playbook.engine import has_template
from tvmops.playbook.fields import Fields, check_name, kind_of
from tvmops.playbook.keywords import IMPORT_KEYWORDS, INCLUDE_KEYWORDS
from tvmops.playbook.model import Include, Inherited, Task
from tvmops.playbook.values import Condition, Constant, Dictionary, Value, prepare, prepare_condition
from tvmops.source import Map, Position, Seq

if TYPE_CHECKING:
    from tvmops.playbook.load import Loader


def load_tasks(loader: Loader, data: Any, at: Position, folder: Path, inherited: Inherited) -> tuple[Task, ...]:
    """The tasks of a list; imports are replaced by what they import."""
    if data is None:
        return ()
    if not isinstance(data, Seq):
        loader.problems.add(at, f"tasks are a list, not {kind_of(data)}", "begin each task with '- name: ...'")
        return ()
    tasks: list[Task] = []
    for item, place in zip(data, data.items_at, strict=True):
        if isinstance(item, Map):
            tasks.extend(_load_one(loader, item, folder, inherited))
        else:
            loader.problems.add(place, f"a task is a mapping, not {kind_of(item)}", "begin it with '- name: ...'")
    return tuple(tasks)


def _load_one(loader: Loader, data: Map, folder: Path, inherited: Inherited) -> tuple[Task, ...]:
    call = find_call(data, loader.problems)
    fields = Fields(data, loader.problems)
    if call is None:
        _common(loader, fields, inherited)
        return ()
    if call.module in INCLUDES:
        return _load_include(loader, fields, call, folder, inherited)
    args = check_arguments(call, loader.problems)
    common = _common(loader, fields, inherited)
    return (
        Task(
            id=loader.next_id(),
            module=call.module,
            position=data.position,
            title=fields.template("name") or Constant(_written_name(data, call)),
            expressions=_expressions(loader, call.module, args),
            args=_prepare_args(loader, args),
            folder=folder,
            inherited=inherited,
            **common,
        ),
    )


def _written_name(data: Map, call: Call) -> str:
    return next((key for key in data if isinstance(key, str) and key.endswith(call.module)), call.module)


def _prepare_args(loader: Loader, args: list[tuple[str, Any, Position]]) -> Value:
    pairs = tuple((key, prepare(value, at, loader.problems)) for key, value, at in args)
    if all(value.constant for _, value in pairs):
        return Constant({key: value for key, value, _ in args})
    return Dictionary(pairs)


def _expressions(loader: Loader, module: str, args: list[tuple[str, Any, Position]]) -> tuple[Condition, ...]:
    """What `assert: that` and `debug: var` evaluate; these are expressions, not templates, and leave `args`."""
    conditions: list[Condition] = []
    for argument in [one for one in args if (module, one[0]) in EXPRESSIONS]:
        _, value, at = argument
        args.remove(argument)
        listed = zip(value, value.items_at, strict=True) if isinstance(value, Seq) else [(value, at)]
        conditions.extend(prepare_condition(one, place, loader.problems) for one, place in listed)
    return tuple(conditions)


EXPRESSIONS = frozenset((("assert", "that"), ("debug", "var")))


def _common(loader: Loader, fields: Fields, inherited: Inherited) -> dict[str, Any]:
    """The keywords that every task may have."""
    fields.become_method()
    register = fields.text("register")
    if register is not None:
        check_name(register, fields.data.at("register"), loader.problems)
    loop, flatten = _loop(fields)
    own = fields.variables()
    return {
        "when": inherited.when + (fields.conditions("when") or ()),
        "loop": loop,
        "loop_position": fields.data.at("with_items" if flatten else "loop"),
        "flatten_loop": flatten,
        "register": register,
        "tags": inherited.tags | fields.tags(),
        "become": fields.flag("become") or inherited.become,
        "become_user": fields.template("become_user") or inherited.become_user,
        "environment": inherited.environment + fields.environment(),
        "changed_when": fields.conditions("changed_when"),
        "failed_when": fields.conditions("failed_when"),
        "ignore_errors": fields.flag("ignore_errors") or inherited.ignore_errors,
        "no_log": fields.flag("no_log") or inherited.no_log,
        "notify": fields.names("notify"),
        "notify_position": fields.data.at("notify"),
        "vars": ((own,) if own.values else ()) + inherited.vars,
    }


def _loop(fields: Fields) -> tuple[Value | None, bool]:
    data = fields.data
    if "loop" in data and "with_items" in data:
        fields.problems.add(data.keys_at["with_items"], "'with_items' and 'loop' cannot go with each other", "use loop")
    for key in ("loop", "with_items"):
        if key not in data:
            continue
        value = data[key]
        templated = isinstance(value, str) and has_template(value)
        if not isinstance(value, Seq) and not templated and (key == "loop" or isinstance(value, (Map, type(None)))):
            fields.wrong(key, "a list, or a template that gives one")
            return None, False
        listed = value if isinstance(value, Seq) or templated else [value]
        return prepare(listed, data.at(key), fields.problems), key == "with_items"
    return None, False


def _load_include(loader: Loader, fields: Fields, call: Call, folder: Path, inherited: Inherited) -> tuple[Task, ...]:
    dynamic = call.module == "include_tasks"
    allowed = INCLUDE_KEYWORDS if dynamic else IMPORT_KEYWORDS
    for key in fields.data:
        if key not in allowed and not str(key).endswith(call.module) and isinstance(key, str):
            hint = "put it on the tasks of the file"
            if key in ("loop", "with_items"):
                hint = "only include_tasks can be repeated"
            fields.problems.add(fields.data.keys_at[key], f"'{key}' cannot go with {call.module}", hint)
    name = _file_name(call, fields)
    common = _common(loader, fields, inherited)
    if name is None:
        return ()
    if dynamic:
        return (_include_task(loader, fields, call, name, folder, inherited, common),)
    if has_template(name):
        hint = "what is imported is read before anything is known; use include_tasks"
        fields.problems.add(call.position, "the file of import_tasks cannot be a template", hint)
        return ()
    names = ("become", "become_user", "environment", "tags", "when", "vars", "ignore_errors", "no_log")
    inner = replace(inherited, **{name: common[name] for name in names})
    return loader.task_file(name, folder, inner, call.position)


def _file_name(call: Call, fields: Fields) -> str | None:
    for key in call.args:
        if key not in ("file", "_raw_params"):
            fields.problems.add(call.args.keys_at[key], f"{call.module} has no argument '{key}'", "known: file")
    name = call.args.get("file", call.args.get("_raw_params"))
    if not isinstance(name, str) or not name:
        fields.problems.add(call.position, f"{call.module} needs the name of a file")
        return None
    return name


def _include_task(  # noqa: PLR0917
    loader: Loader, fields: Fields, call: Call, name: str, folder: Path, inherited: Inherited, common: dict[str, Any]
) -> Task:
    own = fields.variables()
    inner = replace(inherited, params=((own,) if own.values else ()) + inherited.params)
    file = prepare(name, call.position, loader.problems)
    if file.constant:
        loader.foresee(name, folder, inner, call.position)
    return Task(
        id=loader.next_id(),
        module=call.module,
        position=fields.data.position,
        title=fields.template("name") or Constant(call.module),
        args=file,
        folder=folder,
        inherited=inherited,
        include=Include(file, inner),
        **common,
    )
