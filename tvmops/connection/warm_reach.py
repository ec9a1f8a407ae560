"""The way to the keeper of warm connections: found, or started when there is none."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tvmops.connection import warm_wire as wire
from tvmops.connection.base import Deadline
from tvmops.errors import TvmopsError

HELLO_SECONDS = 10.0  # for a keeper that has just been started, on a slow machine
_starting = threading.Lock()

# Run with -I, so that neither the environment nor the working folder can bring other modules in.
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tvmops.connection import warm_keeper as k; k.main()"
)


def start_keeper() -> None:
    """Have a keeper start while this command still reads its files. What goes wrong is told when it is needed."""
    with contextlib.suppress(OSError, TvmopsError):
        reach(wire.folder() / wire.socket_name(), Deadline(0.0), greet=False).close()


def keepers() -> list[Path]:
    """The sockets of all keepers of this user."""
    return sorted(wire.folder().glob("keeper-*"))


def ask_keeper(path: Path, operation: str) -> dict[str, Any] | None:
    """What a keeper answers to "show" or "stop"; None when there is none behind its socket."""
    try:
        connection, answer = ask(path, {"op": operation}, Deadline(HELLO_SECONDS))
    except OSError:
        return None
    connection.close()
    return answer


def ask(path: Path, request: dict[str, Any], deadline: Deadline) -> tuple[socket.socket, dict[str, Any]]:
    """A connection to the keeper that is there, with its answer to a request. Raises OSError."""
    connection = _dial(path)
    try:
        _greeted(connection, deadline)
        connection.sendall(wire.message(**request))
        return connection, wire.receive(connection, deadline)
    except BaseException:
        connection.close()
        raise


def reach(path: Path, deadline: Deadline, greet: bool = True) -> socket.socket:
    """A connection to the keeper, which is started when there is none. Raises OSError."""
    for attempt in (1, 2):
        with _starting:
            try:
                connection = _dial(path)
            except OSError:
                _start(path)
                connection = _dial(path)
        try:
            if greet:
                _greeted(connection, deadline)
            return connection
        except ConnectionError:
            # It was about to end when we came.
            connection.close()
            if attempt == 2:
                raise
        except BaseException:
            connection.close()
            raise
    raise AssertionError("unreachable")


def _dial(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(5.0)
        with wire.reached(path) as address:
            connection.connect(address)
        if not wire.is_ours(connection):
            raise PermissionError("the keeper belongs to another user")
    except BaseException:
        connection.close()
        raise
    return connection


def _greeted(connection: socket.socket, deadline: Deadline) -> None:
    wire.receive(connection, deadline)


def _start(path: Path) -> None:
    """Start a keeper on a socket that is made here, so that it can be connected to at once."""
    with wire.locked(path.parent):
        with contextlib.suppress(OSError):
            _dial(path).close()
            return  # another command was quicker
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with listener:
            path.unlink(missing_ok=True)
            with wire.reached(path) as address:
                listener.bind(address)
            path.chmod(0o600)
            listener.listen(1024)
            subprocess.Popen(
                [sys.executable, "-I", "-c", PROGRAM, json.dumps([one for one in sys.path if one]), str(path)],
                stdin=listener.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
