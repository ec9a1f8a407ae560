"""Between commands and the keeper of warm connections: where its socket lies, who may speak, and how bytes are framed.

Each ssh channel has a Unix connection of its own, a frame is a letter, a length, bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tvmops.connection.base import Deadline
from tvmops.errors import ConfigError, TvmopsError
from tvmops.paths import state_dir

FRAME = struct.Struct(">cI")
LARGEST = 1 << 20  # bytes of a frame; whoever announces more does not speak this language
MESSAGE = b"m"  # JSON
# Command to keeper.
STDIN, END_INPUT, KILL, LEAVE, CLOSE = b"i", b"c", b"k", b"l", b"q"
# Keeper to command.
STDOUT, STDERR, ENDED, STATUS, DEAF, LOST = b"o", b"e", b"f", b"s", b"b", b"x"
PEER_CREDENTIALS = struct.Struct("3i")
# Everything here that the keeper takes over from the command that started it.
ENVIRONMENT = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "PATH", "KRB5CCNAME")


def folder() -> Path:
    """The private folder of the sockets, made if need be. Raises ConfigError when it is not this user's alone."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    beside = Path(runtime) / "tvmops" if runtime and "TVMOPS_STATE" not in os.environ else state_dir()
    path = beside / "warm"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise ConfigError(f"{path}: is not a folder of this user", "remove it, or do without --warm")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{path}: no place for warm connections: {error.strerror}", "do without --warm") from error
    return path


def socket_name() -> str:
    """The keeper's name in that folder: another environment, working folder or program wants another keeper."""
    parts = [os.environ.get(name, "") for name in ENVIRONMENT]
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/net").readlink()))  # the network it is in
    text = json.dumps([str(Path(__file__).resolve()), os.getcwd(), *parts])  # noqa: PTH109  a str is what is needed
    return f"keeper-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@contextlib.contextmanager
def reached(path: Path) -> Iterator[str]:
    """An address for a socket's path: what the kernel takes is short, so the folder is named by a descriptor."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Alone with the folder: a keeper begins or ends while this is held."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_ours(connection: socket.socket) -> bool:
    """Whether the process at the other end belongs to this user."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the folder's mode keeps others out
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
    uid: int = PEER_CREDENTIALS.unpack(raw)[1]
    return uid == os.geteuid()


def framed(kind: bytes, data: bytes | bytearray | memoryview = b"") -> bytes:
    """A frame's bytes."""
    return FRAME.pack(kind, len(data)) + bytes(data)


def message(**values: Any) -> bytes:
    """A frame that holds JSON."""
    return framed(MESSAGE, json.dumps(values).encode())


def described(error: TvmopsError) -> dict[str, str]:
    """An error in a form that the command can raise again."""
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


class Frames:
    """Bytes in, frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The frames that `data` completes. Raises ConnectionError for what is no frame."""
        self._buffer += data
        while len(self._buffer) >= FRAME.size:
            kind, length = FRAME.unpack_from(self._buffer)
            if length > LARGEST:
                raise ConnectionError("not a frame")
            end = FRAME.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[FRAME.size : end])
            del self._buffer[:end]
            yield kind, body


def receive(connection: socket.socket, deadline: Deadline) -> dict[str, Any]:
    """The next message, and nothing of what follows it. Raises OSError (TimeoutError when time is up)."""
    kind, length = FRAME.unpack(_exactly(connection, FRAME.size, deadline))
    if kind != MESSAGE or length > LARGEST:
        raise ConnectionError("not a message")
    found = json.loads(_exactly(connection, length, deadline))
    if not isinstance(found, dict):
        raise ConnectionError("not a message")
    return found


def _exactly(connection: socket.socket, size: int, deadline: Deadline) -> bytes:
    data = b""
    while len(data) < size:
        connection.settimeout(max(0.001, deadline.left()))
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("the other side has gone")
        data += piece
    connection.settimeout(None)
    return data
