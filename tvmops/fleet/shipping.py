"""Artifacts to boards: what each gets of them, which boards must wait, and the run of playbooks/ship.yml."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvmops.board_locks import holder, open_lock, sign, take
from tvmops.errors import StackError, TvmopsError
from tvmops.fleet.facts import gather
from tvmops.fleet.fleet import Listener
from tvmops.fleet.lost import Manners
from tvmops.fleet.recap import Recap
from tvmops.fleet.run import PlaybookRun
from tvmops.inventory.model import Host, Inventory
from tvmops.paths import find_project_file
from tvmops.playbook.events import RunEvent
from tvmops.playbook.load import load_playbooks
from tvmops.playbook.state import RunOptions
from tvmops.stack.artifact import Artifact
from tvmops.stack.board_shipping import board_variables

SHIP = "playbooks/ship.yml"
LIST = "playbooks/release-list.yml"
DEFAULT_PREFIX = "/opt/tvmops"
Say = Callable[[str], None]
Variables = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Manner:
    """How a fleet is switched: the first `canary` hosts ("2", "10%"), then `serial` at a time, until more than
    `max_fail` percent of those have failed. "" is no such limit; with canaries one that fails is then one too many."""

    canary: str = ""
    serial: str = ""
    max_fail: str = ""
    force: bool = False

    def variables(self) -> dict[str, Any]:
        """As playbooks/ship.yml wants it."""
        max_fail = self.max_fail or ("0" if self.canary else "")
        given = {
            "tvmops_ship_canary": self.canary or self.serial,
            "tvmops_ship_serial": self.serial,
            "tvmops_ship_max_fail": max_fail,
        }
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value}
        return {**chosen, "tvmops_release_force": True} if self.force else chosen


def ship(
    artifacts: Mapping[str, Artifact],
    inventory: Inventory,
    listeners: Sequence[Listener] = (),
    *,
    manner: Manner = Manner(),
    options: RunOptions | None = None,
    become_password: str | None = None,
    manners: Manners | None = None,
    say: Say = lambda _text: None,
) -> Recap:
    """Bring each host (by name) its artifact, switch to it, prove it, and take it back where it does not work.

    A host that is refused or whose release was taken back is a failed one in the recap. Raises ConfigError, StackError.
    """
    hosts = [inventory.hosts[name] for name in artifacts]
    given = options or RunOptions(become_password=become_password)
    with contextlib.ExitStack() as held:
        variables = ship_variables(hosts, lambda host, _facts: artifacts[host.name], manner, held, say)
        chosen = _limited(given, [host.name for host in hosts], manner.variables())
        prepared = PlaybookRun(load_playbooks([find_project_file(SHIP)]), inventory, chosen, variables, what="ship.yml")
        prepared.manners = manners or Manners()
        return prepared.run(list(listeners))


def ship_variables(
    hosts: Sequence[Host],
    choose: Callable[[Host, Mapping[str, Any]], Artifact],
    manner: Manner,
    held: contextlib.ExitStack,
    say: Say,
) -> Variables:
    """What playbooks/ship.yml wants for each host. Hosts that are fit for it are held in `held`, against sweeps.

    A host that does not get its artifact has `tvmops_release_problem`, which says why.
    """
    found: Variables = {}
    for name, facts in gather(hosts).items():
        host = next(one for one in hosts if one.name == name)
        try:
            if not isinstance(facts, dict):
                raise StackError(f"there are no facts about it: {facts.message}", facts.hint)
            artifact = choose(host, facts)
            found[name], text = board_variables(artifact, facts, elsewhere=own_prefix(host))
            if not manner.force:
                held.enter_context(board_held(name))
            say(f"{name}: {text}")
        except TvmopsError as error:
            found[name] = {"tvmops_release_problem": f"{error.message}; {error.hint}" if error.hint else error.message}
    return found


def hold(hosts: Sequence[Host], held: contextlib.ExitStack) -> Variables:
    """Keep sweeps off the hosts; for those where one is measuring, `tvmops_release_problem` says so."""
    found: Variables = {}
    for host in hosts:
        try:
            held.enter_context(board_held(host.name))
        except StackError as error:
            found[host.name] = {"tvmops_release_problem": f"{error.message}; {error.hint}"}
    return found


def own_prefix(host: Host) -> bool:
    """Whether the host's releases are elsewhere than where facts look for them."""
    return str(host.vars.get("tvmops_prefix") or DEFAULT_PREFIX).rstrip("/") != DEFAULT_PREFIX


@contextlib.contextmanager
def board_held(host: str) -> Iterator[None]:
    """Keep sweeps of this user off a board. Raises StackError naming the sweep that is measuring there."""
    with open_lock(host) as file:
        if not take(file, fcntl.LOCK_EX):
            raise StackError(f"{host} is held by {holder(file)}", "wait for it to end; --force ships all the same")
        sign(file, "shipping a release")
        yield
        file.truncate(0)


def list_releases(
    hosts: Sequence[Host], inventory: Inventory, become_password: str | None = None
) -> dict[str, dict[str, Any] | str]:
    """By host: {"current", "previous", "releases"} as playbooks/files/releases.py says it, or why that is not known."""
    options = _limited(RunOptions(become_password=become_password), [host.name for host in hosts], {})
    capture = _Capture()
    plays = load_playbooks([find_project_file(LIST)])
    recap = PlaybookRun(plays, inventory, options, what="release-list.yml").run([capture])
    found: dict[str, dict[str, Any] | str] = {}
    for host in hosts:
        text = capture.stdout.get(host.name)
        try:
            found[host.name] = json.loads(text) if text else recap.hosts[host.name].error or "nothing was said"
        except ValueError:
            found[host.name] = f"its answer is not JSON: {str(text)[:200]}"
    return found


class _Capture:
    """The output of the one task of a run, by host."""

    def __init__(self) -> None:
        self.stdout: dict[str, str] = {}

    def begin(self, hosts: list[str], totals: Mapping[str, int]) -> None:
        """Nothing to do."""

    def event(self, event: RunEvent) -> None:
        """Keep what the script printed."""
        if event.kind == "task" and event.module == "script" and event.status == "ok":
            self.stdout[event.host] = str((event.result or {}).get("stdout") or "")

    def end(self, recap: Recap) -> None:
        """Nothing to do."""


def _limited(options: RunOptions, names: Sequence[str], extra: Mapping[str, Any]) -> RunOptions:
    return replace(options, limit=",".join(names), extra_vars={**extra, **options.extra_vars})
