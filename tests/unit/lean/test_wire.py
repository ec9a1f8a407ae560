"""The lean RPC server's wire: messages, deadlines, addresses."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest
import wire
from lean_trackers import soon


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_messages_come_back_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    wire.send_json(theirs, [wire.PUT, "schlüssel", [9090, None]])
    assert wire.receive_json(ours, soon()) == [wire.PUT, "schlüssel", [9090, None]]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (struct.pack("<i", -4), "a text of -4 bytes"),
        (struct.pack("<i", 1 << 29), "a text of 536870912 bytes"),
        (struct.pack("<i", 3) + b"[1,", "no JSON"),
        (struct.pack("<i", 3) + b"[1", "closed the connection"),
        (b"\0", "closed the connection"),
    ],
)
def test_what_is_no_message_is_refused(pair: tuple[socket.socket, socket.socket], sent: bytes, expected: str) -> None:
    ours, theirs = pair
    theirs.sendall(sent)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(wire.WireError, match=expected):
        wire.receive_json(ours, soon())


def test_a_trickle_does_not_stretch_the_deadline(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"\0")
    started = time.monotonic()
    with pytest.raises((wire.WireError, TimeoutError)):
        wire.receive_number(ours, soon(0.3))
    assert 0.2 < time.monotonic() - started < 2


@pytest.mark.parametrize("text", ["host", "host:", ":9190", "host:0", "host:99999", "host:x"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        wire.address(text)


def test_addresses() -> None:
    assert wire.address("10.0.0.7:9190") == ("10.0.0.7", 9190)
    assert wire.address("[::1]:9190") == ("::1", 9190)
