"""TVM's RPC handshake, spoken without TVM: the only proof that a server lives.

A TCP connection proves nothing (the listener thread can be dead while the port is open) and does harm: a server waits
for an idle client without end, and serves nobody else meanwhile. So whoever connects must speak at once, and leave.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from enum import Enum

from tvmops.errors import RpcError

MAGIC = 0xFF271
PROBE_KEY = "client:tvmops-probe".ljust(128, ".")  # TVM's C++ server says nothing to keys shorter than its own
MAX_KEY = 4096  # bytes; a server's key is a word


class Answer(Enum):
    """What a server says to a client's key."""

    ACCEPTED = 0  # a session begins; it ends with the connection
    DUPLICATE = 1
    MISMATCH = 2  # alive, but for clients with another key


def handshake(port: int, *, host: str = "127.0.0.1", key: str = PROBE_KEY, deadline: float = 5.0) -> Answer:
    """What the RPC server at `host`:`port` answers, within `deadline` seconds.

    With the default key a healthy server answers MISMATCH: it is proved alive and no session process is started.
    Raises RpcError: nothing listens, no answer in time, or the other side speaks something else.
    """
    peer, answer, _ = knock(port, host=host, key=key, deadline=deadline)
    with peer, contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)  # an orderly end, also of a session that was accepted
    return answer


def knock(port: int, *, host: str = "127.0.0.1", key: str, deadline: float) -> tuple[socket.socket, Answer, str]:
    """A connection to the server at `host`:`port`, its answer to `key`, and its own key where it accepts.

    Raises RpcError as handshake does.
    """
    end = time.monotonic() + deadline
    where = f"port {port}"
    try:
        peer = socket.create_connection((host, port), deadline)
    except TimeoutError as error:
        raise RpcError(f"{where}: does not answer: no connection within {deadline:.0f} s, its queue is full") from error
    except OSError as error:
        raise RpcError(f"{where}: nothing listens ({error.strerror or error})") from error
    with contextlib.ExitStack() as failing:
        failing.callback(peer.close)
        try:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            name = key.encode()
            peer.sendall(struct.pack("<ii", MAGIC, len(name)) + name)
            answer = _answer(receive(peer, 4, end), where)
            own = read_key(peer, end, where) if answer is Answer.ACCEPTED else ""
        except TimeoutError as error:
            raise RpcError(
                f"{where}: does not answer: the port is open, but no handshake came back within {deadline:.0f} s"
            ) from error
        except OSError as error:
            raise RpcError(f"{where}: closed the connection in the handshake ({error.strerror or error})") from error
        failing.pop_all()
    return peer, answer, own


def _answer(raw: bytes, where: str) -> Answer:
    try:
        return Answer(struct.unpack("<i", raw)[0] - MAGIC)
    except ValueError:
        raise RpcError(f"{where}: answered {raw!r}, which is not TVM's RPC protocol") from None


def read_key(peer: socket.socket, end: float, where: str) -> str:
    """A key with its length before it, until `end` on the monotonic clock. Raises RpcError, OSError, TimeoutError."""
    length = struct.unpack("<i", receive(peer, 4, end))[0]
    if not 0 <= length <= MAX_KEY:
        raise RpcError(f"{where}: announces a key of {length} bytes, which is not TVM's RPC protocol")
    return receive(peer, length, end).decode("utf-8", "replace")


def receive(peer: socket.socket, count: int, end: float) -> bytes:
    """Exactly `count` bytes, until `end` on the monotonic clock. Raises OSError, TimeoutError."""
    data = b""
    while len(data) < count:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        peer.settimeout(left)
        piece = peer.recv(count - len(data))
        if not piece:
            raise ConnectionResetError(0, f"it ended after {len(data)} of {count} bytes")
        data += piece
    return data
