"""A gateway's tracker: a process beside it, or one on a named host that is reached through ssh."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tvmops.connection import Connection, Tunnel, connect
from tvmops.errors import RpcError, TvmopsError
from tvmops.inventory.model import Host
from tvmops.paths import project_root
from tvmops.rpc.pipe import carry
from tvmops.rpc.tracker import Address, TrackerPeer

PROGRAM = Path("playbooks/files/lean/rpc_tracker.py")
START_SECONDS = 15.0
PERIOD = 2.0  # seconds between looks at it
FOREVER = 1e9  # seconds


class GatewayTracker(Protocol):
    """Where boards register. Kept up by a thread of its own until stopped."""

    problem: str

    def address(self) -> Address | None:
        """Where it is at this moment; None when it is away."""

    def stop(self) -> None:
        """End it, or the way to it."""


class TrackerBeside:
    """A process that ends with this one, however this one ends; started again should it end alone."""

    def __init__(self, listen: str, port: int, log: Callable[[str], None]) -> None:
        """Starts it. Raises RpcError when it cannot begin, naming why."""
        self.problem = ""
        self._address, self._say = (listen, port), log
        self._stopping = threading.Event()
        self._process = self._started()
        threading.Thread(target=self._watch, name="tracker", daemon=True).start()

    def address(self) -> Address | None:
        """Its address, also in the moment in which it is started again."""
        return self._address

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self._process.kill()
        self._process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        host, port = self._address
        argv = [sys.executable, "-I", str(project_root() / PROGRAM), "--host", host, "--port", str(port)]
        # Its input is a pipe from here: it ends when this process does.
        process = subprocess.Popen([*argv, "--with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=2)
        assert process.stdout is not None
        ready = select.poll()
        ready.register(process.stdout, select.POLLIN)
        if ready.poll(START_SECONDS * 1000) and b"waits on" in process.stdout.readline():
            return process
        process.kill()
        process.wait()
        raise RpcError(
            f"the RPC tracker cannot listen on {host} port {port}",
            "another program has the port, or the address is not this machine's: choose another --tracker-port",
        )

    def _watch(self) -> None:
        while not self._stopping.is_set():
            assert self._process.stdout is not None
            for line in self._process.stdout:
                self._say(f"tracker: {line.decode('utf-8', 'replace').rstrip()}")
            status = self._process.wait()
            if self._stopping.wait(1.0):
                return
            if not self.problem:
                self._say(f"the tracker ended ({status}); starting it again")
            try:
                self._process = self._started()
                self.problem = ""
                self._say("the tracker is up again")
            except RpcError as error:
                self.problem = error.message


class TrackerElsewhere:
    """The tracker of a named host. This machine's port leads to it, as if it were here."""

    def __init__(self, host: Host, remote_port: int, listen: str, port: int, log: Callable[[str], None]) -> None:
        """Raises RpcError when the port is taken here, HostUnreachable, and RpcError when no tracker answers there."""
        self.problem = ""
        self._host, self._remote_port, self._say = host, remote_port, log
        self._connection: Connection | None = None
        self._tunnel: Tunnel | None = None
        self._wake, self._waker = socket.socketpair()
        self._stopping = threading.Event()
        try:
            self._listener = socket.create_server((listen, port), backlog=64)
        except OSError as error:
            raise RpcError(
                f"{listen} port {port}: {error.strerror or error}", "choose another --tracker-port"
            ) from error
        self._connect()
        threading.Thread(target=self._watch, name="tracker", daemon=True).start()
        threading.Thread(target=self._relay, name="tracker relay", daemon=True).start()

    def address(self) -> Address | None:
        """The end of the tunnel, here."""
        tunnel = self._tunnel
        return ("127.0.0.1", tunnel.port) if tunnel is not None else None

    def stop(self) -> None:
        """Close the way to it."""
        self._stopping.set()
        self._waker.send(b".")
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._disconnect()

    def _connect(self) -> None:
        self._connection = connect(self._host)
        self._tunnel = self._connection.forward(self._remote_port)
        self._look()

    def _look(self) -> None:
        address = self.address()
        assert address is not None
        try:
            TrackerPeer(address).close()
        except RpcError as error:
            self._disconnect()
            raise RpcError(
                f"{self._host.name}: no RPC tracker answers on port {self._remote_port} there ({error.message})",
                f"bring it: tvmops playbook playbooks/rpc-tracker.yml --host {self._host.name}",
            ) from None

    def _disconnect(self) -> None:
        tunnel, connection = self._tunnel, self._connection
        self._tunnel = self._connection = None
        for part in (tunnel, connection):
            if part is not None:
                with contextlib.suppress(Exception):  # it is broken: that is why it goes
                    part.close()

    def _watch(self) -> None:
        while not self._stopping.wait(PERIOD):
            try:
                self._connect() if self._tunnel is None else self._look()
                if self.problem:
                    self._say("the tracker is up again")
                self.problem = ""
            except TvmopsError as error:
                if not self.problem:
                    self._say(f"the tracker is away: {error}")
                self.problem = error.message
                self._disconnect()

    def _relay(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            address = self.address()
            if address is not None:
                with socket.create_connection(address, 10) as far:
                    for one in (client, far):
                        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    carry(client, far, FOREVER, self._wake)
