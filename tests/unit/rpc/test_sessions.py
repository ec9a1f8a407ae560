"""The pieces of a session: a client's first words, the bytes both ways, who is behind a connection."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tvmops.errors import RpcError
from tvmops.rpc.greeting import Greeting, client_key, read_greeting
from tvmops.rpc.handshake import MAGIC
from tvmops.rpc.peers import caller_of
from tvmops.rpc.pipe import End, carry


@contextlib.contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    with one, other:
        one.settimeout(20)
        yield one, other


def said(data: bytes) -> bytes:
    return struct.pack("<ii", MAGIC, len(data)) + data


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("client:rk3288:0.5", Greeting("rk3288:0.5", None)),
        ("client:rk3288 -timeout=2.5", Greeting("rk3288", 2.5)),
        ("client: -timeout=1e3 -other=1", Greeting("", 1000.0)),
        (client_key("k", 40), Greeting("k", 40.0)),
        (client_key("k", None), Greeting("k", None)),
    ],
)
def test_a_clients_first_words(key: str, expected: Greeting) -> None:
    with connected() as (client, server):
        client.sendall(said(key.encode()))
        assert read_greeting(server) == expected


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x71",
        struct.pack("<ii", MAGIC, -1),
        struct.pack("<ii", MAGIC, 1 << 30),
        said(b"server:k"),
        said(b""),
        said(b"client:k -timeout=nan"),
        said(b"client:k -timeout=-1"),
        said(b"client:k -timeout=inf"),
        said(b"client:k -timeout="),
    ],
)
def test_whoever_is_no_client_is_told_apart(rubbish: bytes) -> None:
    with connected() as (client, server):
        client.sendall(rubbish)
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(RpcError):
            read_greeting(server)


@dataclass
class Run:
    """A session between two sockets of a test."""

    client: socket.socket
    board: socket.socket
    waker: socket.socket
    end: Future[End]


@contextlib.contextmanager
def session(seconds: float = 60.0) -> Iterator[Run]:
    with connected() as (client, inner), connected() as (board, outer), ThreadPoolExecutor(1) as pool:
        wake, waker = socket.socketpair()
        with wake, waker:
            yield Run(client, board, waker, pool.submit(carry, inner, outer, seconds, wake))


def test_much_goes_both_ways_at_once() -> None:
    data = os.urandom(5 << 20)
    with session() as run, ThreadPoolExecutor(2) as pool:
        sending = pool.submit(run.board.sendall, data)
        asking = pool.submit(run.client.sendall, data[::-1])
        for peer, expected in ((run.client, data), (run.board, data[::-1])):
            got = bytearray()
            while len(got) < len(expected):
                got += peer.recv(1 << 16)
            assert got == expected
        sending.result()
        asking.result()
        run.client.close()
        assert run.board.recv(1) == b""
        run.board.close()
        assert run.end.result(20) is End.CLIENT


def test_a_board_that_ends_it_is_heard_to_its_last_byte() -> None:
    with session() as run:
        run.board.sendall(b"your time is over")
        run.board.close()
        got = b""
        while piece := run.client.recv(64):
            got += piece
        assert got == b"your time is over"
        assert run.end.result(20) is End.BOARD


def test_a_client_that_vanishes_while_the_board_is_silent_ends_it() -> None:
    with session() as run:
        run.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        run.client.close()
        assert run.end.result(20) is End.CLIENT


def test_a_board_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """That its client has gone cannot be seen: what it sent before is in the way."""
    monkeypatch.setattr("tvmops.rpc.pipe.STALL_SECONDS", 0.5)
    with session() as run:
        run.client.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                run.client.send(b"x" * 65536)
        run.client.close()
        assert run.end.result(20) is End.HUNG


def test_time_and_a_word_end_it() -> None:
    with session(0.2) as run:
        assert run.end.result(20) is End.EXPIRED
    with session() as run:
        run.waker.send(b".")
        assert run.end.result(20) is End.STOPPED


def test_a_caller_is_known_by_user_and_process() -> None:
    with connected() as (_, server):
        found = caller_of(server)
    assert (found.user, found.pid) == (getpass.getuser(), os.getpid())
    assert found.program
