"""One task mapping -> Task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tvmops.playbook.arguments import INCLUDES, Call, check_arguments, find_call
from tvmops.playbook.engine import has_template
from tvmops.playbook.fields import Fields, kind_of
from tvmops.playbook.keywords import LOOP_CONTROL_KEYWORDS
from tvmops.playbook.load_block import load_block
from tvmops.playbook.load_include import load_include
from tvmops.playbook.model import Inherited, LoopControl, Task
from tvmops.playbook.passing_on import shared, with_variables
from tvmops.playbook.values import Condition, Constant, Dictionary, Value, prepare, prepare_condition
from tvmops.source import Map, Position, Seq

if TYPE_CHECKING:
    from pathlib import Path

    from tvmops.playbook.load import Loader

EXPRESSIONS = frozenset((("assert", "that"), ("debug", "var")))


def load_tasks(loader: Loader, data: Any, at: Position, folder: Path, inherited: Inherited) -> tuple[Task, ...]:
    """The tasks of a list; blocks, imports and roles are replaced by what is in them."""
    if data is None:
        return ()
    if not isinstance(data, Seq):
        loader.problems.add(at, f"tasks are a list, not {kind_of(data)}", "begin each task with '- name: ...'")
        return ()
    tasks: list[Task] = []
    for item, place, group in zip(data, data.items_at, _groups(loader, data, inherited), strict=True):
        if isinstance(item, Map):
            own = inherited if group == inherited.group else replace(inherited, group=group)
            tasks.extend(_load_one(loader, item, folder, own))
        else:
            loader.problems.add(place, f"a task is a mapping, not {kind_of(item)}", "begin it with '- name: ...'")
    return tuple(tasks)


def _groups(loader: Loader, data: Seq, inherited: Inherited) -> Iterator[int]:
    """Task.group for each: a number for every block of handlers, and for those between blocks."""
    group, between = inherited.group, False
    for item in data:
        block = isinstance(item, Map) and "block" in item
        if inherited.handlers and not inherited.group and (block or not between):
            group = loader.next_id()
        between = not block
        yield group


def _load_one(loader: Loader, data: Map, folder: Path, inherited: Inherited) -> tuple[Task, ...]:
    if "block" in data:
        return load_block(loader, data, folder, inherited)
    call = find_call(data, loader.problems, handler=inherited.handlers)
    fields = Fields(data, loader.problems)
    if call is None:
        own_keywords(fields, inherited)
        return ()
    if call.local:
        data = data_delegated(data)
        fields = Fields(data, loader.problems)
    if call.module in INCLUDES:
        return load_include(loader, fields, call, folder, inherited)
    args = check_arguments(call, loader.problems)
    if call.module == "meta":
        _check_meta(loader, call, inherited)
    expressions = _expressions(loader, call.module, args)
    return (
        Task(
            id=loader.next_id(),
            module=call.module,
            position=data.position,
            title=fields.template("name") or Constant(call.written),
            named=bool(data.get("name")),
            expressions=expressions,
            args=_prepare_args(loader, args),
            folder=folder,
            inherited=inherited,
            **own_keywords(fields, inherited),
        ),
    )


def data_delegated(data: Map) -> Map:
    """The mapping of a `local_action`, which means the controller whatever else is written."""
    if "delegate_to" in data:
        return data
    copy = Map(data.position)
    copy.update(data)
    copy.keys_at.update(data.keys_at)
    copy.values_at.update(data.values_at)
    copy["delegate_to"] = "localhost"
    copy.keys_at["delegate_to"] = copy.values_at["delegate_to"] = data.at("local_action")
    return copy


def _check_meta(loader: Loader, call: Call, inherited: Inherited) -> None:
    if call.args.get("_raw_params") != "end_role":
        return
    if inherited.handlers:
        loader.problems.add(call.position, "a handler cannot end a role", "end it in a task of the role")
    elif inherited.role is None:
        loader.problems.add(call.position, "there is no role here to end", "end_host and end_play end more")


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


def own_keywords(fields: Fields, inherited: Inherited) -> dict[str, Any]:
    """The fields of a Task that come from its keywords and from what is around it."""
    loop, flatten = _loop(fields)
    keywords = shared(with_variables(fields, inherited))
    keywords.update(
        loop=loop,
        loop_position=fields.data.at("with_items" if flatten else "loop"),
        flatten_loop=flatten,
        loop_control=_loop_control(fields),
        register=fields.word("register"),
        changed_when=fields.conditions("changed_when"),
        failed_when=fields.conditions("failed_when"),
        until=fields.conditions("until"),
        retries=fields.number("retries"),
        delay=fields.number("delay", whole=False),
        async_seconds=fields.number("async"),
        poll=fields.number("poll"),
        listen=_listen(fields, inherited),
    )
    return keywords


def _listen(fields: Fields, inherited: Inherited) -> tuple[str, ...]:
    topics = fields.words("listen")
    if inherited.role is None:
        return topics
    return (*topics, *(f"{inherited.role.name} : {topic}" for topic in topics))


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


def _loop_control(fields: Fields) -> LoopControl:
    value = fields.data.get("loop_control")
    if value is None:
        return LoopControl()
    if not isinstance(value, Map):
        fields.wrong("loop_control", "a mapping")
        return LoopControl()
    inner = Fields(value, fields.problems)
    inner.refuse_unknown(LOOP_CONTROL_KEYWORDS, "loop_control")
    control = LoopControl(
        index_var=inner.word("index_var"),
        label=None if "label" not in value else prepare(value["label"], value.at("label"), fields.problems),
        pause=inner.number("pause", whole=False),
        extended=inner.fixed_flag("extended", default=False),
        extended_allitems=inner.fixed_flag("extended_allitems", default=True),
    )
    name = inner.word("loop_var")
    return replace(control, loop_var=name) if name else control
