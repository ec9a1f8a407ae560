"""Playbook files -> plays. All faults of all files are found at once, before a host is touched."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.paths import user_path
from tvmops.playbook.engine import has_template
from tvmops.playbook.fields import Fields, kind_of, written
from tvmops.playbook.files import find_file
from tvmops.playbook.keywords import IMPORT_PLAYBOOK_KEYWORDS
from tvmops.playbook.load_include import included_values, task_file_path, use_of_include, within
from tvmops.playbook.load_play import load_play
from tvmops.playbook.load_role import expand_role
from tvmops.playbook.load_task import load_tasks
from tvmops.playbook.model import Included, Inherited, Play, Role, Task
from tvmops.playbook.names import short_name
from tvmops.playbook.variables import Written
from tvmops.source import Map, Position, Problems, Seq, load_yaml

MAX_DEPTH = 40


def load_playbooks(paths: Sequence[str | Path]) -> list[Play]:
    """The plays of some playbooks in order. Raises ConfigError (ConfigErrors for several faults)."""
    loader = Loader()
    plays = [play for path in paths for play in loader.playbook(Path(path), Inherited())]
    loader.problems.errors = in_reading_order(loader.problems.errors)
    loader.problems.raise_if_any()
    return plays


def in_reading_order(errors: Sequence[ConfigError]) -> list[ConfigError]:
    """Faults by file, in the order the files were read, then by line and column; each once."""
    files: dict[str, int] = {}

    def place(error: ConfigError) -> tuple[int, int, int]:
        found = re.match(r"(.*?):(\d+):(\d+): ", error.message)
        if not found:
            return len(files), 0, 0
        return files.setdefault(found.group(1), len(files)), int(found.group(2)), int(found.group(3))

    places = {error.message: (place(error), error) for error in errors}
    return [error for _, error in sorted(places.values(), key=lambda pair: pair[0])]


def near(path: Path) -> Path:
    """The path from the working directory when it lies below, for shorter messages."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


@dataclass
class Gathered:
    """Roles and handlers that come up while tasks are read: of `roles:` (entries), and of imports among tasks."""

    entries: list[Role] = field(default_factory=list)
    entry_handlers: list[Task] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    handlers: list[Task] = field(default_factory=list)
    included: list[Task] = field(default_factory=list)


class _IncludesItself(Exception):
    """An include leads to a file that is being read: it ends by conditions that are not known yet."""


class Loader:
    """Reads files once and collects complaints. Kept by the plays it made, for includes that are known only later."""

    def __init__(self) -> None:
        self.problems = Problems()
        self.gathered = Gathered()
        self._ids = itertools.count(1)
        self._yaml: dict[Path, Any] = {}
        self._loading: list[Path] = []
        # Where in `_loading` an include begins that is read ahead of its turn, and what was read so.
        self._boundaries: list[int] = []
        self._foreseen: set[tuple[Any, ...]] = set()
        self._included: dict[tuple[Any, ...], Included] = {}

    def next_id(self) -> int:
        """A number for a task, unique among everything this loader reads."""
        return next(self._ids)

    def read(self, path: Path, at: Position | None = None) -> Any:
        """A file's YAML; faults are noted and give None."""
        if path in self._yaml:
            return self._yaml[path]
        data: Any = None
        try:
            data = load_yaml(path)
        except ConfigErrors as errors:
            self.problems.errors.extend(errors.errors)
        except ConfigError as error:
            message = f"{at}: {error.message}" if at and "cannot read" in error.message else error.message
            self.problems.errors.append(ConfigError(message, error.hint))
        except RecursionError:
            self.problems.add(Position(str(path), 1), "YAML: nested too deeply")
        self._yaml[path] = data
        return data

    def playbook(self, path: Path, outer: Inherited, at: Position | None = None) -> list[Play]:
        """The plays of one file."""
        if not self._enter(path, at):
            return []
        data = self.read(path, at)
        plays: list[Play] = []
        if data is not None and not isinstance(data, Seq):
            self.problems.add(Position(str(path), 1), f"a playbook is a list of plays, not {kind_of(data)}")
        elif data is not None:
            for item, place in zip(data, data.items_at, strict=True):
                plays.extend(self._entry(item, place, path, outer))
        self._loading.pop()
        return plays

    def _enter(self, path: Path, at: Position | None) -> bool:
        if path.absolute() in self._loading[: self._boundaries[-1] if self._boundaries else 0]:
            raise _IncludesItself
        if path.absolute() in self._loading or len(self._loading) > MAX_DEPTH:
            chain = " -> ".join(str(one.name) for one in [*self._loading, path])
            self.problems.add(at or Position(str(path), 1), f"'{path.name}' imports itself: {chain}")
            return False
        self._loading.append(path.absolute())
        return True

    def _entry(self, item: Any, at: Position, path: Path, outer: Inherited) -> list[Play]:
        if not isinstance(item, Map):
            self.problems.add(at, f"a play is a mapping, not {kind_of(item)}", "begin it with '- hosts: ...'")
            return []
        for key in item:
            if isinstance(key, str) and short_name(key) == "import_playbook":
                return self._import_playbook(item, key, path, outer)
        play = load_play(self, item, path, outer)
        return [play] if play else []

    def _import_playbook(self, item: Map, key: str, path: Path, outer: Inherited) -> list[Play]:
        fields = Fields(item, self.problems)
        fields.refuse_unknown(IMPORT_PLAYBOOK_KEYWORDS, "import_playbook")
        name = item[key]
        if not isinstance(name, str) or not name or has_template(name):
            self.problems.add(item.at(key), "import_playbook wants the name of a file (without templates)")
            return []
        own = fields.variables()
        inner = Inherited(
            tags=outer.tags | fields.tags(),
            when=outer.when + (fields.conditions("when") or ()),
            vars=outer.vars + ((own,) if own.values else ()),
        )
        return self.playbook(near(path.parent / name), inner, item.at(key))

    def variables_file(self, name: str, folder: Path, at: Position) -> Written:
        """The variables of a file; faults are noted."""
        path = near(find_file(name, "vars", [folder]) or folder / user_path(name))
        data = self.read(path, at)
        if data is None:
            return Written({})
        if not isinstance(data, Map):
            self.problems.add(Position(str(path), 1), f"a file of variables is a mapping, not {kind_of(data)}")
            return Written({})
        return written(data, self.problems)

    def task_file(
        self, name: str, folder: Path, inherited: Inherited, at: Position, *, static: bool
    ) -> tuple[Task, ...]:
        """The tasks of a file that an import (`static`) or an include in `folder` names."""
        return self.tasks_of(task_file_path(name, folder, inherited, static=static), inherited, at)

    def tasks_of(self, path: Path, inherited: Inherited, at: Position) -> tuple[Task, ...]:
        """The tasks of a file."""
        path = near(path)
        if not self._enter(path, at):
            return ()
        data = self.read(path, at)
        tasks = load_tasks(self, data, Position(str(path), 1), path.absolute().parent, inherited)
        self._loading.pop()
        return tasks

    def foresee(self, task: Task) -> None:
        """Read what an include with a fixed name brings in, so that its faults are found now."""
        include = task.include
        assert include is not None
        values = (include.file, *(value for _, value in include.from_files), *([include.role] if include.role else []))
        if not all(value.constant for value in values) or len(self._loading) > MAX_DEPTH:
            return
        given = included_values(include, {})
        what = (include.role is None, task.folder, *_include_key(task, given)[1:])
        # What is deep inside other includes was read for its faults, or is when it is reached.
        if self._boundaries and what in self._foreseen:
            return
        self._foreseen.add(what)
        depth = len(self._loading)
        self._boundaries.append(depth)
        try:
            found = self._included[_include_key(task, given)] = self._bring_in(task, given)
            self.gathered.included += (*found.tasks, *found.handlers)
        except _IncludesItself:
            del self._loading[depth:]
        finally:
            self._boundaries.pop()

    def included(self, task: Task, given: Mapping[str, Any]) -> Included:
        """What an include brings in when it is reached; `given` is from included_values. Raises ConfigError."""
        key = _include_key(task, given)
        if key not in self._included:
            fresh = Loader()
            fresh._ids = self._ids
            fresh._yaml = {path: data for path, data in self._yaml.items() if data is not None}
            found = fresh._bring_in(task, given)
            fresh.problems.errors = in_reading_order(fresh.problems.errors)
            fresh.problems.raise_if_any()
            self._included.update({**fresh._included, key: found})
        return self._included[key]

    def _bring_in(self, task: Task, given: Mapping[str, Any]) -> Included:
        assert task.include is not None
        outer, self.gathered = self.gathered, Gathered()
        try:
            if task.include.role is None:
                name = str(given["include"])
                inner = replace(task.include.inherited, within=within(name, task.include.inherited))
                tasks = self.task_file(name, task.folder, inner, task.position, static=False)
            else:
                tasks = expand_role(self, use_of_include(task, given), task.include.inherited)
            own = self.gathered
            return Included(tasks, tuple(own.handlers), tuple(own.roles))
        finally:
            outer.included += self.gathered.included
            self.gathered = outer


def _include_key(task: Task, given: Mapping[str, Any]) -> tuple[Any, ...]:
    files = given.get("include_args") or {}
    return task.id, str(given["include"]), given.get("include_item"), *sorted(files.items())
