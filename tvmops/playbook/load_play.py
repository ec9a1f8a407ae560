"""One play mapping -> Play."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmops.playbook.engine import has_template
from tvmops.playbook.fields import Fields, kind_of, merged
from tvmops.playbook.handler_names import known_names
from tvmops.playbook.keywords import ORDERS, PLAY_KEYWORDS, STRATEGIES
from tvmops.playbook.load_role import load_roles
from tvmops.playbook.load_task import load_tasks
from tvmops.playbook.model import Inherited, Play, Role, Task
from tvmops.playbook.passing_on import passed_on, shared
from tvmops.playbook.values import Constant, Value, prepare
from tvmops.playbook.variables import Written
from tvmops.source import Map, Position, Seq, did_you_mean

if TYPE_CHECKING:
    from tvmops.playbook.load import Gathered, Loader


def load_play(loader: Loader, item: Map, path: Path, outer: Inherited) -> Play | None:
    """One play of a playbook; `outer` is what an import_playbook around it passes on."""
    from tvmops.playbook.load import Gathered

    fields = Fields(item, loader.problems)
    fields.refuse_unknown(PLAY_KEYWORDS, "play")
    hosts = _hosts(fields)
    folder = path.absolute().parent
    inherited = replace(passed_on(fields, replace(outer, vars=())), base=folder)
    files, places = _vars_files(loader, item, folder)
    loader.gathered = Gathered()
    tasks, handlers = _tasks(loader, item, folder, inherited)
    strategy = fields.one_of("strategy", STRATEGIES)
    play = Play(
        name=fields.text("name") or "",
        position=item.position,
        hosts=hosts or Constant(""),
        hosts_at=item.at("hosts"),
        basedir=folder,
        folder=folder,
        tasks=tasks,
        handlers=handlers,
        vars=_below_imports(fields.variables(), outer.vars),
        loader=loader,
        vars_files=files,
        vars_files_at=places,
        inherited=inherited,
        gather_facts=fields.fixed_flag("gather_facts", default=True),
        roles=(*loader.gathered.entries, *loader.gathered.roles),
        serial=_serial(fields),
        max_fail_percentage=fields.number("max_fail_percentage", whole=False, percent=True),
        any_errors_fatal=inherited.any_errors_fatal,
        force_handlers=fields.flag("force_handlers"),
        strategy=strategy,
        throttle=inherited.throttle,
        order=fields.one_of("order", ORDERS),
    )
    _check_notify(loader, play)
    return play if hosts else None


def _tasks(loader: Loader, item: Map, folder: Path, inherited: Inherited) -> tuple[tuple[Task, ...], tuple[Task, ...]]:
    """(the tasks of all parts, the handlers)."""
    # Ansible's order of reading, which is the order in which imported roles' variables come to count.
    roles = load_roles(loader, item.get("roles"), item.at("roles"), inherited)
    notified = replace(inherited, handlers=True)
    handlers = load_tasks(loader, item.get("handlers"), item.at("handlers"), folder, notified)
    before, after, tasks = (
        load_tasks(loader, item.get(key), item.at(key), folder, inherited)
        for key in ("pre_tasks", "post_tasks", "tasks")
    )
    gathered = loader.gathered
    ordered: list[Task] = []
    for part, flushed in ((before, bool(before)), ((*roles, *tasks), True), (after, True)):
        ordered += part
        # Handlers that were notified by handlers have their turn at the next of these.
        if flushed:
            ordered.append(_flush(loader, item.position, folder, inherited))
    return _without_needless_marks(ordered, gathered), (*gathered.entry_handlers, *handlers, *gathered.handlers)


def _flush(loader: Loader, position: Position, folder: Path, inherited: Inherited) -> Task:
    keywords = {**shared(Inherited()), "tags": frozenset(("always",))}
    return Task(
        id=loader.next_id(), module="meta", position=position, title=Constant("meta"),
        args=Constant({"_raw_params": "flush_handlers"}), folder=folder, inherited=inherited, implicit=True, **keywords,
    )  # fmt: skip


def _without_needless_marks(tasks: list[Task], gathered: Gathered) -> tuple[Task, ...]:
    """Without the marks of roles' ends where no other use of the same role can follow."""
    later = [*tasks, *gathered.included]
    uses: dict[str, set[Role]] = {}
    for task in later:
        if task.role is not None:
            uses.setdefault(task.role.same, set()).add(task.role)
    open_end = any(task.include and task.include.role for task in later)
    return tuple(
        task for task in tasks if not (task.implicit and task.role) or open_end or len(uses[task.role.same]) > 1
    )


def _hosts(fields: Fields) -> Value | None:
    item, problems = fields.data, fields.problems
    value = item.get("hosts")
    if value is None or value in ("", []):
        problems.add(item.position, "a play needs 'hosts'", "name a host, a group or 'all'")
        return None
    if isinstance(value, Seq):
        if not all(isinstance(one, str) and one for one in value):
            fields.wrong("hosts", "a pattern or a list of patterns")
            return None
        value = ",".join(value)
    if not isinstance(value, str):
        fields.wrong("hosts", "a pattern or a list of patterns")
        return None
    return prepare(value, item.at("hosts"), problems)


def _vars_files(loader: Loader, item: Map, folder: Path) -> tuple[tuple[Written | Value, ...], tuple[Position, ...]]:
    value = item.get("vars_files")
    if value is None:
        return (), ()
    listed = value if isinstance(value, Seq) else Seq(item.at("vars_files"))
    if not isinstance(value, Seq):
        listed.append(value)
        listed.items_at.append(item.at("vars_files"))
    files: list[Written | Value] = []
    places: list[Position] = []
    for one, at in zip(listed, listed.items_at, strict=True):
        if not isinstance(one, str):
            loader.problems.add(at, f"'vars_files' wants names of files, not {kind_of(one)}")
            continue
        templated = has_template(one)
        files.append(prepare(one, at, loader.problems) if templated else loader.variables_file(one, folder, at))
        places.append(at)
    return tuple(files), tuple(places)


def _serial(fields: Fields) -> tuple[Value, ...]:
    value: Any = fields.data.get("serial")
    at = fields.data.at("serial")
    listed = zip(value, value.items_at, strict=True) if isinstance(value, Seq) else [(value, at)]
    numbers = [fields.number_of("serial", one, place, percent=True) for one, place in listed]
    return tuple(number for number in numbers if number is not None)


def _below_imports(own: Written, outer: tuple[Written, ...]) -> Written:
    """A play's variables; those of the import around it win, as in Ansible."""
    return Written(merged(own.values, *(layer.values for layer in outer))) if outer else own


def _check_notify(loader: Loader, play: Play) -> None:
    """Complain about notified names that no handler can have."""
    tasks = [*play.tasks, *play.handlers, *loader.gathered.included]
    handlers = [*play.handlers, *(task for task in loader.gathered.included if task.inherited.handlers)]
    unknown = any(task.include for task in handlers) or not all(task.title.constant for task in handlers)
    if unknown or any(task.include and task.include.role and not task.include.role.constant for task in tasks):
        return
    names = known_names(handlers)
    for task in tasks:
        if task.notify is None or not task.notify.constant or task.notify_position is None:
            continue
        for name in task.notify.loose({}):
            if name not in names:
                hint = did_you_mean(name, names) if names else "this play has no handlers"
                loader.problems.add(task.notify_position, f"there is no handler '{name}' in this play", hint)
