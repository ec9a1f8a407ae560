"""Roles: found, read, and expanded into tasks and handlers in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmops.playbook.engine import has_template
from tvmops.playbook.fields import Fields, check_name, kind_of, merged, written
from tvmops.playbook.keywords import ANSIBLE_ONLY, INSTEAD, META_KEYWORDS, ROLE_KEYWORDS
from tvmops.playbook.model import Inherited, Role, Task
from tvmops.playbook.passing_on import passed_on, shared
from tvmops.playbook.role_files import find_role, is_inside, role_files, role_places
from tvmops.playbook.values import Constant
from tvmops.playbook.variables import Written
from tvmops.source import Map, Position, Seq, did_you_mean

if TYPE_CHECKING:
    from tvmops.playbook.load import Loader

# Which files a role can be asked for by name: tasks_from and so on.
FROM = ("tasks", "vars", "defaults", "handlers")
GALAXY = ("src", "scm", "version")


@dataclass(frozen=True)
class Use:
    """One use of a role. `files`: which files to take in place of main, by kind. `own`: its conditions and tags.

    `allow_duplicates` None: as the role's meta/main.yml says.
    """

    name: str
    position: Position
    files: Mapping[str, str] = field(default_factory=dict)
    params: Written = field(default_factory=lambda: Written({}))
    use_vars: Written = field(default_factory=lambda: Written({}))
    parents: tuple[Role, ...] = ()
    public: bool = True
    allow_duplicates: bool | None = None
    from_include: bool = False
    own: str = ""


def load_roles(loader: Loader, data: Any, at: Position, inherited: Inherited) -> tuple[Task, ...]:
    """The tasks of a play's `roles:`. Their handlers and the roles themselves go to what the loader has gathered."""
    if data is None:
        return ()
    if not isinstance(data, Seq):
        loader.problems.add(at, f"'roles' wants a list of roles, not {kind_of(data)}", "such as 'roles: [common]'")
        return ()
    tasks: list[Task] = []
    for item, place in zip(data, data.items_at, strict=True):
        entry = _entry(loader, item, place, inherited)
        if entry is not None:
            tasks.extend(expand_role(loader, *entry))
    return tuple(tasks)


def _entry(
    loader: Loader, item: Any, at: Position, inherited: Inherited, parents: tuple[Role, ...] = ()
) -> tuple[Use, Inherited] | None:
    """An entry of `roles:` or of a role's dependencies."""
    if isinstance(item, int) and not isinstance(item, bool):
        item = str(item)
    if isinstance(item, str) and item:
        return (Use(item, at, parents=parents), inherited) if _plain_name(loader, item, at) else None
    if not isinstance(item, Map):
        loader.problems.add(at, f"a role is a name or a mapping with 'role', not {kind_of(item)}")
        return None
    name = item.get("role", item.get("name"))
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
    if not isinstance(name, str) or not name:
        loader.problems.add(item.position, "an entry of 'roles' needs 'role', the name of the role")
        return None
    if not _plain_name(loader, name, item.at("role" if "role" in item else "name")):
        return None
    fields = Fields(item, loader.problems)
    params = _params(loader, item, name)
    inner = passed_on(fields, inherited)
    own = repr(([one.text for one in inner.when[len(inherited.when) :]], sorted(fields.tags())))
    use = Use(name, item.position, params=params, use_vars=fields.variables(), parents=parents, own=own)
    return use, inner


def _plain_name(loader: Loader, name: str, at: Position) -> bool:
    if has_template(name):
        loader.problems.add(at, "the name of a role cannot be a template here", "use include_role")
    elif "," in name:
        loader.problems.add(at, f"'{name}' is not the name of one role", "make a list of it")
    else:
        return True
    return False


def _params(loader: Loader, item: Map, name: str) -> Written:
    params = Map(item.position)
    for key in item:
        at = item.keys_at[key]
        if key in ROLE_KEYWORDS:
            continue
        if key in ANSIBLE_ONLY:
            loader.problems.add(at, f"'{key}' is not supported", INSTEAD.get(key, ""))
        elif key in GALAXY:
            hint = f"install it as roles/{name} and leave '{key}' out"
            loader.problems.add(at, f"'{key}' is not supported: roles are not downloaded", hint)
        else:
            check_name(key, at, loader.problems)
            params[key], params.keys_at[key], params.values_at[key] = item[key], at, item.at(key)
    return written(params, loader.problems) if params else Written({})


def expand_role(loader: Loader, use: Use, inherited: Inherited) -> tuple[Task, ...]:
    """The tasks of a role and of what it depends on; its handlers and the role go to what the loader has gathered."""
    loaded = _load(loader, use, inherited)
    if loaded is None:
        return ()
    gathered = loader.gathered
    (gathered.roles if use.from_include else gathered.entries).append(loaded.role)
    (gathered.handlers if use.from_include else gathered.entry_handlers).extend(loaded.handlers)
    return loaded.tasks


@dataclass(frozen=True)
class _Loaded:
    role: Role
    tasks: tuple[Task, ...]
    handlers: tuple[Task, ...]


def _load(loader: Loader, use: Use, inherited: Inherited) -> _Loaded | None:
    around = use.parents[-1].folder.parent if use.parents else None
    found = find_role(use.name, inherited.base, around)
    if found is None or not found[1].is_dir():
        _not_found(loader, use, inherited, around)
        return None
    name, folder = found
    if any(role.folder == folder for role in use.parents) and not use.from_include:
        chain = " -> ".join([*(role.name for role in use.parents), name])
        loader.problems.add(use.position, f"the role '{name}' depends on itself: {chain}", "break the circle")
        return None
    reader = _Reader(loader, use, name, folder)
    meta = reader.meta()
    role = Role(
        name=name, folder=folder, position=use.position, defaults=reader.variables("defaults"),
        vars=reader.variables("vars"), params=use.params, use_vars=use.use_vars, parents=use.parents, public=use.public,
        same=repr((name, str(folder.resolve()), use.params.values, use.own, sorted(use.files.items()),
                   use.use_vars.values, use.from_include)),
    )  # fmt: skip
    allowed = Fields(meta, loader.problems).fixed_flag("allow_duplicates", default=False)
    role = replace(role, once=not (allowed if use.allow_duplicates is None else use.allow_duplicates))
    below = [_load(loader, *entry) for entry in _dependencies(loader, meta, role, inherited)]
    loaded = [one for one in below if one is not None]
    role = replace(role, dependencies=tuple(one.role for one in loaded))
    inner = replace(inherited, role=role, within=(), group=0)
    if use.from_include and use.parents:
        inner = replace(inner, included_from=(use.parents[-1], *inherited.included_from))
    own = (*reader.tasks(inner), _completion(loader, inner))
    return _Loaded(
        role,
        (*(task for one in loaded for task in one.tasks), *own),
        (*(task for one in loaded for task in one.handlers), *reader.handlers(inner)),
    )


def _not_found(loader: Loader, use: Use, inherited: Inherited, around: Path | None) -> None:
    places = role_places(inherited.base, around)
    known = {path.name for place in places[:1] if place.is_dir() for path in place.iterdir() if path.is_dir()}
    near = did_you_mean(use.name, known)
    hint = near if near.startswith("did") else f"looked in {', '.join(str(place) for place in dict.fromkeys(places))}"
    if use.name.count(".") == 2:
        hint = "roles of collections are not supported; copy it to roles/"
    loader.problems.add(use.position, f"there is no role '{use.name}'", hint)


def _dependencies(loader: Loader, meta: Map, role: Role, inherited: Inherited) -> list[tuple[Use, Inherited]]:
    data = meta.get("dependencies")
    if not data:
        return []
    if not isinstance(data, Seq):
        loader.problems.add(meta.at("dependencies"), f"'dependencies' wants a list of roles, not {kind_of(data)}")
        return []
    parents = (*role.parents, role)
    entries = [_entry(loader, one, at, inherited, parents) for one, at in zip(data, data.items_at, strict=True)]
    return [entry for entry in entries if entry is not None]


def _completion(loader: Loader, inherited: Inherited) -> Task:
    """Marks a role as done, so that another use of the same is left out."""
    assert inherited.role is not None
    keywords = {**shared(replace(Inherited(), path=inherited.path)), "tags": frozenset(("always",))}
    return Task(
        id=loader.next_id(), module="meta", position=inherited.role.position, title=Constant("meta"),
        args=Constant({"_raw_params": "role_complete"}), folder=inherited.role.folder, inherited=inherited,
        implicit=True, **{**keywords, "role": inherited.role},
    )  # fmt: skip


class _Reader:
    """Reads the files of one role."""

    def __init__(self, loader: Loader, use: Use, name: str, folder: Path) -> None:
        self._loader = loader
        self._use = use
        self._name = name
        self._folder = folder

    def _files(self, kind: str) -> list[Path]:
        wanted = self._use.files.get(kind)
        paths = role_files(self._folder, kind, wanted)
        if paths is None:
            message = f"the role '{self._name}' has no file '{kind}/{wanted}'"
            there = [path.stem for path in sorted((self._folder / kind).glob("*"))]
            self._loader.problems.add(self._use.position, message, did_you_mean(str(wanted), there))
            return []
        for path in [path for path in paths if wanted and not is_inside(path, self._folder / kind)]:
            message = f"'{path}' is not inside the folder {kind} of the role '{self._name}'"
            self._loader.problems.add(self._use.position, message)
            return []
        return paths

    def variables(self, kind: str) -> Written:
        """The variables of `vars` or `defaults`, several files in one."""
        from tvmops.playbook.load import near

        found: list[Map] = []
        for path in self._files(kind):
            data = self._loader.read(near(path), self._use.position)
            if data is None:
                continue
            if not isinstance(data, Map):
                where = Position(str(near(path)), 1)
                self._loader.problems.add(where, f"a file of variables is a mapping, not {kind_of(data)}")
                continue
            found.append(data)
        return written(merged(*found), self._loader.problems) if found else Written({})

    def meta(self) -> Map:
        """meta/main.yml, checked."""
        from tvmops.playbook.load import near

        problems = self._loader.problems
        for path in role_files(self._folder, "meta", "argument_specs") or []:
            where = Position(str(near(path)), 1)
            problems.add(where, "argument_specs are not supported", INSTEAD["argument_specs"])
        for path in role_files(self._folder, "meta", None) or []:
            data = self._loader.read(near(path), self._use.position)
            if isinstance(data, Map):
                known = META_KEYWORDS if data.get("collections") else META_KEYWORDS | {"collections"}
                Fields(data, problems).refuse_unknown(known, "role's meta/main.yml")
                return data
            if data is not None:
                problems.add(Position(str(near(path)), 1), f"a role's meta is a mapping, not {kind_of(data)}")
        return Map(self._use.position)

    def tasks(self, inherited: Inherited) -> tuple[Task, ...]:
        """The tasks of the role itself."""
        return tuple(
            task
            for path in self._files("tasks")
            for task in self._loader.tasks_of(path, replace(inherited, handlers=False), self._use.position)
        )

    def handlers(self, inherited: Inherited) -> tuple[Task, ...]:
        """The handlers of the role itself."""
        return tuple(
            task
            for path in self._files("handlers")
            for task in self._loader.tasks_of(path, replace(inherited, handlers=True, path=()), self._use.position)
        )
