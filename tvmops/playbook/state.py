"""What is known of one host while its playbook runs, and the scope its templates see."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.inventory.model import IMPLICIT_LOCALHOST, Host, Inventory
from tvmops.paths import user_path
from tvmops.playbook.faults import Pending, UndefinedFault
from tvmops.playbook.fields import merged
from tvmops.playbook.files import BlobStore, find_file
from tvmops.playbook.model import Play, Role, Task
from tvmops.playbook.progress import Place, Progress
from tvmops.playbook.role_scope import (
    about_role,
    exported_defaults,
    exported_vars,
    names_of_roles,
    params_of,
    search_folders,
)
from tvmops.playbook.together import Together
from tvmops.playbook.values import final
from tvmops.playbook.variables import AWAITED, Facts, HostVariables, Known, Layer, OtherHost, Results, Scope, Written
from tvmops.source import Map, load_yaml

ANSIBLE_VERSION = {
    "full": "2.19.0", "major": 2, "minor": 19, "revision": 0,
    "string": "2.19.0",
}  # fmt: skip


@dataclass(frozen=True)
class RunOptions:
    """What a run was asked for. `extra_vars` are the strongest variables; `forks` is how many hosts at once.

    `start_at`: the title of the task to begin with, or a pattern for it. `saved_facts`: those of every host, on paper.
    """

    limit: str | None = None
    tags: frozenset[str] = frozenset()
    skip_tags: frozenset[str] = frozenset()
    check: bool = False
    diff: bool = False
    extra_vars: Mapping[str, Any] = field(default_factory=dict)
    forks: int = 50
    become_password: str | None = field(default=None, repr=False)
    wait: float = 0.0
    steal: bool = False
    force_handlers: bool = False
    start_at: str | None = None
    explain: bool = False
    saved_facts: Mapping[str, Any] | None = None


class Shared:
    """What all hosts of a run have in common: inventory, options, blobs, and what is known of each host."""

    def __init__(
        self,
        inventory: Inventory,
        options: RunOptions,
        host_extra_vars: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.inventory = inventory
        self.options = options
        self.host_extra_vars = host_extra_vars or {}
        self.blobs = BlobStore()
        self.extra: Layer = Written(options.extra_vars)
        self.states: dict[str, HostState] = {}
        self.strangers: dict[str, Host] = {}
        self.progress = Progress()
        self.changing = threading.Lock()  # held while the inventory changes
        self.together = Together(self.progress)
        self.groups = {name: list(group.hosts) for name, group in inventory.groups.items()}
        # With --start-at-task: the number of the play, and of the task in it, to begin with.
        self.first_task: tuple[int, int] | None = None
        self.vars_files: dict[tuple[Path, str], Written] = {}

    def inventory_changed(self) -> None:
        """Hosts, groups or their variables are others now."""
        self.groups.clear()
        self.groups.update({name: list(group.hosts) for name, group in self.inventory.groups.items()})
        for state in list(self.states.values()):
            state.read_inventory()

    def host(self, name: str) -> Host:
        """A host by its name; one that the inventory does not have is reached under this name."""
        found = self.inventory.hosts.get(name) or self.strangers.get(name)
        if found is None:
            here = name in IMPLICIT_LOCALHOST
            found = self.inventory.select(name)[0] if here else Host(name, {"ansible_host": name})
            self.strangers[name] = found
        return found

    def state(self, host: Host) -> HostState:
        """The state of a host, made when it is first asked for."""
        if host.name not in self.states:
            self.states[host.name] = HostState(host, self)
        return self.states[host.name]


class HostState:
    """One host: inventory variables, facts, registered results. `item` layers and plays come on top of it."""

    def __init__(self, host: Host, shared: Shared) -> None:
        self.host = host
        self.shared = shared
        self.read_inventory()
        self.facts = Facts()
        self.results = Results()
        self.included = Written({})  # what include_vars has read
        self.local = str(host.vars.get("ansible_connection", "ssh")) == "local"
        self.reads_files = False
        self.planning = False
        # Where its run is, and whether the board has yet to do what comes before that.
        self.place: Place = ()
        self.unsettled = False

    def read_inventory(self) -> None:
        """Take the host's variables from the inventory."""
        given = {**self.host.vars, **self.shared.host_extra_vars.get(self.host.name, {})}
        self.inventory_vars = Written(given, self.host.origins)

    def shadow(self) -> HostState:
        """A copy to plan with: what it learns is not known for real."""
        copy = HostState(self.host, self.shared)
        copy.planning = True
        copy.inventory_vars = self.inventory_vars
        copy.facts.values = dict(self.facts.values)
        copy.results.values = dict(self.results.values)
        copy.results.unforeseen = set(self.results.unforeseen)
        copy.included = self.included
        return copy

    def remember(self, task: Task, facts: Mapping[str, Any]) -> None:
        """Variables that a task of the controller sets: those of include_vars are weaker than those of set_fact."""
        if task.module == "include_vars":
            self.included = Written(merged(self.included.values, facts))
        else:
            self.results.values.update(facts)

    def await_results(self, names: list[str]) -> None:
        """Until they are set, looking these names up means waiting for the board."""
        for name in names:
            self.results.values[name] = AWAITED

    def _of_host(self, name: str) -> Scope:
        """What `hostvars` shows of a host, without any play."""
        other = self.shared.state(self.shared.inventory.hosts[name])
        own = name == self.host.name
        known = self if own else other
        layers: list[Layer] = [
            Known(other.about()), self.shared.extra, known.results, known.included, known.facts, other.inventory_vars
        ]  # fmt: skip
        if own:
            return Scope(layers)
        return OtherHost(layers, other.inventory_vars, lambda: self._settle(name), self._watch(name))

    def _watch(self, name: str) -> Callable[[], bool]:
        pauses = itertools.chain((0.0,), itertools.repeat(0.05))
        return lambda: self.shared.progress.moves(name, next(pauses))

    def _settle(self, name: str) -> None:
        """Let another host come as far as this one is, as if hosts went through a play side by side."""
        if self.planning or self.unsettled:
            raise Pending(f"hostvars of {name}")
        self.shared.progress.wait_for([name], self.place)

    def about(self) -> dict[str, Any]:
        """The magic variables that need no play."""
        host, inventory = self.host, self.shared.inventory
        options = self.shared.options
        source = inventory.sources[0].absolute() if inventory.sources else Path.cwd()
        return {
            "inventory_hostname": host.name,
            "inventory_hostname_short": host.name.split(".")[0],
            "group_names": sorted(name for name in host.groups if name != "all"),
            "groups": self.shared.groups,
            "inventory_file": str(source),
            "inventory_dir": str(source if source.is_dir() else source.parent),
            "ansible_check_mode": options.check,
            "ansible_diff_mode": options.diff,
            "ansible_verbosity": 0,
            "ansible_forks": options.forks,
            "ansible_version": ANSIBLE_VERSION,
            "hostvars": HostVariables(inventory.hosts, self._of_host),
        }


class PlayScope:
    """The scopes of one play's tasks on one host."""

    def __init__(self, state: HostState, play: Play, hosts: list[str], batch: list[str] | None = None) -> None:
        self.state = state
        self.play = play
        batch = hosts if batch is None else batch
        about = state.about()
        about.update(
            playbook_dir=str(play.basedir), ansible_play_name=play.name, play_hosts=batch, ansible_play_batch=batch,
            ansible_play_hosts=hosts, ansible_play_hosts_all=hosts, ansible_config_file=None,
        )  # fmt: skip
        if state.shared.options.limit:
            about["ansible_limit"] = state.shared.options.limit
        run_tags, skip_tags = state.shared.options.tags, state.shared.options.skip_tags
        about.update(ansible_run_tags=sorted(run_tags) or ["all"], ansible_skip_tags=sorted(skip_tags))
        self._roles: tuple[Role, ...] = ()
        self._about = Known(about)
        self._files: list[Layer] | None = None
        self._vars_of_roles: list[Layer] = []
        self._defaults_of_roles: list[Layer] = []
        self.add_roles(play.roles)

    def hosts_left(self, hosts: Any, batch: Any) -> None:
        """The hosts of the play, and of the serial batch, that have not failed so far."""
        names = sorted(name for name in self.state.host.groups if name != "all")
        self._about.values.update(
            ansible_play_hosts=hosts, ansible_play_batch=batch, play_hosts=batch, group_names=names
        )

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles of the play so far, weakest first."""
        return self._roles

    @roles.setter
    def roles(self, roles: tuple[Role, ...]) -> None:
        self._roles = roles
        self._about.values.update(names_of_roles(roles))
        self._vars_of_roles = exported_vars(roles)
        self._defaults_of_roles = exported_defaults(roles)

    def add_roles(self, roles: Iterable[Role]) -> None:
        """From now on these are roles of the play: an include_role has been reached."""
        self.roles = (*self._roles, *roles)

    def base(self) -> Scope:
        """What the play itself sees, before any task."""
        return Scope([self._about, self.state.shared.extra, self.state.results, self.state.included, *self._below()])

    def _below(self, role: Role | None = None) -> list[Layer]:
        return [
            *(role.variable_layers if role else ()), *self._vars_of_roles, *self._vars_files(), self.play.vars,
            self.state.facts, self.state.inventory_vars, *(role.default_layers if role else ()),
            *self._defaults_of_roles,
        ]  # fmt: skip

    def _vars_files(self) -> list[Layer]:
        if self._files is not None:
            return self._files
        files: list[Layer] = []
        settled = True
        for item, at in zip(self.play.vars_files, self.play.vars_files_at, strict=True):
            if isinstance(item, Written):
                files.insert(0, item)
                continue
            below: list[Layer] = [*files, self.play.vars, self.state.facts, self.state.inventory_vars]
            try:
                name = final(item, Scope([self._about, self.state.shared.extra, *below]), at)
            except UndefinedFault as fault:
                if not self._needs_facts(fault):
                    raise
                settled = False
                continue
            files.insert(0, self._vars_file(str(name), str(at)))
        if settled:
            self._files = files
        return files

    def _needs_facts(self, fault: UndefinedFault) -> bool:
        """As in Ansible: until facts are gathered, a file whose name needs them is left out."""
        return not self.state.facts.values["ansible_facts"] and fault.problem.startswith(
            ("'ansible_", "the dictionary")
        )

    def _vars_file(self, name: str, at: str) -> Written:
        folder = self.play.folder
        path = find_file(name, "vars", [folder]) or folder / user_path(name)
        found = self.state.shared.vars_files.get((path, at))
        if found is None:
            data = load_yaml(path)
            if data is not None and not isinstance(data, Map):
                raise ConfigError(f"{path}:1:1: a file of variables is a mapping", f"named by {at}")
            found = self.state.shared.vars_files[path, at] = Written(data or {})
        return found

    def of(self, task: Task, local: dict[str, Any], learned: dict[str, Any], params: tuple[Layer, ...] = ()) -> Scope:
        """What a task sees. `local`: loop item; `learned`: set by earlier items; `params`: of includes around it."""
        search = [str(folder) for folder in search_folders(task, self.play)]
        above = Known({"ansible_search_path": search, **about_role(task), **local})
        scope = Scope(
            [
                above, self._about, self.state.shared.extra, *params, *params_of(task),
                Known(learned), self.state.results, self.state.included, *task.vars, *self._below(task.role),
            ]
        )  # fmt: skip
        above.values["vars"] = scope
        return scope
