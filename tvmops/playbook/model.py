"""Plays and tasks as they were written, checked and prepared; the same objects serve every host."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tvmops.playbook.values import Condition, Value
from tvmops.playbook.variables import Written
from tvmops.source import Position

if TYPE_CHECKING:
    from tvmops.playbook.load import Loader

SETUP_NAME = "Gathering Facts"


@dataclass(frozen=True)
class Inherited:
    """What a task gets from the play and the imports around it."""

    become: Value | None = None
    become_user: Value | None = None
    environment: tuple[Value, ...] = ()
    tags: frozenset[str] = frozenset()
    when: tuple[Condition, ...] = ()
    vars: tuple[Written, ...] = ()
    params: tuple[Written, ...] = ()
    ignore_errors: Value | None = None
    no_log: Value | None = None


@dataclass(frozen=True)
class Include:
    """`include_tasks`: the file's name, and what its tasks get from around the include."""

    file: Value
    inherited: Inherited


@dataclass(frozen=True, eq=False)
class Task:
    """One task or handler. Value fields are worked out per host; `args` has the module's own argument names.

    `expressions` are what `assert: that` and `debug: var` evaluate.
    """

    id: int
    module: str
    position: Position
    title: Value
    args: Value
    folder: Path
    inherited: Inherited
    when: tuple[Condition, ...] = ()
    loop: Value | None = None
    loop_position: Position | None = None
    flatten_loop: bool = False
    register: str | None = None
    tags: frozenset[str] = frozenset()
    become: Value | None = None
    become_user: Value | None = None
    environment: tuple[Value, ...] = ()
    changed_when: tuple[Condition, ...] | None = None
    failed_when: tuple[Condition, ...] | None = None
    ignore_errors: Value | None = None
    no_log: Value | None = None
    notify: Value | None = None
    notify_position: Position | None = None
    expressions: tuple[Condition, ...] = ()
    vars: tuple[Written, ...] = ()
    include: Include | None = None
    facts_of_play: bool = False

    def __str__(self) -> str:
        return f"{self.position}: {self.module}"


@dataclass(frozen=True, eq=False)
class Play:
    """One play of a playbook. `basedir` is the folder of the playbook that was asked for (`playbook_dir`)."""

    name: str
    position: Position
    hosts: Value
    hosts_at: Position
    basedir: Path
    folder: Path
    tasks: tuple[Task, ...]
    handlers: tuple[Task, ...]
    vars: Written
    loader: Loader
    vars_files: tuple[Written | Value, ...]
    vars_files_at: tuple[Position, ...] = ()
    inherited: Inherited = field(default_factory=Inherited)
    gather_facts: bool = True
