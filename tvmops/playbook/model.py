"""Plays and tasks as they were written, checked and prepared; the same objects serve every host."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tvmops.playbook.values import Condition, Value
from tvmops.playbook.variables import Layer, Written
from tvmops.source import Position

if TYPE_CHECKING:
    from tvmops.playbook.load import Loader

SETUP_NAME = "Gathering Facts"


@dataclass(frozen=True, eq=False)
class Role:
    """A role as one place uses it. `params`: what the use itself gives; `parents`: roles around it, outermost first.

    `use_vars`: the `vars:` of the use. `public`: its defaults and variables are seen by the play's other tasks, too.
    `once`: where `same` uses of the role follow each other, only the first that really runs a task is run.
    """

    name: str
    folder: Path
    position: Position
    defaults: Written
    vars: Written
    params: Written
    use_vars: Written = field(default_factory=lambda: Written({}))
    parents: tuple[Role, ...] = ()
    dependencies: tuple[Role, ...] = ()
    public: bool = True
    once: bool = False
    same: str = ""

    @cached_property
    def all_dependencies(self) -> tuple[Role, ...]:
        """Dependencies of dependencies first, each once for every way that leads to it."""
        return tuple(one for direct in self.dependencies for one in (*direct.all_dependencies, direct))

    @cached_property
    def default_layers(self) -> tuple[Written, ...]:
        """Defaults that its tasks see, strongest first: its own, those around it, its dependencies'."""
        around = (role.defaults for role in reversed(self.parents))
        return _with_values(self.defaults, *around, *self.exported_defaults[1:])

    @cached_property
    def exported_defaults(self) -> tuple[Written, ...]:
        """Defaults that the play sees of a public role, its own first (which may be empty)."""
        return (self.defaults, *(role.defaults for role in reversed(self.all_dependencies)))

    @cached_property
    def exported_vars(self) -> tuple[Written, ...]:
        """Variables that the play sees of a public role, strongest first."""
        return _with_values(self.vars, *(role.vars for role in reversed(self.all_dependencies)))

    @cached_property
    def variable_layers(self) -> tuple[Written, ...]:
        """Variables that its tasks see below their own, strongest first."""
        around = (layer for role in reversed(self.parents) for layer in (role.vars, role.use_vars))
        return _with_values(self.use_vars, self.vars, *self.exported_vars, *around)

    @cached_property
    def param_layers(self) -> tuple[Written, ...]:
        """What the uses give, strongest first."""
        return _with_values(self.params, *(role.params for role in reversed(self.parents)))


def _with_values(*layers: Written) -> tuple[Written, ...]:
    return tuple(dict.fromkeys(layer for layer in layers if layer.values))


@dataclass(frozen=True)
class Section:
    """One part of a block that a task is in: `kind` is tasks, rescue or always. The three parts share `block`."""

    block: int
    kind: str
    rescue: bool  # the block has tasks for rescue
    always: bool  # the block has tasks for always


@dataclass(frozen=True)
class LoopControl:
    """How a loop goes: names of its variables, what is shown of an item, seconds between items."""

    loop_var: str = "item"
    index_var: str | None = None
    label: Value | None = None
    pause: Value | None = None
    extended: bool = False
    extended_allitems: bool = True


@dataclass(frozen=True)
class Inherited:
    """What a task gets from the play, blocks, roles and imports around it. `path`: blocks, outermost first.

    `base`: the folder of the play's file. `within`: the folders of the files that include or import this one, as they
    were written, innermost first. `included_from`: the roles whose tasks bring in this one's role, innermost first.
    `handlers`: these are handlers. `group`: see Task.
    """

    path: tuple[Section, ...] = ()
    role: Role | None = None
    base: Path = Path()
    within: tuple[str, ...] = ()
    included_from: tuple[Role, ...] = ()
    handlers: bool = False
    group: int = 0
    notify: Value | None = None
    notify_position: Position | None = None
    delegate_to: Value | None = None
    delegate_facts: Value | None = None
    run_once: Value | None = None
    check_mode: Value | None = None
    diff: Value | None = None
    timeout: Value | None = None
    throttle: Value | None = None
    any_errors_fatal: Value | None = None
    ignore_unreachable: Value | None = None
    become: Value | None = None
    become_user: Value | None = None
    become_method: Value | None = None
    environment: tuple[Value, ...] = ()
    tags: frozenset[str] = frozenset()
    when: tuple[Condition, ...] = ()
    vars: tuple[Written, ...] = ()
    params: tuple[Layer, ...] = ()
    ignore_errors: Value | None = None
    no_log: Value | None = None


@dataclass(frozen=True, eq=False)
class Include:
    """`include_tasks`: the file's name, and what its tasks get from around the include.

    `include_role`: `role` is the name, `file` the file in its `tasks` folder (empty: main), `from_files` the other
    files by kind (vars, defaults, handlers). `once`: allow_duplicates is no.
    """

    file: Value
    inherited: Inherited
    role: Value | None = None
    from_files: tuple[tuple[str, Value], ...] = ()
    public: bool = False
    once: bool = False
    own_vars: Written = field(default_factory=lambda: Written({}))


@dataclass(frozen=True)
class Included:
    """What an include brings in: tasks, handlers for the rest of the play, and roles that count as the play's."""

    tasks: tuple[Task, ...] = ()
    handlers: tuple[Task, ...] = ()
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, eq=False)
class Task:
    """One task or handler. Value fields are worked out per host; `args` has the module's own argument names.

    `expressions` are what `assert: that` and `debug: var` evaluate. `path`: the blocks around it, outermost first.
    `implicit`: not written by the user (facts at a play's start, handlers between a play's parts). `group`: the same
    number for handlers that stand in one list; `named`: it was given a name.
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
    implicit: bool = False
    path: tuple[Section, ...] = ()
    role: Role | None = None
    loop_control: LoopControl = LoopControl()
    until: tuple[Condition, ...] | None = None
    retries: Value | None = None
    delay: Value | None = None
    listen: tuple[str, ...] = ()
    delegate_to: Value | None = None
    delegate_facts: Value | None = None
    run_once: Value | None = None
    check_mode: Value | None = None
    diff: Value | None = None
    timeout: Value | None = None
    throttle: Value | None = None
    async_seconds: Value | None = None
    poll: Value | None = None
    any_errors_fatal: Value | None = None
    ignore_unreachable: Value | None = None
    become_method: Value | None = None
    group: int = 0
    named: bool = True

    def __str__(self) -> str:
        return f"{self.position}: {self.module}"

    def full_title(self, title: str) -> str:
        """The title with the role's name before it, as Ansible shows tasks of roles."""
        return f"{self.role.name} : {title}" if self.role else title


@dataclass(frozen=True, eq=False)
class Play:
    """One play of a playbook. `basedir` is the folder of its playbook (`playbook_dir`), `folder` of its file: the same.

    `tasks` are pre_tasks, roles, tasks, post_tasks, in this order, with an implicit `meta: flush_handlers` after every
    part. `handlers`: those of `roles:`, the play's own, those of imported roles; of those with one name the last is
    notified. `roles`: all whose variables the play sees, weakest first. `serial`: one value per group of hosts.
    """

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
    roles: tuple[Role, ...] = ()
    serial: tuple[Value, ...] = ()
    max_fail_percentage: Value | None = None
    any_errors_fatal: Value | None = None
    force_handlers: Value | None = None
    strategy: str | None = None  # "linear" or "free"; None: each host at its own pace, which is free
    throttle: Value | None = None
    order: str | None = None
