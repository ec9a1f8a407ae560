"""The keeper: a background process of the user that holds ssh sessions open for commands to come.

A session is lent to one command at a time. It is kept only when the command gave it back in good order, with nothing
running on it; a command that dies takes its session with it, as it would without a keeper.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.connection import warm_wire as wire
from tvmops.connection.base import Deadline
from tvmops.connection.options import SshOptions
from tvmops.connection.warm_session import KeptConnection, identity_of
from tvmops.connection.warm_streams import carry, carry_raw
from tvmops.errors import HostUnreachable, TvmopsError

FIRST_WAIT = 60.0  # seconds for the command that started it to ask for something
LONGEST = 86400.0  # seconds that a session may be asked to be kept
TICK = 1.0  # seconds


@dataclass
class Kept:
    """An ssh session and who may have it."""

    key: str
    connection: KeptConnection
    seconds: float
    lent: bool = True
    ends: float = 0.0  # when it is no longer kept, by the monotonic clock; while idle
    since: float = field(default_factory=time.time)
    uses: int = 0


class Keeper:
    """Accepts commands' connections until there is nothing left to keep."""

    def __init__(self, listener: socket.socket, path: Path) -> None:
        self._listener = listener
        self._path = path
        self._lock = threading.Lock()
        self._kept: list[Kept] = []
        self._leases: dict[int, Kept] = {}
        self._numbers = 0
        self._busy = 0  # connections that are being served
        self._stopping = False
        self._quiet_since = time.monotonic()
        self._wake, self._waker = socket.socketpair()

    def run(self) -> None:
        """Serve until idle: then the socket goes away and so does the process."""
        self._listener.setblocking(False)
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            poll.poll(self._until_next() * 1000)
            with contextlib.suppress(BlockingIOError):
                self._wake.recv(4096, socket.MSG_DONTWAIT)
            while self._accept():
                pass
            self._drop_old()
            if self._is_over():
                with wire.locked(self._path.parent):
                    # A command that has come in the meantime finds that the keeper has gone, and starts another.
                    if not self._accept():
                        self._path.unlink(missing_ok=True)
                        return

    def stop(self, *_signal: Any) -> None:
        """Keep nothing any longer; end when what is lent has come back."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._waker.send(b".", socket.MSG_DONTWAIT)

    def _until_next(self) -> float:
        with self._lock:
            idle = [one.ends for one in self._kept if not one.lent]
            waiting = [self._quiet_since + FIRST_WAIT] if not self._kept and not self._busy else []
        return max(0.0, min([*idle, *waiting, time.monotonic() + 3600.0]) - time.monotonic()) + 0.01

    def _is_over(self) -> bool:
        with self._lock:
            if self._kept or self._busy:
                return False
            never_used = self._numbers == 0 and not self._stopping
            return not never_used or time.monotonic() - self._quiet_since > FIRST_WAIT

    def _accept(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return False
        connection.setblocking(True)
        if not wire.is_ours(connection):
            connection.close()
            return True
        with self._lock:
            self._busy += 1
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        return True

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.sendall(wire.message(pid=os.getpid()))
            request = wire.receive(connection, Deadline(FIRST_WAIT))
            OPERATIONS[request["op"]](self, connection, request)
        except (OSError, ValueError, KeyError):
            pass  # it has gone, or does not speak our language
        except TvmopsError as error:
            with contextlib.suppress(OSError):
                connection.sendall(_refusal(error))
        finally:
            connection.close()
            with self._lock:
                self._busy -= 1
                self._quiet_since = time.monotonic()
            with contextlib.suppress(OSError):
                self._waker.send(b".", socket.MSG_DONTWAIT)

    def _connect(self, connection: socket.socket, request: dict[str, Any]) -> None:
        """Lend a session for as long as this connection lives. Raises HostUnreachable, ConfigError."""
        deadline = Deadline(float(request["deadline"]))
        given = request["options"]
        options = SshOptions(**{**given, "identity_files": tuple(given["identity_files"])})
        settings, key = identity_of(options)
        kept = self._take(key, deadline)
        reused = kept is not None
        if kept is None:
            kept = Kept(key, KeptConnection(settings, max(1.0, deadline.left())), 0.0)
            with self._lock:
                self._kept.append(kept)
        kept.seconds = min(max(0.0, float(request["seconds"])), LONGEST)
        kept.uses += 1
        with self._lock:
            self._numbers += 1
            number = self._numbers
            self._leases[number] = kept
        in_order = False
        try:
            connection.sendall(wire.message(ok=True, lease=number, reused=reused))
            in_order = _closed_in_order(connection)
        finally:
            with self._lock:
                del self._leases[number]
            self._give_back(kept, in_order)
        if in_order:
            connection.sendall(wire.message(ok=True))

    def _take(self, key: str, deadline: Deadline) -> Kept | None:
        """An idle session of this kind whose other end answers."""
        while True:
            with self._lock:
                kept = next((one for one in self._kept if one.key == key and not one.lent), None)
                if kept is None:
                    return None
                kept.lent = True
            if kept.connection.answers(min(5.0, deadline.left() / 2)):
                return kept
            self._drop(kept)

    def _give_back(self, kept: Kept, in_order: bool) -> None:
        quiet = in_order and kept.connection.end_running()
        with self._lock:
            keep = quiet and not self._stopping and kept.seconds > 0
            if keep:
                # More than one of a kind are of use only while commands run at the same time.
                keep = not any(one.key == kept.key and not one.lent for one in self._kept)
            if keep:
                kept.ends = time.monotonic() + kept.seconds
                kept.lent = False
        if not keep:
            self._drop(kept)

    def _drop(self, kept: Kept) -> None:
        with self._lock:
            if kept in self._kept:
                self._kept.remove(kept)
        kept.connection.cut()

    def _drop_old(self) -> None:
        now = time.monotonic()
        with self._lock:
            old = [one for one in self._kept if not one.lent and (self._stopping or one.ends <= now)]
            for one in old:
                one.lent = True
        for one in old:
            self._drop(one)

    def _lent(self, request: dict[str, Any]) -> KeptConnection:
        with self._lock:
            kept = self._leases.get(int(request["lease"]))
        if kept is None:
            raise HostUnreachable("the connection was closed")
        return kept.connection

    def _exec(self, connection: socket.socket, request: dict[str, Any]) -> None:
        process = self._lent(request).open(str(request["command"]))
        connection.sendall(wire.message(ok=True))
        carry(connection, process)

    def _tunnel(self, connection: socket.socket, request: dict[str, Any]) -> None:
        channel = self._lent(request).channel_to(int(request["port"]), float(request["timeout"]))
        connection.sendall(wire.message(ok=True))
        carry_raw(connection, channel)

    def _show(self, connection: socket.socket, _request: dict[str, Any]) -> None:
        now = time.monotonic()
        with self._lock:
            shown = [
                {
                    "host": one.connection.host.name,
                    "user": one.connection.settings.user,
                    "address": one.connection.settings.address,
                    "in_use": one.lent,
                    "left": None if one.lent else max(0.0, one.ends - now),
                    "since": one.since,
                    "uses": one.uses,
                }
                for one in self._kept
            ]
        connection.sendall(wire.message(pid=os.getpid(), connections=shown))

    def _stop(self, connection: socket.socket, _request: dict[str, Any]) -> None:
        with self._lock:
            in_use = sum(one.lent for one in self._kept)
        self.stop()
        connection.sendall(wire.message(pid=os.getpid(), in_use=in_use))


OPERATIONS: dict[str, Callable[[Keeper, socket.socket, dict[str, Any]], None]] = {
    "connect": Keeper._connect,
    "exec": Keeper._exec,
    "tunnel": Keeper._tunnel,
    "show": Keeper._show,
    "stop": Keeper._stop,
}


def _closed_in_order(connection: socket.socket) -> bool:
    """Wait until the command is done with its session; False when it went away without a word."""
    frames = wire.Frames()
    while True:
        data = connection.recv(4096)
        if not data:
            return False
        if any(kind == wire.CLOSE for kind, _ in frames.feed(data)):
            return True


def _refusal(error: TvmopsError) -> bytes:
    return wire.framed(wire.MESSAGE, json.dumps(wire.described(error)).encode())


def main() -> None:
    """The keeper process: standard input is the listening socket, its path the last argument."""
    path = Path(sys.argv[-1])
    listener = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    keeper = Keeper(listener, path)
    signal.signal(signal.SIGTERM, keeper.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    keeper.run()
    os._exit(0)  # threads of Paramiko may still be closing their sockets
