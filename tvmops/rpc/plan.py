"""What a gateway is to do: its boards, their keys, its tracker. Made by rpc.up, handed to the gateway's process."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tvmops.errors import ConfigError
from tvmops.inventory.model import Host
from tvmops.rpc.board import WORD, ServerPlace

LISTEN = "tvm_rpc_listen"
LOOPBACK = "127.0.0.1"
DEFAULT_TRACKER_PORT = 9190
DEFAULT_SESSION_SECONDS = 3600.0


@dataclass(frozen=True)
class BoardPlan:
    """One board: the key that clients ask the tracker for, and the TVM that its stack says ("": none said)."""

    host: Host
    key: str
    stack: str = ""
    version: str = ""


@dataclass(frozen=True)
class GatewayPlan:
    """`listen` is this machine's address for clients; `tracker_host` has the tracker, None: this machine."""

    name: str
    boards: tuple[BoardPlan, ...]
    tracker_port: int
    session_seconds: float
    listen: str = LOOPBACK
    tracker_host: Host | None = None
    remote_tracker_port: int = DEFAULT_TRACKER_PORT

    def to_json(self) -> str:
        """For the gateway's process. Has passwords in it, so it goes through a pipe."""
        return json.dumps(asdict(self), default=str)

    @staticmethod
    def from_json(text: str) -> GatewayPlan:
        """The plan that to_json wrote."""
        found: dict[str, Any] = json.loads(text)
        boards = tuple(BoardPlan(**{**one, "host": _host(one["host"])}) for one in found["boards"])
        tracker_host = _host(found["tracker_host"]) if found["tracker_host"] else None
        return GatewayPlan(**{**found, "boards": boards, "tracker_host": tracker_host})


def make_plan(
    pattern: str,
    hosts: Sequence[Host],
    *,
    tracker_port: int,
    session_seconds: float,
    key_by: str = "",
    tracker_host: Host | None = None,
    version_of: Callable[[str], str],
) -> GatewayPlan:
    """The plan for these hosts; `version_of` gives a stack's TVM version. Raises ConfigError for what cannot be."""
    if not 0 < tracker_port < 65536:
        raise ConfigError(f"--tracker-port {tracker_port}: is no port number", "give a number from 1 to 65535")
    if not session_seconds > 0:
        raise ConfigError(f"--session-seconds {session_seconds:g}: wants a number of seconds above 0")
    boards = tuple(_board(host, key_by, version_of) for host in hosts)
    remote = int(tracker_host.vars.get("tvm_rpc_tracker_port", DEFAULT_TRACKER_PORT)) if tracker_host else 0
    return GatewayPlan(
        name=gateway_name(pattern),
        boards=boards,
        tracker_port=tracker_port,
        session_seconds=session_seconds,
        listen=_listen(hosts),
        tracker_host=tracker_host,
        remote_tracker_port=remote or DEFAULT_TRACKER_PORT,
    )


def gateway_name(pattern: str) -> str:
    """What the gateway of the hosts of `pattern` is called: the pattern, as far as it can be a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", pattern).lstrip(".") or "_"


def _board(host: Host, key_by: str, version_of: Callable[[str], str]) -> BoardPlan:
    place = ServerPlace.of(host)
    if place.tracker:
        raise ConfigError(
            f"{host.origins.get('tvm_rpc_tracker', host.name)}: tvm_rpc_tracker: the RPC server of {host.name} belongs "
            f"to the tracker {place.tracker} and serves no others",
            "take the variable away and run playbooks/rpc-server.yml; rpc.up registers the board for it",
        )
    if key_by and key_by not in host.vars:
        raise ConfigError(f"--key-by {key_by}: {host.name} has no such variable", f"see: inventory.show {host.name}")
    key = str(host.vars[key_by]) if key_by else place.key or host.name
    if not key or not WORD.fullmatch(key):
        where = host.origins.get(key_by, host.name)
        raise ConfigError(f"{where}: {key!r} cannot be the key of {host.name}", "letters, digits and _./+- make a key")
    stack = str(host.vars.get("tvm_stack") or "")
    return BoardPlan(host, key, stack, version_of(stack) if stack else "")


def _listen(hosts: Sequence[Host]) -> str:
    found = {str(host.vars.get(LISTEN) or LOOPBACK): host for host in hosts}
    if len(found) > 1:
        words = ", ".join(f"{host.name} {address}" for address, host in found.items())
        raise ConfigError(f"{LISTEN}: one gateway listens at one address, but: {words}", "give all boards the same")
    (address, host) = next(iter(found.items()))
    where = f"{host.origins.get(LISTEN, host.name)}: {LISTEN}: {address!r}"
    try:
        if ipaddress.IPv4Address(address).is_unspecified:
            raise ConfigError(f"{where}: clients are told this address", "name one address of this machine")
    except ipaddress.AddressValueError:
        raise ConfigError(f"{where}: is no IPv4 address", "name an address of this machine, as 192.168.1.2") from None
    return address


def _host(found: dict[str, Any]) -> Host:
    return Host(**{**found, "groups": tuple(found["groups"])})
