"""A loopback port on this machine that leads to a loopback port of a host, through the ssh session."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

import paramiko
from paramiko.ssh_exception import ChannelException, SSHException

OPEN_TIMEOUT = 15.0  # seconds for the host to accept a connection
BACKLOG = 128
PIECE = 65536


class ChannelTunnel:
    """Listens on an ephemeral port; each connection gets a channel and two threads, one for each direction."""

    def __init__(self, name: str, transport: paramiko.Transport, remote_port: int) -> None:
        self.error: str | None = None
        self._name = name
        self._transport = transport
        self._remote_port = remote_port
        self._lock = threading.Lock()
        self._open: set[tuple[socket.socket, paramiko.Channel]] = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name=f"tunnel-{name}:{remote_port}", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening and cut what runs through it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            pairs = list(self._open)
        # Closing a listener does not wake a thread that waits in accept; shutting it down does.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in pairs:
            self._drop(pair)
        if self._acceptor is not threading.current_thread():
            self._acceptor.join(1.0)

    def __enter__(self) -> ChannelTunnel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, peer), daemon=True).start()

    def _serve(self, client: socket.socket, peer: tuple[str, int]) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            channel = self._transport.open_channel(
                "direct-tcpip", ("127.0.0.1", self._remote_port), peer, timeout=OPEN_TIMEOUT
            )
        except (SSHException, EOFError, OSError) as error:
            reason = error.text if isinstance(error, ChannelException) else str(error)
            self.error = f"{self._name}: nothing answers on port {self._remote_port} there ({reason or 'refused'})"
            # A reset, not an orderly end: the client must not take this for an empty answer.
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            return
        pair = (client, channel)
        with self._lock:
            if not self._closed:
                self._open.add(pair)
        if pair not in self._open:
            self._drop(pair)
            return
        back = threading.Thread(target=self._to_client, args=pair, daemon=True)
        back.start()
        self._to_host(client, channel)
        back.join()
        self._drop(pair)

    def _to_host(self, client: socket.socket, channel: paramiko.Channel) -> None:
        with contextlib.suppress(OSError, SSHException, EOFError):
            while data := client.recv(PIECE):
                channel.sendall(data)
        with contextlib.suppress(OSError, SSHException, EOFError):
            channel.shutdown_write()

    def _to_client(self, client: socket.socket, channel: paramiko.Channel) -> None:
        try:
            while data := channel.recv(PIECE):
                client.sendall(data)
        except (OSError, SSHException, EOFError):
            pass
        with contextlib.suppress(OSError):
            # When the channel is closed for good nothing can be sent there either: end both directions.
            client.shutdown(socket.SHUT_RDWR if channel.closed else socket.SHUT_WR)

    def _drop(self, pair: tuple[socket.socket, paramiko.Channel]) -> None:
        client, channel = pair
        with self._lock:
            self._open.discard(pair)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
        with contextlib.suppress(OSError, SSHException, EOFError):
            channel.close()
