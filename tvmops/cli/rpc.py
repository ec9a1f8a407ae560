"""Commands about the RPC servers on boards: rpc.status, rpc.restart, rpc.stop."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load, select
from tvmops.errors import RpcError, TvmopsError

if TYPE_CHECKING:
    from tvmops.inventory.model import Host
    from tvmops.rpc import BoardServer, ServerStatus

FORKS = 32


@command(help={"host": HOST_HELP, "inventory": INVENTORY_HELP, "json_": "as JSON"})
def status(ctx: Any, host: str, inventory: str | None = None, json_: bool = False) -> None:
    """Do the RPC servers answer a handshake, who listens, and which runtime do they serve."""
    found = _each(select(load(inventory), host), lambda server: server.status())
    if json_:
        rows = [asdict(one) if not isinstance(one, TvmopsError) else {"problem": str(one)} for one in found.values()]
        print(json.dumps(dict(zip(found, rows, strict=True)), indent=1))
    else:
        for name, one in found.items():
            print(f"{name:<16} {_text(one)}")
    bad = [name for name, one in found.items() if isinstance(one, TvmopsError) or one.problem]
    if bad:
        raise RpcError(
            f"{len(bad)} of {len(found)} RPC servers do not answer: {', '.join(bad)}",
            f"tvmops rpc.restart --host {','.join(bad)}",
        )


@command(help={"host": HOST_HELP, "inventory": INVENTORY_HELP})
def restart(ctx: Any, host: str, inventory: str | None = None) -> None:
    """Restart the RPC servers and wait until they answer; running sessions are cut."""
    _report(_each(select(load(inventory), host), lambda server: server.restart()), "answers again")


@command(help={"host": HOST_HELP, "inventory": INVENTORY_HELP})
def stop(ctx: Any, host: str, inventory: str | None = None) -> None:
    """Stop the RPC servers and everything they started; where systemd owns them, until the next boot or restart."""
    _report(_each(select(load(inventory), host), lambda server: server.stop()), "stopped")


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


def _text(one: ServerStatus | TvmopsError) -> str:
    if isinstance(one, TvmopsError):
        return f"unknown: {one.message}"
    word = "DOWN" if one.problem else ("serving a client" if one.busy else "answers")
    parts = [f"{word:<17} port {one.port}"]
    if one.release is not None:
        parts.append(f"TVM {one.release.tvm}, release {one.release.key} ({one.release.stack})")
        if one.running_release and one.running_release != one.release.key:
            parts.append(f"but runs release {one.running_release}: restart it")
    if one.problem:
        parts.append(one.problem)
    return "; ".join(parts)


COMMANDS = [status, restart, stop]
