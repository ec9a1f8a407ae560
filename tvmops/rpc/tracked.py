"""A board whose server belongs to a tracker, for a client that wants this board and no other.

A tracker gives any server of a key. So a door on this machine asks the tracker for each client that comes, and goes
with the match key that it got to this very board, through ssh: a match key that was another board's is refused there.
The client connects to the door as to a server without a tracker.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from tvmops.connection import Connection
from tvmops.errors import RpcError
from tvmops.rpc.board import ServerPlace
from tvmops.rpc.greeting import accept, client_key, read_greeting
from tvmops.rpc.handshake import Answer, knock
from tvmops.rpc.pipe import carry
from tvmops.rpc.server import BoardServer
from tvmops.rpc.tracker import Address, TrackerPeer

REQUEST_SECONDS = 60.0  # for other clients of the tracker to be done with the board
OPEN_SECONDS = 10.0
REGISTER_SECONDS = 15.0  # for a server that has just been started: it tries its tracker every 5 s
PAUSE_SECONDS = 0.25
LONGEST_SESSION = 86400.0
LOOPBACK = ("127.", "localhost", "::1")


@contextlib.contextmanager
def tracker_address(connection: Connection, place: ServerPlace) -> Iterator[Address]:
    """Where the board's tracker is from here: what the board calls loopback is reached through the board.

    Raises RpcError.
    """
    host, _, port = place.tracker.rpartition(":")
    if not host or not port.isdigit():
        raise RpcError(f"{connection.host.name}: tvm_rpc_tracker: '{place.tracker}' is not ADDRESS:PORT")
    if not host.startswith(LOOPBACK):
        yield host, int(port)
        return
    with connection.forward(int(port)) as tunnel:
        yield "127.0.0.1", tunnel.port


class TrackedDoor:
    """A port of this machine that leads to one tracked board, one client at a time."""

    def __init__(self, server: BoardServer) -> None:
        """Raises RpcError when the tracker does not answer, does not know the board, or has others of its key."""
        self._server = server
        self._closing = contextlib.ExitStack()
        self._address = self._closing.enter_context(tracker_address(server.connection, server.place))
        self._wake, self._waker = socket.socketpair()
        self.problem = ""
        try:
            self.check()
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=4)
        except BaseException:
            self._closing.close()
            raise
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=f"door {server.name}", daemon=True).start()

    def check(self) -> None:
        """Raises RpcError when the tracker would not send a client to this board for sure."""
        key, name = self._server.place.key, self._server.name
        until = time.monotonic() + REGISTER_SECONDS
        while True:
            peer = TrackerPeer(self._address)
            try:
                found = peer.summary().get(key)
            finally:
                peer.close()
            if found is not None and found.servers:
                break
            if time.monotonic() > until:
                raise RpcError(
                    f"{name}: its tracker {self._server.place.tracker} has no server of the key '{key}'",
                    f"is the server up, with this key and tracker? tvmops rpc.status --host {name}",
                )
            time.sleep(PAUSE_SECONDS)
        if len(found.servers) > 1:
            raise RpcError(
                f"{name}: its tracker {self._server.place.tracker} has {len(found.servers)} servers of the key "
                f"'{key}', so that a measurement could be made on another board",
                "give the board a tvm_rpc_key of its own, or take tvm_rpc_tracker away and use rpc.up",
            )

    def close(self) -> None:
        """Stop listening and cut what runs through it."""
        self._waker.send(b".")
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._closing.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                try:
                    self._serve(client)
                    self.problem = ""
                except RpcError as error:
                    self.problem = error.message

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        greeting = read_greeting(client)
        peer = TrackerPeer(self._address)
        try:
            _, _, matchkey = peer.request(self._server.place.key, REQUEST_SECONDS)
            key = client_key(matchkey, greeting.seconds)
            board, answer, own = knock(self._server.port(), key=key, deadline=OPEN_SECONDS)
        finally:
            peer.close()
        with board:
            if answer is not Answer.ACCEPTED:
                raise RpcError(f"{self._server.name}: the tracker gave another board of its key")
            accept(client, own)
            carry(client, board, LONGEST_SESSION, self._wake)
