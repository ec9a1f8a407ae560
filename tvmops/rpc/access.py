"""A sweep's way to a board's RPC server: matching versions, a living server, one tunnel kept open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvmops.connection import Connection
from tvmops.rpc.board import ServerPlace
from tvmops.rpc.server import BoardServer, OnProgress, quiet
from tvmops.rpc.tracked import TrackedDoor
from tvmops.rpc.versions import Release, check_release, current_release


@dataclass(frozen=True)
class Endpoint:
    """Where, on this machine, a board's RPC server can be reached, which TVM it runs, and what to ask for."""

    host: str
    port: int
    tvm_version: str
    key: str = ""


class BoardRpc:
    """The RPC server of one board, for as long as a sweep lasts. A new connection makes a new tunnel."""

    def __init__(self, version_of: Callable[[str], str], on_progress: OnProgress = quiet) -> None:
        """`version_of` gives a stack's TVM version by the stack's name."""
        self.restarts = 0
        self._version_of = version_of
        self._on_progress = on_progress
        self._server: BoardServer | None = None
        self._door: TrackedDoor | None = None

    def open(self, connection: Connection, stack: str) -> Endpoint:
        """A server that has just answered a handshake and carries `stack`'s runtime; started when it is down.

        Raises RpcError (also when runtime and compiler differ), BecomeError, HostUnreachable.
        """
        server = self._of(connection)
        release = self.check(connection, stack)
        before = server.restarts
        port = server.ensure()
        self.restarts += server.restarts - before
        if server.place.tracker:
            port = self._door_of(server).port
        return Endpoint("127.0.0.1", port, release.tvm, server.place.key)

    def check(self, connection: Connection, stack: str) -> Release:
        """The board's current release. Raises RpcError unless it is of the TVM that `stack` compiles with."""
        release = current_release(connection, ServerPlace.of(connection.host))
        check_release(connection.host.name, release, stack, self._version_of(stack))
        return release

    def restore(self, connection: Connection, stack: str) -> None:
        """After a job that failed by RPC: restart the server if it is dead. Raises RpcError and kin."""
        self.open(connection, stack)

    def close(self) -> None:
        """Close the tunnel."""
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def _of(self, connection: Connection) -> BoardServer:
        if self._server is None or self._server.connection is not connection:
            self.close()
            self._server = BoardServer(connection, self._on_progress)
        return self._server

    def _door_of(self, server: BoardServer) -> TrackedDoor:
        """The way through the board's tracker, which serves no other clients."""
        if self._door is None:
            self._door = TrackedDoor(server)
        else:
            self._door.check()
        return self._door
