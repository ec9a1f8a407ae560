"""Commands about the RPC servers on boards: rpc.status, rpc.restart, rpc.stop. rpc_fleet.py has the others."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, chosen, command, load, select
from tvmops.cli.extra_vars import tell_hosts
from tvmops.cli.provision import HELP
from tvmops.cli.rpc_fleet import COMMANDS as FLEET_COMMANDS
from tvmops.cli.rpc_fleet import GROUP_HELP
from tvmops.cli.rpc_view import complain, line, row, tracker_lines
from tvmops.errors import RpcError, TvmopsError

if TYPE_CHECKING:
    from tvmops.inventory.model import Host
    from tvmops.rpc import BoardServer
    from tvmops.rpc.gateway_files import GatewayState
    from tvmops.rpc.look import BoardLook

FORKS = 32


@command(
    iterable=["extra_vars"],
    help={
        "host": HOST_HELP,
        "group": GROUP_HELP,
        "inventory": INVENTORY_HELP,
        "key": "also fail when no tracker of these boards knows this key",
        "extra-vars": HELP["extra-vars"],
        "json_": "as JSON",
    },
)
def status(  # noqa: PLR0917
    ctx: Any,
    host: str = "",
    group: str = "",
    inventory: str | None = None,
    key: str = "",
    extra_vars: list[str] | None = None,
    json_: bool = False,
) -> None:
    """Each board in one word (free, busy, no server, unreachable ...), who holds it, its version; trackers and keys."""
    from tvmops.rpc import gateway_files as files

    hosts = select(load(inventory), chosen(host, group))
    tell_hosts(hosts, extra_vars)
    gateways = files.gateways()
    found = _looks(hosts, gateways)
    if json_:
        print(json.dumps({name: row(one) for name, one in found.items()}, indent=1))
    else:
        for name, one in found.items():
            print(f"{name:<16} {line(one)}")
        for text in tracker_lines([one for one in gateways if one.boards.keys() & found.keys()]):
            print(text)
    complain(found)
    if key:
        known = sorted({one.tracker.key for one in found.values() if one.tracker and one.tracker.summary})
        if key not in known:
            raise RpcError(
                f"unknown key '{key}': the trackers of these boards know {', '.join(known) or 'none'}",
                "tvmops rpc.up brings boards to a tracker",
            )


@command(help={"host": HOST_HELP, "inventory": INVENTORY_HELP})
def restart(ctx: Any, host: str, inventory: str | None = None) -> None:
    """Restart the RPC servers and wait until they answer; running sessions are cut."""
    _report(_each(select(load(inventory), host), lambda server: server.restart()), "answers again")


@command(help={"host": HOST_HELP, "inventory": INVENTORY_HELP})
def stop(ctx: Any, host: str, inventory: str | None = None) -> None:
    """Stop the RPC servers and everything they started; where systemd owns them, until the next boot or restart."""
    from tvmops.rpc import gateway_files as files

    hosts = select(load(inventory), host)
    for gateway in files.gateways():
        kept = [one.name for one in hosts if one.name in gateway.boards]
        if kept:
            raise RpcError(
                f"gateway '{gateway.name}' serves {', '.join(kept)} and would start what is stopped",
                f"end it first: tvmops rpc.down --group {gateway.name}",
            )
    _report(_each(hosts, lambda server: server.stop()), "stopped")


def _report(found: dict[str, Any], well: str) -> None:
    """A line for each host where it went well; raises the first error after the others were shown."""
    errors = [one for one in found.values() if isinstance(one, TvmopsError)]
    for name, one in found.items():
        if not isinstance(one, TvmopsError):
            print(f"{name:<16} {well}")
    for error in errors[1:]:
        print(f"tvmops: {error}", file=sys.stderr)
    if errors:
        raise errors[0]


def _each(hosts: Sequence[Host], action: Callable[[BoardServer], Any]) -> dict[str, Any]:
    """What `action` gave, or the error, by host name."""

    def one(host: Host) -> Any:
        from tvmops.connection import connect
        from tvmops.rpc import BoardServer

        try:
            connection = connect(host)
            try:
                server = BoardServer(connection)
                try:
                    return action(server)
                finally:
                    server.close()
            finally:
                connection.close()
        except TvmopsError as error:
            return error

    with ThreadPoolExecutor(max_workers=max(1, min(FORKS, len(hosts)))) as pool:
        return dict(zip((host.name for host in hosts), pool.map(one, hosts), strict=True))


def _looks(hosts: Sequence[Host], gateways: Sequence[GatewayState]) -> dict[str, BoardLook]:
    from tvmops.rpc.look import look_at
    from tvmops.stack import load_stack

    stacks = {str(host.vars["tvm_stack"]) for host in hosts if host.vars.get("tvm_stack")}
    versions = {name: load_stack(name).version for name in stacks}
    with ThreadPoolExecutor(max_workers=max(1, min(FORKS, len(hosts)))) as pool:
        looks = pool.map(lambda one: look_at(one, versions.get(str(one.vars.get("tvm_stack")), ""), gateways), hosts)
        return dict(zip((host.name for host in hosts), looks, strict=True))


COMMANDS = [status, restart, stop, *FLEET_COMMANDS]
