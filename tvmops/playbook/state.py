"""What is known of one host while its playbook runs, and the scope its templates see."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.inventory.model import Host, Inventory
from tvmops.paths import user_path
from tvmops.playbook.faults import Pending, UndefinedFault
from tvmops.playbook.files import BlobStore, find_file
from tvmops.playbook.model import Play, Task
from tvmops.playbook.progress import Place, Progress
from tvmops.playbook.values import final
from tvmops.playbook.variables import AWAITED, Facts, HostVariables, Known, Layer, OtherHost, Scope, Written
from tvmops.source import Map, load_yaml

ANSIBLE_VERSION = {
    "full": "2.19.0", "major": 2, "minor": 19, "revision": 0,
    "string": "2.19.0",
}  # fmt: skip


@dataclass(frozen=True)
class RunOptions:
    """What a run was asked for. `extra_vars` are the strongest variables; `forks` is how many hosts at once."""

    limit: str | None = None
    tags: frozenset[str] = frozenset()
    skip_tags: frozenset[str] = frozenset()
    check: bool = False
    diff: bool = False
    extra_vars: Mapping[str, Any] = field(default_factory=dict)
    forks: int = 50
    become_password: str | None = field(default=None, repr=False)


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
        self.progress = Progress()
        self.groups = {name: list(group.hosts) for name, group in inventory.groups.items()}
        self.vars_files: dict[tuple[Path, str], Written] = {}

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
        self.inventory_vars = Written({**host.vars, **shared.host_extra_vars.get(host.name, {})}, host.origins)
        self.facts = Facts()
        self.results = Known()
        self.local = str(host.vars.get("ansible_connection", "ssh")) == "local"
        self.reads_files = False
        self.planning = False
        # Where the run is, and whether the board has yet to do what comes before that.
        self.place: Place = (0, 0)
        self.unsettled = False

    def shadow(self) -> HostState:
        """A copy to plan with: what it learns is not known for real."""
        copy = HostState(self.host, self.shared)
        copy.planning = True
        copy.inventory_vars = self.inventory_vars
        copy.facts.values = dict(self.facts.values)
        copy.results.values = dict(self.results.values)
        return copy

    def await_results(self, names: list[str]) -> None:
        """Until they are set, looking these names up means waiting for the board."""
        for name in names:
            self.results.values[name] = AWAITED

    def _of_host(self, name: str) -> Scope:
        """What `hostvars` shows of a host, without any play."""
        other = self.shared.state(self.shared.inventory.hosts[name])
        own = name == self.host.name
        facts, results = (self.facts, self.results) if own else (other.facts, other.results)
        layers: list[Layer] = [Known(other.about()), self.shared.extra, results, facts, other.inventory_vars]
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
        self.shared.progress.wait_for(name, self.place)

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
            "hostvars": HostVariables(list(inventory.hosts), self._of_host),
        }


class PlayScope:
    """The scopes of one play's tasks on one host."""

    def __init__(self, state: HostState, play: Play, hosts: list[str]) -> None:
        self.state = state
        self.play = play
        about = state.about()
        about.update(
            playbook_dir=str(play.basedir), ansible_play_name=play.name, play_hosts=hosts, ansible_play_batch=hosts,
            ansible_play_hosts=hosts, ansible_play_hosts_all=hosts, ansible_config_file=None,
        )  # fmt: skip
        if state.shared.options.limit:
            about["ansible_limit"] = state.shared.options.limit
        run_tags, skip_tags = state.shared.options.tags, state.shared.options.skip_tags
        about.update(ansible_run_tags=sorted(run_tags) or ["all"], ansible_skip_tags=sorted(skip_tags))
        self._about = Known(about)
        self._files: list[Layer] | None = None

    def base(self) -> Scope:
        """What the play itself sees, before any task."""
        return Scope([self._about, self.state.shared.extra, self.state.results, *self._below()])

    def _below(self) -> list[Layer]:
        return [*self._vars_files(), self.play.vars, self.state.facts, self.state.inventory_vars]

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
        search = list(dict.fromkeys((str(task.folder), str(self.play.basedir))))
        above = Known({"ansible_search_path": search, **local})
        scope = Scope(
            [
                above, self._about, self.state.shared.extra, *params, *task.inherited.params,
                Known(learned), self.state.results, *task.vars, *self._below(),
            ]
        )  # fmt: skip
        above.values["vars"] = scope
        return scope
