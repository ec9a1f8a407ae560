"""Looking at one board's RPC server from everywhere: the board itself, its lease, its gateway, its tracker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvmops.board_locks import Lease, lease_of
from tvmops.connection import connect
from tvmops.errors import RpcError, TvmopsError
from tvmops.inventory.model import Host
from tvmops.rpc import gateway_files as files
from tvmops.rpc.board import ServerPlace
from tvmops.rpc.condition import BUSY, FREE, Condition, Expected, TrackerView, condition_of
from tvmops.rpc.gateway_files import GatewayState
from tvmops.rpc.handshake import handshake
from tvmops.rpc.server import BoardServer, ServerStatus
from tvmops.rpc.tracked import tracker_address
from tvmops.rpc.tracker import Address, KeySummary, TrackerPeer

GATEWAY_SECONDS = 10.0  # it may be looking at the board meanwhile, through ssh


@dataclass(frozen=True)
class BoardLook:
    """All that was found."""

    status: ServerStatus | TvmopsError
    condition: Condition
    lease: Lease | None
    tracker: TrackerView | None
    gateway: str


def look_at(host: Host, version: str, gateways: Sequence[GatewayState]) -> BoardLook:
    """How the board's server is, without disturbing it; `version` is the TVM of its stack. Raises ConfigError."""
    place = ServerPlace.of(host)
    expected = Expected(place.key, str(host.vars.get("tvm_stack") or ""), version)
    gateway = next((one for one in gateways if host.name in one.boards), None)
    view = _through_gateway(gateway, host.name) if gateway else None
    status: ServerStatus | TvmopsError
    try:
        connection = connect(host)
        server = BoardServer(connection)
        try:
            status = server.status()
            if view is None and place.tracker:
                view = _own_tracker(server)
        finally:
            server.close()
            connection.close()
    except TvmopsError as error:
        status = error
    lease = lease_of(host.name)
    found = condition_of(status, expected, lease, view)
    return BoardLook(status, found, lease, view, gateway.name if gateway else "")


def tracker_keys(gateway: GatewayState) -> dict[str, KeySummary]:
    """What the gateway's tracker knows. Raises RpcError."""
    return _summary((gateway.address, gateway.tracker_port))


def _summary(address: Address) -> dict[str, KeySummary]:
    peer = TrackerPeer(address)
    try:
        return peer.summary()
    finally:
        peer.close()


def _through_gateway(gateway: GatewayState, name: str) -> TrackerView:
    board = gateway.boards[name]
    where = f"the tracker {gateway.address}:{gateway.tracker_port}"
    try:
        summary = tracker_keys(gateway).get(board["key"])
    except RpcError as error:
        return TrackerView(where, board["key"], problem=error.message)
    entry = (gateway.address, board["port"])
    has_board = summary is not None and entry in summary.servers
    problem = _port_problem(gateway, name) if has_board and board["state"] == FREE else ""
    return TrackerView(where, board["key"], summary, has_board, port_problem=problem)


def _port_problem(gateway: GatewayState, name: str) -> str:
    """Why the gateway's port for this board does not answer; empty when it does, or serves a client now."""
    try:
        handshake(gateway.boards[name]["port"], host=gateway.address, deadline=GATEWAY_SECONDS)
    except RpcError as error:
        again = files.gateway(gateway.name)
        busy = again is not None and again.boards[name]["state"] == BUSY
        return "" if busy else f"the gateway's {error.message}"
    return ""


def _own_tracker(server: BoardServer) -> TrackerView:
    where = f"the tracker {server.place.tracker}"
    try:
        with tracker_address(server.connection, server.place) as address:
            summary = _summary(address).get(server.place.key)
    except RpcError as error:
        return TrackerView(where, server.place.key, problem=error.message)
    return TrackerView(where, server.place.key, summary, summary is not None and bool(summary.servers))
