"""Commands about releases on boards: release.ship, release.list, release.switch, release.rollback, release.gc."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load, select
from tvmops.cli.provision import HELP, AnsibleFlags, asked_password, run
from tvmops.errors import ConfigError, StackError
from tvmops.paths import find_project_file

if TYPE_CHECKING:
    from tvmops.inventory.model import Host, Inventory
    from tvmops.stack.artifact import Artifact

SHIP = "playbooks/ship.yml"
SWITCH = "playbooks/release-switch.yml"
ROLLBACK = "playbooks/release-rollback.yml"
GC = "playbooks/release-gc.yml"
FORCE_HELP = "also where a measurement is running, or where the release was found broken before"
ONLY = (
    "host",
    "inventory",
    "check",
    "diff",
    "forks",
    "ask-become-pass",
    "timeout",
    "wait",
    "steal",
    "json_",
    "quiet",
    "warm",
)
OPTIONS: dict[str, Any] = {
    "klass": AnsibleFlags,
    "auto_shortflags": False,
    "optional": ["wait"],
    "iterable": ["extra_vars"],
}
RUN_HELP = {name: HELP[name] for name in ONLY}
# What run() reads and these commands do not offer.
NOT_OFFERED: Mapping[str, Any] = {
    "limit": "", "tags": "", "skip_tags": "", "list_hosts": False, "list_tasks": False,
    "list_tags": False, "syntax_check": False, "explain": False, "start_at_task": "", "force_handlers": False,
}  # fmt: skip


@command(
    **OPTIONS,
    help={
        "stack": "the stack to bring (default: each host's tvm_stack)",
        "key": "the artifact to bring, by its key",
        "store": "the store of artifacts (default: $TVMOPS_STORE, or the one of this machine)",
        "canary": "switch so many hosts first (2, or 10%); one that fails ends it, unless --max-fail allows",
        "serial": "switch so many hosts at a time (4, or 25%)",
        "max-fail": "go on until more than so many percent of the hosts at a time have failed",
        "force": FORCE_HELP,
        **RUN_HELP,
    },
)
def ship(  # noqa: PLR0917
    ctx: Any,
    host: str,
    stack: str = "",
    key: str = "",
    store: str = "",
    canary: str = "",
    serial: str = "",
    max_fail: str = "",
    force: bool = False,
    inventory: str | None = None,
    check: bool = False,
    diff: bool = False,
    forks: int = 50,
    ask_become_pass: bool = False,
    timeout: str = "",
    wait: str = "",
    steal: bool = False,
    json_: bool = False,
    quiet: bool = False,
    warm: bool | str = False,
    extra_vars: list[str] | None = None,
) -> None:
    """Bring a release to boards, switch to it, prove it, and go back where it does not work."""
    given = {**NOT_OFFERED, **locals()}
    from tvmops.fleet.shipping import Manner, ship_variables
    from tvmops.stack.shipping import find_artifact

    if stack and key:
        raise ConfigError("--stack and --key both say what to bring", "give one of them")
    manner = Manner(_share("--canary", canary), _share("--serial", serial), _percent(max_fail), force)
    artifact = find_artifact(_key(key), store or None) if key else None

    def choose(one: Host, facts: Mapping[str, Any]) -> Artifact:
        return artifact or _stack_artifact(one, facts, stack, store)

    def say(text: str) -> None:
        if not (json_ or quiet):
            print(text, file=sys.stderr)

    with ExitStack() as held:

        def prepare(_inventory: Inventory, hosts: Sequence[Host], _options: Any) -> Mapping[str, Mapping[str, Any]]:
            return ship_variables(hosts, choose, manner, held, say)

        run(find_project_file(SHIP), _with(given, manner.variables()), prepare)


@command(
    name="list",
    help={
        "host": HOST_HELP,
        "inventory": INVENTORY_HELP,
        "json_": "as JSON",
        "ask-become-pass": "ask for the sudo password",
    },
)
def list_(
    ctx: Any, host: str, inventory: str | None = None, json_: bool = False, ask_become_pass: bool = False
) -> None:
    """The releases on boards: what they are, how large, which is current, previous or broken."""
    from tvmops.fleet.shipping import list_releases

    loaded = load(inventory)
    found = list_releases(select(loaded, host), loaded, asked_password() if ask_become_pass else None)
    if json_:
        print(
            json.dumps(
                {name: {"problem": one} if isinstance(one, str) else one for name, one in found.items()}, indent=1
            )
        )
    else:
        for name, one in found.items():
            print("\n".join(_listed(name, one)))
    bad = [name for name, one in found.items() if isinstance(one, str)]
    if bad:
        raise StackError(f"{len(bad)} of {len(found)} hosts did not say what they have: {', '.join(bad)}")


@command(**OPTIONS, help={"key": "the release to switch to, as release.list shows it", "force": FORCE_HELP, **RUN_HELP})
def switch(  # noqa: PLR0917
    ctx: Any,
    host: str,
    key: str,
    force: bool = False,
    inventory: str | None = None,
    check: bool = False,
    diff: bool = False,
    forks: int = 50,
    ask_become_pass: bool = False,
    timeout: str = "",
    wait: str = "",
    steal: bool = False,
    json_: bool = False,
    quiet: bool = False,
    warm: bool | str = False,
    extra_vars: list[str] | None = None,
) -> None:
    """Switch boards to a release that they have, prove it, and go back where it does not work."""
    given = {**NOT_OFFERED, **locals()}
    _run_held(SWITCH, given, {"tvmops_release_key": _key(key)}, force)


@command(**OPTIONS, help={"force": FORCE_HELP, **RUN_HELP})
def rollback(  # noqa: PLR0917
    ctx: Any,
    host: str,
    force: bool = False,
    inventory: str | None = None,
    check: bool = False,
    diff: bool = False,
    forks: int = 50,
    ask_become_pass: bool = False,
    timeout: str = "",
    wait: str = "",
    steal: bool = False,
    json_: bool = False,
    quiet: bool = False,
    warm: bool | str = False,
    extra_vars: list[str] | None = None,
) -> None:
    """Go back to the release that was current before. A second time it changes nothing."""
    given = {**NOT_OFFERED, **locals()}
    _run_held(ROLLBACK, given, {}, force)


@command(**OPTIONS, help={"keep": "how many releases to keep, the newest", **RUN_HELP})
def gc(  # noqa: PLR0917
    ctx: Any,
    host: str,
    keep: int = 3,
    inventory: str | None = None,
    check: bool = False,
    diff: bool = False,
    forks: int = 50,
    ask_become_pass: bool = False,
    timeout: str = "",
    wait: str = "",
    steal: bool = False,
    json_: bool = False,
    quiet: bool = False,
    warm: bool | str = False,
    extra_vars: list[str] | None = None,
) -> None:
    """Remove old releases and left-overs of broken-off shipments; never what is current, was before, or is used."""
    given = {**NOT_OFFERED, **locals()}
    if keep < 1:
        raise ConfigError(f"--keep {keep}: wants a number of releases, at least 1")
    run(find_project_file(GC), _with(given, {"tvmops_release_keep": keep}))


def _run_held(playbook: str, given: dict[str, Any], variables: dict[str, Any], force: bool) -> None:
    """Run a playbook on boards that are held against sweeps."""
    from tvmops.fleet.shipping import hold

    with ExitStack() as held:

        def prepare(_inventory: Inventory, hosts: Sequence[Host], _options: Any) -> Mapping[str, Mapping[str, Any]]:
            return {} if force else hold(hosts, held)

        forced = {"tvmops_release_force": True} if force else {}
        run(find_project_file(playbook), _with(given, {**variables, **forced}), prepare)


def _stack_artifact(host: Host, facts: Mapping[str, Any], stack: str, store: str) -> Artifact:
    """The artifact of the host's stack for its ABI: made from wheels, or found in the store. Raises StackError."""
    from tvmops.stack import load_stack, release_variables
    from tvmops.stack.board import stored_for
    from tvmops.stack.shipping import find_artifact
    from tvmops.stack.spec import stack_name

    chosen = load_stack(stack_name(host.vars, stack))
    if chosen.is_built:
        return stored_for(chosen, facts, store or None, host.vars)
    found = release_variables(chosen, facts, baseline=False, store=store or None)
    return find_artifact(found["tvmops_release_key"], store or None)


def _with(given: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command with these extra variables, which those of the command line override."""
    return {**given, "extra_vars": [json.dumps(variables), *(given["extra_vars"] or [])]}


def _key(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{16}", text):
        raise ConfigError(f"--key {text}: is no key", "keys have 16 digits from 0 to f; see: tvmops release.list")
    return text


def _share(option: str, text: str) -> str:
    if text and not (re.fullmatch(r"[1-9]\d*|[1-9]\d?%|100%", text)):
        raise ConfigError(f"{option} {text}: wants a number of hosts, or a percentage such as 10%")
    return text


def _percent(text: str) -> str:
    number = text.removesuffix("%")
    if text and not (number.isdigit() and int(number) <= 100):
        raise ConfigError(f"--max-fail {text}: wants a percentage from 0 to 100")
    return number


def _listed(name: str, found: dict[str, Any] | str) -> list[str]:
    if isinstance(found, str):
        return [f"{name}: {found}"]
    if not found["releases"]:
        return [f"{name}: no releases"]
    lines = [name]
    for one in found["releases"]:
        marks = [word for word in ("current", "previous") if one[word]]
        marks += ["in use"] if one["in_use"] and not one["current"] else []
        marks += [] if one["complete"] else ["not complete"]
        marks += [f"broken: {one['bad']}"] if one["bad"] else []
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one["switched"])) if one["switched"] else "never current"
        about = f"{one['stack'] or '?'}, TVM {one['tvm'] or '?'}"
        sizes = f"{one['size'] / 1e6:.1f} MB ({one['own'] / 1e6:.1f} of its own)"
        lines.append(f"  {one['key']}  {about}  {sizes}  {when}  {', '.join(marks)}".rstrip())
    return lines


COMMANDS = [ship, list_, switch, rollback, gc]
