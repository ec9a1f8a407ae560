"""A playbook on many hosts at once: loaded, planned, run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.fleet.fleet import Fleet, Listener, SessionsFactory
from tvmops.fleet.lost import Manners
from tvmops.fleet.recap import Recap
from tvmops.fleet.stages import assign, first_task, hosts_of_play, stages
from tvmops.inventory.model import Host, Inventory
from tvmops.playbook.load import load_playbooks
from tvmops.playbook.model import Play
from tvmops.playbook.plan import HostPlan
from tvmops.playbook.run import plan_host
from tvmops.playbook.state import RunOptions, Shared

__all__ = ["Listener", "PlaybookRun", "hosts_of_plays", "run_playbook"]


def hosts_of_plays(plays: Sequence[Play], inventory: Inventory, options: RunOptions) -> list[Host]:
    """All hosts that are known to take part before the run, each once. Raises ConfigError."""
    first = stages(plays, inventory, options)[0]
    found = {host.name: host for _, play in first.plays for host in hosts_of_play(play, inventory, options)}
    return list(found.values())


class PlaybookRun:
    """A playbook, loaded and planned: everything that can be refused has been, and no host has been touched."""

    def __init__(
        self,
        plays: Sequence[Play],
        inventory: Inventory,
        options: RunOptions,
        host_extra_vars: Mapping[str, Mapping[str, Any]] | None = None,
        what: str = "a playbook",
    ) -> None:
        """`what` is said to others who want the same boards. Raises ConfigError, ConfigErrors."""
        self.options = options
        self.what = what
        self.manners = Manners()  # what to do about boards that another run holds
        self.holds_this_machine = True  # False: runs that use it as a host go on side by side, and end with us
        self.shared = Shared(inventory, options, host_extra_vars)
        self.stages = stages(plays, inventory, options)
        if options.start_at is not None:
            self.shared.first_task = first_task(plays, options)
        self.hosts = {host.name: host for host in hosts_of_plays(plays, inventory, options)}
        self.plans: dict[str, HostPlan] = self.plan(0)
        problems: dict[str, ConfigError] = {}
        for plan in self.plans.values():
            for problem in plan.problems:
                problems.setdefault(problem.message, problem)
        if problems:
            found = list(problems.values())
            raise found[0] if len(found) == 1 else ConfigErrors(found)

    def plan(self, stage: int) -> dict[str, HostPlan]:
        """The plans of one stage's hosts. Raises ConfigError."""
        assigned = assign(self.stages[stage], self.shared, later=stage > 0)
        names = [name for name in self.hosts if name in assigned]
        names += [name for name in assigned if name not in self.hosts]
        return {name: plan_host(self.shared.state(self.shared.host(name)), assigned[name]) for name in names}

    def run(self, listeners: Sequence[Listener] = (), make_sessions: SessionsFactory | None = None) -> Recap:
        """Run on all hosts and tell the listeners. Ctrl-C ends it early; the recap says so."""
        return Fleet(self, list(listeners), make_sessions).run()


def run_playbook(
    paths: Sequence[str | Path],
    inventory: Inventory,
    options: RunOptions,
    listeners: Sequence[Listener] = (),
    host_extra_vars: Mapping[str, Mapping[str, Any]] | None = None,
) -> Recap:
    """Load, plan and run playbooks. Raises ConfigError before any host is touched when something is wrong with them."""
    what = ", ".join(Path(path).name for path in paths)
    return PlaybookRun(load_playbooks(paths), inventory, options, host_extra_vars, what).run(listeners)
