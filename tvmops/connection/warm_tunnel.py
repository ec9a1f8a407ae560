"""Tunnels through the keeper of warm connections: each TCP connection is a raw Unix connection to it."""

from __future__ import annotations

import select
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmops.connection.base import Deadline

if TYPE_CHECKING:
    from tvmops.connection.tunnel import ChannelTunnel


class WarmTunnels:
    """All tunnels of one connection."""

    def __init__(self, name: str, path: Path, lease: int) -> None:
        self._name = name
        self._way = _Way(path, lease)
        self._lock = threading.Lock()
        self._tunnels: list[ChannelTunnel] = []

    def open(self, port: int) -> ChannelTunnel:
        """A tunnel to 127.0.0.1:`port` on the host."""
        from tvmops.connection.tunnel import ChannelTunnel

        way: Any = self._way  # open_channel is all that a tunnel wants of a transport
        tunnel = ChannelTunnel(self._name, way, port)
        with self._lock:
            self._tunnels.append(tunnel)
        return tunnel

    def close(self) -> None:
        """End them all."""
        with self._lock:
            tunnels, self._tunnels = self._tunnels, []
        for tunnel in tunnels:
            tunnel.close()


class _Way:
    """Opens channels as a Paramiko transport does."""

    def __init__(self, path: Path, lease: int) -> None:
        self._path = path
        self._lease = lease

    def open_channel(self, kind: str, target: tuple[str, int], peer: Any, timeout: float) -> _Channel:  # noqa: ARG002
        """A channel to the target. Raises SSHException, OSError."""
        from paramiko.ssh_exception import SSHException

        from tvmops.connection.warm_reach import ask

        request = {"op": "tunnel", "lease": self._lease, "port": target[1], "timeout": timeout}
        connection, answer = ask(self._path, request, Deadline(timeout + 1.0))
        if "error" in answer:
            connection.close()
            raise SSHException(str(answer.get("message", "")))
        return _Channel(connection)


class _Channel:
    """A connected socket with the names that a Paramiko channel has."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.recv = connection.recv
        self.sendall = connection.sendall

    @property
    def closed(self) -> bool:
        """Whether the keeper, or another thread here, has closed both directions."""
        descriptor = self._connection.fileno()
        if descriptor < 0:
            return True
        poll = select.poll()
        poll.register(descriptor, 0)
        return bool(poll.poll(0))

    def shutdown_write(self) -> None:
        """Nothing more will be sent."""
        self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Wakes whoever waits in recv, too."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        finally:
            self._connection.close()
