"""RPC servers on boards: the handshake that proves them alive, restarts, tunnels, versions."""

from tvmops.rpc.access import BoardRpc, Endpoint
from tvmops.rpc.handshake import Answer, handshake
from tvmops.rpc.server import BoardServer, ServerStatus, ensure_server
from tvmops.rpc.versions import Release, check_release, current_release

__all__ = [
    "Answer",
    "BoardRpc",
    "BoardServer",
    "Endpoint",
    "Release",
    "ServerStatus",
    "check_release",
    "current_release",
    "ensure_server",
    "handshake",
]
