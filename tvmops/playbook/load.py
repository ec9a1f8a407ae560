"""Playbook files -> plays. All faults of all files are found at once, before a host is touched."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.paths import user_path
from tvmops.playbook.engine import has_template
from tvmops.playbook.fields import Fields, kind_of, unknown_keyword, written
from tvmops.playbook.files import find_file
from tvmops.playbook.keywords import IMPORT_PLAYBOOK_KEYWORDS, PLAY_KEYWORDS
from tvmops.playbook.load_task import load_tasks
from tvmops.playbook.model import Inherited, Play, Task
from tvmops.playbook.names import short_name
from tvmops.playbook.values import Constant, Value, prepare
from tvmops.playbook.variables import Written
from tvmops.source import Map, Position, Problems, Seq, did_you_mean, load_yaml

MAX_DEPTH = 40


def load_playbooks(paths: Sequence[str | Path]) -> list[Play]:
    """The plays of some playbooks in order. Raises ConfigError (ConfigErrors for several faults)."""
    loader = Loader()
    plays = [play for path in paths for play in loader.playbook(Path(path), Path(path).absolute().parent, Inherited())]
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


class Loader:
    """Reads files once and collects complaints. Kept by the plays it made, for includes that are known only later."""

    def __init__(self) -> None:
        self.problems = Problems()
        self._ids = itertools.count(1)
        self._yaml: dict[Path, Any] = {}
        self._loading: list[Path] = []
        # Keyed by the include's own Inherited, which lives as long as its task does.
        self._foreseen: dict[tuple[Path, int], tuple[Task, ...]] = {}
        self._included_by_play: list[Task] = []

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

    def playbook(self, path: Path, basedir: Path, outer: Inherited, at: Position | None = None) -> list[Play]:
        """The plays of one file; `basedir` is the folder of the playbook that was asked for."""
        if not self._enter(path, at):
            return []
        data = self.read(path, at)
        plays: list[Play] = []
        if data is not None and not isinstance(data, Seq):
            self.problems.add(Position(str(path), 1), f"a playbook is a list of plays, not {kind_of(data)}")
        elif data is not None:
            for item, place in zip(data, data.items_at, strict=True):
                plays.extend(self._entry(item, place, path, basedir, outer))
        self._loading.pop()
        return plays

    def _enter(self, path: Path, at: Position | None) -> bool:
        if path.absolute() in self._loading or len(self._loading) > MAX_DEPTH:
            chain = " -> ".join(str(one.name) for one in [*self._loading, path])
            self.problems.add(at or Position(str(path), 1), f"'{path.name}' imports itself: {chain}")
            return False
        self._loading.append(path.absolute())
        return True

    def _entry(self, item: Any, at: Position, path: Path, basedir: Path, outer: Inherited) -> list[Play]:
        if not isinstance(item, Map):
            self.problems.add(at, f"a play is a mapping, not {kind_of(item)}", "begin it with '- hosts: ...'")
            return []
        for key in item:
            if isinstance(key, str) and short_name(key) == "import_playbook":
                return self._import_playbook(item, key, path, basedir, outer)
        play = self._play(item, path, basedir, outer)
        return [play] if play else []

    def _import_playbook(self, item: Map, key: str, path: Path, basedir: Path, outer: Inherited) -> list[Play]:
        self._refuse_unknown(item, IMPORT_PLAYBOOK_KEYWORDS, "import_playbook")
        fields = Fields(item, self.problems)
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
        return self.playbook(near(path.parent / name), basedir, inner, item.at(key))

    def _refuse_unknown(self, item: Map, known: frozenset[str], kind: str) -> None:
        for key in item:
            if key not in known:
                message, hint = unknown_keyword(key, known, kind)
                self.problems.add(item.keys_at[key], message, hint)

    def _play(self, item: Map, path: Path, basedir: Path, outer: Inherited) -> Play | None:
        self._refuse_unknown(item, PLAY_KEYWORDS, "play")
        fields = Fields(item, self.problems)
        hosts = self._hosts(item, fields)
        fields.become_method()
        gather = fields.flag("gather_facts") or Constant(True)
        if not gather.constant:
            self.problems.add(item.at("gather_facts"), "'gather_facts' wants yes or no, not a template")
        inherited = Inherited(
            become=fields.flag("become"),
            become_user=fields.template("become_user"),
            environment=fields.environment(),
            tags=outer.tags | fields.tags(),
            when=outer.when,
            ignore_errors=fields.flag("ignore_errors"),
            no_log=fields.flag("no_log"),
        )
        folder = path.absolute().parent
        files, places = self._vars_files(item, folder)
        self._included_by_play = []
        own = fields.variables()
        play = Play(
            name=fields.text("name") or "",
            position=item.position,
            hosts=hosts or Constant(""),
            hosts_at=item.at("hosts"),
            basedir=basedir,
            folder=folder,
            tasks=load_tasks(self, item.get("tasks"), item.at("tasks"), folder, inherited),
            handlers=load_tasks(self, item.get("handlers"), item.at("handlers"), folder, inherited),
            vars=_merged(own, outer.vars),
            loader=self,
            vars_files=files,
            vars_files_at=places,
            inherited=inherited,
            gather_facts=bool(gather.loose({})) if gather.constant else True,
        )
        self._check_notify(play)
        return play if hosts else None

    def _hosts(self, item: Map, fields: Fields) -> Value | None:
        value = item.get("hosts")
        if value is None or value in ("", []):
            self.problems.add(item.position, "a play needs 'hosts'", "name a host, a group or 'all'")
            return None
        if isinstance(value, Seq):
            if not all(isinstance(one, str) and one for one in value):
                fields.wrong("hosts", "a pattern or a list of patterns")
                return None
            value = ",".join(value)
        if not isinstance(value, str):
            fields.wrong("hosts", "a pattern or a list of patterns")
            return None
        return prepare(value, item.at("hosts"), self.problems)

    def _vars_files(self, item: Map, folder: Path) -> tuple[tuple[Written | Value, ...], tuple[Position, ...]]:
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
                self.problems.add(at, f"'vars_files' wants names of files, not {kind_of(one)}")
                continue
            files.append(prepare(one, at, self.problems) if has_template(one) else self.variables_file(one, folder, at))
            places.append(at)
        return tuple(files), tuple(places)

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

    def task_file(self, name: str, folder: Path, inherited: Inherited, at: Position) -> tuple[Task, ...]:
        """The tasks of a file named in `folder`."""
        path = near(folder / user_path(name))
        if not self._enter(path, at):
            return ()
        data = self.read(path, at)
        tasks = load_tasks(self, data, Position(str(path), 1), path.absolute().parent, inherited)
        self._loading.pop()
        return tasks

    def foresee(self, name: str, folder: Path, inherited: Inherited, at: Position) -> None:
        """Read the file of an include whose name is known now, so that its faults are found now."""
        path = (folder / name).absolute()
        if path not in self._loading:
            tasks = self._foreseen[path, id(inherited)] = self.task_file(name, folder, inherited, at)
            self._included_by_play.extend(tasks)

    def included(self, name: str, folder: Path, inherited: Inherited, at: Position) -> tuple[Task, ...]:
        """The tasks of an include at the moment it is reached. Raises ConfigError."""
        key = ((folder / name).absolute(), id(inherited))
        if key not in self._foreseen:
            fresh = Loader()
            fresh._ids = self._ids
            tasks = fresh.task_file(name, folder, inherited, at)
            fresh.problems.errors = in_reading_order(fresh.problems.errors)
            fresh.problems.raise_if_any()
            self._foreseen[key] = tasks
        return self._foreseen[key]

    def _check_notify(self, play: Play) -> None:
        titles = [task.title for task in play.handlers]
        if any(task.include for task in play.handlers) or not all(title.constant for title in titles):
            return
        names = [str(title.loose({})) for title in titles]
        for task in [*play.tasks, *play.handlers, *self._included_by_play]:
            if task.notify is None or not task.notify.constant or task.notify_position is None:
                continue
            for name in task.notify.loose({}):
                if name not in names:
                    hint = did_you_mean(name, names) if names else "this play has no handlers"
                    self.problems.add(task.notify_position, f"there is no handler '{name}' in this play", hint)


def _merged(own: Written, outer: tuple[Written, ...]) -> Written:
    """A play's variables; those of the import around it win, as in Ansible."""
    if not outer:
        return own
    merged = Map(own.values.position if isinstance(own.values, Map) else Position("", 1))
    for layer in (own, *outer):
        merged.update(layer.values)
        if isinstance(layer.values, Map):
            merged.keys_at.update(layer.values.keys_at)
            merged.values_at.update(layer.values.values_at)
    return Written(merged)
