"""Bytes of one session, both ways, between a client and its board; and how the session ended."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from enum import Enum

PIECE = 65536
MOST_UNSENT = 1 << 20  # bytes that wait for one side before nothing more is taken from the other
STALL_SECONDS = 60.0  # that a side may take nothing of what waits for it
LONGEST_WAIT = 3600.0  # seconds; more than some weeks are more than poll takes
LINGER_SECONDS = 2.0  # for the other side to leave, once one has left
GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class End(Enum):
    """Why a session ended."""

    CLIENT = "the client left"
    BOARD = "the board ended it"
    EXPIRED = "its time was over"
    STOPPED = "it was cut"
    HUNG = "the board took nothing for too long"


class _Way:
    """One direction: what was received from `source` and waits for `sink`."""

    def __init__(self, source: socket.socket, sink: socket.socket, end: End) -> None:
        self.source, self.sink, self.end = source, sink, end
        self.unsent = bytearray()
        self.over = False  # nothing more comes
        self.closed = False  # and the other side knows
        self.moved = time.monotonic()  # when something was last sent, or nothing waited

    def take(self) -> None:
        """Receive what is there, unless much waits."""
        if self.over or len(self.unsent) > MOST_UNSENT:
            return
        try:
            piece = self.source.recv(PIECE)
            if not self.unsent:
                self.moved = time.monotonic()  # nothing has waited until now
            self.unsent += piece
            self.over = not piece
        except BlockingIOError:
            pass
        except OSError:
            self.over = True

    def give(self) -> None:
        """Send what waits."""
        try:
            while self.unsent:
                del self.unsent[: self.sink.send(memoryview(self.unsent)[:PIECE])]
                self.moved = time.monotonic()
        except BlockingIOError:
            return
        except OSError:
            self.unsent.clear()  # it is gone: reading from it says so
        self.moved = time.monotonic()
        if self.over and not self.closed:
            self.closed = True
            with contextlib.suppress(OSError):
                self.sink.shutdown(socket.SHUT_WR)


def carry(client: socket.socket, board: socket.socket, seconds: float, wake: socket.socket) -> End:
    """Carry bytes until one side has left, `seconds` have passed, or something can be read from `wake`.

    A side that takes nothing for STALL_SECONDS hangs (or is a client that has left; which is not to be seen).
    """
    client.setblocking(False)
    board.setblocking(False)
    ways = (_Way(client, board, End.CLIENT), _Way(board, client, End.BOARD))
    until = time.monotonic() + seconds
    ended: End | None = None
    while True:
        left = until - time.monotonic()
        if left <= 0:
            return ended or End.EXPIRED
        stalls = [way.moved + STALL_SECONDS - time.monotonic() for way in ways if way.unsent]
        if any(stall <= 0 for stall in stalls):
            return ended or (End.HUNG if ways[0].unsent else End.CLIENT)
        left = min(left, *stalls, LONGEST_WAIT)
        ready = _wait(ways, wake, left)
        if wake.fileno() in ready:
            return ended or End.STOPPED
        for way in ways:
            events = ready.get(way.source.fileno(), 0)
            if events:
                way.take()
            # Gone while too much of its own waits: the rest of it is of no use to anybody.
            if events & GONE and len(way.unsent) > MOST_UNSENT:
                way.over = True
            way.give()
        if all(way.closed for way in ways):
            return ended or End.CLIENT
        if ended is None and (over := next((way.end for way in ways if way.over), None)):
            ended = over
            until = min(until, time.monotonic() + LINGER_SECONDS)


def _wait(ways: tuple[_Way, _Way], wake: socket.socket, seconds: float) -> dict[int, int]:
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    masks: dict[int, int] = {}
    for way in ways:
        if not way.over:
            reading = select.POLLIN if len(way.unsent) <= MOST_UNSENT else 0
            masks[way.source.fileno()] = masks.get(way.source.fileno(), 0) | reading | select.POLLRDHUP
        if way.unsent:
            masks[way.sink.fileno()] = masks.get(way.sink.fileno(), 0) | select.POLLOUT
    for descriptor, mask in masks.items():
        poll.register(descriptor, mask)
    return dict(poll.poll(seconds * 1000 + 1))
