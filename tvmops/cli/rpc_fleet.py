"""Commands that put a fleet's boards behind one RPC tracker: rpc.up, rpc.down, rpc.leases."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, chosen, command, load, select
from tvmops.cli.extra_vars import tell_hosts
from tvmops.cli.provision import HELP, AnsibleFlags, asked_password, run
from tvmops.errors import ConfigError, RpcError
from tvmops.paths import find_project_file

if TYPE_CHECKING:
    from tvmops.inventory.model import Host, Inventory
    from tvmops.rpc.gateway_files import GatewayState
    from tvmops.rpc.plan import GatewayPlan

TRACKER = "playbooks/rpc-tracker.yml"
GROUP_HELP = "the same as --host, for a group's name"
SETTLE_SECONDS = 180.0
# What run() reads and rpc.up does not offer.
RUN_DEFAULTS: dict[str, Any] = {
    "limit": "", "tags": "", "skip_tags": "", "check": False, "diff": False, "forks": 1, "list_hosts": False,
    "list_tasks": False, "list_tags": False, "syntax_check": False, "explain": False, "start_at_task": "",
    "force_handlers": False, "timeout": "", "wait": "", "steal": False, "json_": False, "quiet": True, "warm": False,
}  # fmt: skip


@command(
    klass=AnsibleFlags,
    auto_shortflags=False,
    iterable=["extra_vars"],
    help={
        "host": HOST_HELP,
        "group": GROUP_HELP,
        "inventory": INVENTORY_HELP,
        "tracker-port": "the tracker's port on this machine",
        "tracker-host": "the host that has the tracker (default: this machine); gets it by " + TRACKER,
        "key-by": "the host variable with the key that clients ask for (default: tvm_rpc_key, else the host's name)",
        "session-seconds": "how long a client may have a board at most",
        "extra-vars": HELP["extra-vars"],
        "ask-become-pass": HELP["ask-become-pass"],
    },
)
def up(  # noqa: PLR0917
    ctx: Any,
    host: str = "",
    group: str = "",
    inventory: str | None = None,
    tracker_port: int = 9190,
    tracker_host: str = "",
    key_by: str = "",
    session_seconds: int = 3600,
    extra_vars: list[str] | None = None,
    ask_become_pass: bool = False,
) -> None:
    """Start a tracker and put boards behind it: their servers are woken, offered by key, given to one client a time."""
    from tvmops.rpc.plan import make_plan
    from tvmops.stack import load_stack

    pattern = chosen(host, group)
    loaded = load(inventory)
    hosts = select(loaded, pattern)
    password = asked_password() if ask_become_pass else None
    far = _one(loaded, tracker_host) if tracker_host else None
    everyone = [*hosts, *([far] if far else [])]
    tell_hosts(everyone, extra_vars)
    if password is not None:
        for one in everyone:
            one.vars["ansible_become_password"] = password
    plan = make_plan(
        pattern,
        hosts,
        tracker_port=tracker_port,
        session_seconds=session_seconds,
        key_by=key_by,
        tracker_host=far,
        version_of=lambda name: load_stack(name).version,
    )
    if far is not None:
        given = {**RUN_DEFAULTS, "host": far.name, "inventory": inventory, "extra_vars": extra_vars}
        run(find_project_file(TRACKER), {**given, "ask_become_pass": False})
    _bring_up(plan)


def _bring_up(plan: GatewayPlan) -> None:
    from tvmops.rpc import gateway_files as files
    from tvmops.rpc.condition import USABLE
    from tvmops.rpc.up import bring_up, take_down, wait_until_settled

    state, new = bring_up(plan)
    print(f"{_where(state)}{'' if new else f', up since {state.since}'}")
    try:
        state = wait_until_settled(plan.name, SETTLE_SECONDS, lambda name, one: print(_board(name, one), flush=True))
    except KeyboardInterrupt:
        if new:
            take_down(state)
        raise
    bad = [name for name, one in state.boards.items() if one["state"] not in USABLE]
    if bad:
        raise RpcError(
            f"{len(bad)} of {len(state.boards)} boards are not served: {', '.join(bad)}; they are tried again as long "
            "as the gateway is up",
            f"tvmops rpc.status --host {','.join(bad)}; log: {files.log_path(plan.name)}",
        )


def _one(inventory: Inventory, name: str) -> Host:
    found = inventory.select(name)
    if len(found) != 1:
        raise ConfigError(f"--tracker-host {name}: {len(found)} hosts, but one has the tracker", "name one host")
    return found[0]


@command(help={"host": "the pattern that rpc.up was given (default: all gateways)", "group": GROUP_HELP})
def down(ctx: Any, host: str = "", group: str = "") -> None:
    """End gateways: running sessions are cut, leases returned. The servers on the boards stay up."""
    from tvmops.rpc import gateway_files as files
    from tvmops.rpc.plan import gateway_name
    from tvmops.rpc.up import take_down

    pattern = chosen(host, group)
    found = files.gateways()
    wanted = [one for one in found if not pattern or one.name == gateway_name(pattern)]
    if not wanted:
        others = f"; up: {', '.join(one.name for one in found)}" if found else ""
        print(f"no gateway {f'for {pattern} ' if pattern else ''}is up{others}")
    for state in wanted:
        from tvmops.board_locks import lease_of

        cut = [f"{name} ({lease})" for name in state.boards if (lease := lease_of(name)) and "RPC" in lease.purpose]
        take_down(state)
        print(f"stopped: {_where(state)}")
        for one in cut:
            print(f"  session cut: {one}")
        print(f"  no longer served: {', '.join(state.boards)} (their servers are up: tvmops rpc.stop)")


@command(help={"json_": "as JSON"})
def leases(ctx: Any, json_: bool = False) -> None:
    """Who holds which boards on this machine: sweeps, shipments, RPC sessions; since when, and until when."""
    from tvmops.board_locks import leases as held

    found = held()
    if json_:
        print(json.dumps([asdict(one) for one in found], indent=1))
        return
    for one in found:
        print(f"{one.host:<16} {one}")
    if not found:
        print("no board is held", file=sys.stderr)


def _where(state: GatewayState) -> str:
    on = f" (the tracker of {state.tracker['host']})" if state.tracker["host"] else ""
    return f"gateway '{state.name}': tracker {state.address}:{state.tracker_port}{on}, process {state.pid}"


def _board(name: str, one: dict[str, Any]) -> str:
    text = f"; {one['text']}" if one["text"] else ""
    return f"{name:<16} {one['state']:<17} key {one['key']}{text}"


COMMANDS = [up, down, leases]
