"""What rpc.status found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tvmops.errors import RpcError, TvmopsError

if TYPE_CHECKING:
    from tvmops.rpc.gateway_files import GatewayState
    from tvmops.rpc.look import BoardLook


def row(look: BoardLook) -> dict[str, Any]:
    """A board as JSON. `problem` is empty when its server answers."""
    status = {"problem": str(look.status)} if isinstance(look.status, TvmopsError) else asdict(look.status)
    return {
        **status,
        "state": look.condition.word,
        "text": look.condition.text,
        "lease": asdict(look.lease) if look.lease else None,
        "gateway": look.gateway or None,
        "tracker": asdict(look.tracker) if look.tracker else None,
    }


def line(look: BoardLook) -> str:
    """A board for people: the word, where, which TVM, under which key, and why it is not free."""
    parts = [f"{look.condition.word:<17}"]
    if not isinstance(look.status, TvmopsError):
        parts[0] += f" port {look.status.port}"
        release = look.status.release
        if release is not None:
            parts.append(f"TVM {release.tvm}, release {release.key} ({release.stack})")
            if look.status.running_release and look.status.running_release != release.key:
                parts.append(f"but runs release {look.status.running_release}: restart it")
    if look.tracker is not None:
        parts.append(f"key {look.tracker.key} at {look.tracker.where}")
    if look.condition.text:
        parts.append(look.condition.text)
    return "; ".join(parts)


def tracker_lines(gateways: Sequence[GatewayState]) -> Iterator[str]:
    """The gateways, and what their trackers know."""
    from tvmops.rpc.look import tracker_keys

    for one in gateways:
        yield f"gateway '{one.name}': tracker {one.address}:{one.tracker_port}, process {one.pid}, up since {one.since}"
        try:
            for key in tracker_keys(one).values():
                servers = "1 server" if len(key.servers) == 1 else f"{len(key.servers)} servers"
                clients = "1 client waits" if key.waiting == 1 else f"{key.waiting} clients wait"
                yield f"  key {key.key:<14} {servers}, {key.free} free, {clients}"
        except RpcError as error:
            yield f"  {error.message}"


def complain(found: Mapping[str, BoardLook]) -> None:
    """Raises RpcError when boards cannot be used, naming each with its word."""
    from tvmops.rpc.condition import RESTART_HELPS, USABLE

    bad = {name: one.condition.word for name, one in found.items() if one.condition.word not in USABLE}
    if not bad:
        return
    restart = [name for name, word in bad.items() if word in RESTART_HELPS]
    named = ", ".join(f"{name} ({word})" for name, word in bad.items())
    raise RpcError(
        f"{len(bad)} of {len(found)} RPC servers cannot be used: {named}",
        f"tvmops rpc.restart --host {','.join(restart)}" if restart else "",
    )
