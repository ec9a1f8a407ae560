"""The first words of a client, as a server hears them: what it asks for, and for how long."""

from __future__ import annotations

import math
import socket
import struct
import time
from dataclasses import dataclass

from tvmops.errors import RpcError
from tvmops.rpc.handshake import MAGIC, Answer, read_key, receive

GREETING_SECONDS = 5.0
TIMEOUT_OPTION = "-timeout="


@dataclass(frozen=True)
class Greeting:
    """`key` is what the client asks for; `seconds` how long its session may last, None when it does not say."""

    key: str
    seconds: float | None


def read_greeting(peer: socket.socket) -> Greeting:
    """What a client says first. Raises RpcError for what is no client, or says nothing within GREETING_SECONDS."""
    end = time.monotonic() + GREETING_SECONDS
    try:
        if struct.unpack("<i", receive(peer, 4, end))[0] != MAGIC:
            raise RpcError("does not speak TVM's RPC protocol")
        words = read_key(peer, end, "a client").split()
    except TimeoutError as error:
        raise RpcError(f"said nothing for {GREETING_SECONDS:.0f} s") from error
    except OSError as error:
        raise RpcError(f"left in the handshake ({error.strerror or error})") from error
    if not words or not words[0].startswith("client:"):
        raise RpcError("does not say what it asks for")
    return Greeting(words[0].removeprefix("client:"), _seconds(words[1:]))


def client_key(key: str, seconds: float | None) -> str:
    """How a client asks for `key`, for a session of `seconds` at most."""
    return f"client:{key}" + (f" {TIMEOUT_OPTION}{seconds:g}" if seconds is not None else "")


def accept(peer: socket.socket, own_key: str) -> None:
    """Let the client in, as a server whose own key is `own_key`. Raises OSError."""
    name = own_key.encode()
    peer.sendall(struct.pack("<ii", MAGIC, len(name)) + name)


def refuse(peer: socket.socket) -> None:
    """Tell the client that nobody here has its key. Raises OSError."""
    peer.sendall(struct.pack("<i", MAGIC + Answer.MISMATCH.value))


def _seconds(options: list[str]) -> float | None:
    found = None
    for option in options:
        if option.startswith(TIMEOUT_OPTION):
            try:
                found = float(option.removeprefix(TIMEOUT_OPTION))
            except ValueError:
                found = math.nan
            if not 0 < found < math.inf:
                raise RpcError(f"asks for a session of '{option}'")
    return found
