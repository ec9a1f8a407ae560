"""Connections that outlive a command: a keeper process holds the ssh sessions, and this side speaks to it.

Nothing of ssh is imported here. Whatever goes wrong with the keeper means a fresh connection of this process's own.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tvmops import errors
from tvmops.connection import warm_wire as wire
from tvmops.connection.base import CLOSE_GRACE, Connection, Deadline, unreachable
from tvmops.connection.options import ssh_options
from tvmops.connection.process import ShellFiles, StreamProcess
from tvmops.connection.warm_reach import HELLO_SECONDS, ask, reach
from tvmops.connection.warm_tunnel import WarmTunnels
from tvmops.errors import AuthenticationError, HostUnreachable, TvmopsError
from tvmops.inventory.model import Host

SLACK = 1.0  # seconds more than a deadline that the keeper itself keeps


class NoKeeper(Exception):
    """There is no keeper that could help."""


def connect_warm(host: Host, deadline: float, seconds: float) -> Connection:
    """A connection through the keeper, which keeps it for `seconds` after its use; a fresh one when that cannot be.

    Raises what a fresh connection raises, within `deadline` seconds.
    """
    whole = Deadline(deadline)
    try:
        return WarmConnection(host, whole, seconds)
    except AuthenticationError:
        # The keeper has no terminal; a passphrase can be asked for here only.
        if not sys.stdin.isatty():
            raise
    except NoKeeper:
        pass
    from tvmops.connection.ssh import SshConnection

    return SshConnection(host, max(1.0, whole.left()))


class WarmProcess(StreamProcess):
    """A command on a channel that the keeper holds."""

    def __init__(self, host: Host, command: str, lease: int, path: Path) -> None:
        super().__init__(host, command)
        self._frames = wire.Frames()
        self._unsent = bytearray()
        self._sending = threading.Lock()
        self._ended = False
        self._deaf = False
        self._over = False  # nothing more comes from the keeper
        self._status: int | None = None
        self._lost: TvmopsError | None = None
        try:
            self._socket, answer = ask(path, {"op": "exec", "lease": lease, "command": command}, Deadline(60.0))
        except OSError as error:
            raise unreachable(host, "the keeper of warm connections has ended", "run it again") from error
        _raise_error(answer)
        self._socket.setblocking(False)

    def _fill(self, timeout: float) -> bool:
        if self._over:
            return False
        deadline = Deadline(timeout)
        while not self._readable(deadline.left()):
            if deadline.passed():
                return False
        try:
            data = self._socket.recv(262144)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._over = True
        for kind, body in self._frames.feed(data):
            self._take(kind, body)
        return True

    def _readable(self, timeout: float) -> bool:
        """Wait for something to read, and meanwhile send what waits."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN if self._flush(0.0) else select.POLLIN | select.POLLOUT)
        return any(event & ~select.POLLOUT for _, event in poll.poll(timeout * 1000))

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == wire.STDOUT:
            self._out += body
        elif kind == wire.STDERR:
            self._err += body
        elif kind == wire.ENDED:
            self._ended = True
        elif kind == wire.DEAF:
            self._deaf = True
        elif kind == wire.STATUS:
            self._status = int(body)
            self._over = True
        elif kind == wire.LOST:
            self._lost = _error(json.loads(body))
            self._over = True

    def _send(self, data: memoryview, timeout: float) -> int:
        if self._deaf or self._over:
            self._check_alive()
            raise BrokenPipeError("the command no longer reads its input")
        if self._unsent and not self._flush(timeout):
            return 0
        with self._sending:
            self._unsent += wire.framed(wire.STDIN, data)
        self._flush(0.0)
        return len(data)

    def _flush(self, timeout: float) -> bool:
        """Send what waits; whether all of it went."""
        with self._sending:
            if self._unsent and timeout > 0:
                select.select([], [self._socket], [], timeout)
            try:
                while self._unsent:
                    del self._unsent[: self._socket.send(self._unsent)]
            except BlockingIOError:
                return False
            except OSError:
                self._unsent.clear()  # it has gone: reading says so
            return True

    def _streams_ended(self) -> bool:
        return self._ended or self._over

    def _exit_status(self) -> int | None:
        return self._status

    def _check_alive(self) -> None:
        if self._status is not None:
            return
        if self._lost is not None:
            raise self._lost
        if self._over:
            raise unreachable(self.host, "the keeper of warm connections has ended", "run it again")

    def close_stdin(self) -> None:
        """End of input."""
        self._say(wire.END_INPUT)

    def kill(self) -> None:
        """End the process group on the host, and the channel."""
        if self._status is None and not self._over:
            self._say(wire.KILL)
            deadline = Deadline(2 * CLOSE_GRACE)
            while not (self._over or deadline.passed()):
                self._fill(deadline.left())
        self._finish()

    def leave(self) -> None:
        """Give up the channel; what runs behind it goes on."""
        if not self._over:
            self._say(wire.LEAVE)
        self._finish()

    def _say(self, kind: bytes) -> None:
        with self._sending:
            self._unsent += wire.framed(kind)
        self._flush(0.5)

    def _finish(self) -> None:
        self._status = -9 if self._status is None else self._status
        self._over = True
        self._socket.close()


class WarmConnection(ShellFiles):
    """A session that the keeper holds for this command, and for the next one afterwards."""

    def __init__(self, host: Host, deadline: Deadline, seconds: float) -> None:
        """Raises NoKeeper, HostUnreachable and its kinds, ConfigError."""
        self.host = host
        options = ssh_options(host)
        self._path = wire.folder() / wire.socket_name()
        request = {"op": "connect", "options": asdict(options), "seconds": seconds}
        self._control, answer = self._connected(request, deadline)
        try:
            _raise_error(answer)
        except BaseException:
            self._control.close()
            raise
        self.reused = bool(answer["reused"])
        self._lease = int(answer["lease"])
        self._lock = threading.Lock()
        self._closed = False
        self._tunnels = WarmTunnels(host.name, self._path, self._lease)

    def _connected(self, request: dict[str, Any], deadline: Deadline) -> tuple[socket.socket, dict[str, Any]]:
        try:
            control = reach(self._path, Deadline(min(HELLO_SECONDS, max(1.0, deadline.left() / 2))))
        except OSError as error:
            raise NoKeeper(str(error)) from error
        try:
            control.sendall(wire.message(**request, deadline=deadline.left()))
            return control, wire.receive(control, Deadline(deadline.left() + SLACK))
        except (OSError, ValueError) as error:
            control.close()
            raise NoKeeper(str(error)) from error

    def open(self, command: str) -> WarmProcess:
        """Start `command` with /bin/sh in a process group of its own."""
        return WarmProcess(self.host, command, self._lease, self._path)

    def forward(self, remote_port: int) -> Any:
        """A tunnel to 127.0.0.1:`remote_port` on the host."""
        return self._tunnels.open(remote_port)

    def close(self) -> None:
        """End tunnels and what still runs; the session itself stays with the keeper, unless something did run."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._tunnels.close()
        with contextlib.suppress(OSError, ValueError):
            self._control.sendall(wire.framed(wire.CLOSE))
            wire.receive(self._control, Deadline(3 * CLOSE_GRACE))
        self._control.close()


def _raise_error(answer: dict[str, Any]) -> None:
    if "error" in answer:
        raise _error(answer)


def _error(answer: dict[str, Any]) -> TvmopsError:
    kind = getattr(errors, str(answer.get("error")), HostUnreachable)
    error: TvmopsError = kind(str(answer.get("message", "")), str(answer.get("hint", "")))
    return error
