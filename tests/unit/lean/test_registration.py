"""A lean RPC server's entry in a tracker."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import registration
import wire
from lean_trackers import Tracker, soon


@pytest.fixture
def entry(tracker: Tracker) -> Iterator[registration.Registration]:
    lines: list[str] = []
    made = registration.Registration(("127.0.0.1", tracker.port), "rk", 9090, ("127.0.0.1", 9101), lines.append)
    made.lines = lines
    yield made
    made.close()


def test_an_entry_is_made_anew_when_it_was_used_or_left_lying(
    tracker: Tracker, entry: registration.Registration
) -> None:
    entry.keep()
    client = tracker.peer()
    first = entry.matchkey
    assert client.ask(wire.REQUEST, "rk", "", 1) == [wire.SUCCESS, ["127.0.0.1", 9101, first]]
    for _ in range(registration.UNUSED_LOOKS):
        entry.keep()
    assert entry.matchkey == first  # the client may still come
    entry.keep()
    assert entry.matchkey != first
    assert client.ask(wire.REQUEST, "rk", "", 1)[1][2] == entry.matchkey
    entry.renew()
    assert client.ask(wire.REQUEST, "rk", "", 1)[1][2] == entry.matchkey


def test_an_entry_outlives_its_tracker(
    tracker: Tracker, entry: registration.Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "RETRY_SECONDS", 0.0)
    entry.keep()
    tracker.stop()
    entry.keep()
    entry.keep()
    entry.renew()
    assert len([line for line in entry.lines if "trying again" in line]) == 1
    tracker.start()
    entry.keep()
    assert tracker.peer().ask(wire.REQUEST, "rk", "", 1)[1][2] == entry.matchkey


class Refusing:
    """A tracker that gives these answers, one for each message, to whoever connects."""

    def __init__(self, *answers: Any) -> None:
        self.answers = answers
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            with peer, contextlib.suppress(OSError, wire.WireError):
                peer.sendall(wire.number(wire.receive_number(peer, soon())))
                for answer in self.answers:
                    wire.receive_json(peer, soon())
                    wire.send_json(peer, answer)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([wire.FAIL], "it refused to register"),
        ([wire.SUCCESS, wire.FAIL], "it refused to register"),
        ([wire.SUCCESS, wire.SUCCESS, wire.FAIL], "it answered -1"),
        ([wire.SUCCESS, wire.SUCCESS, [[]], {"a": 1}], "it answered {'a': 1}"),
    ],
)
def test_a_tracker_that_refuses_is_said_so_once_and_asked_again(
    answers: list[Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = Refusing(*answers)
    lines: list[str] = []
    entry = registration.Registration(("127.0.0.1", refusing.port), "rk", 9090, None, lines.append)
    for _ in range(4):
        entry.keep()
    entry.renew()
    assert refusing.connections == 1, "not at once"
    monkeypatch.setattr(registration, "RETRY_SECONDS", 0.0)
    entry._next_try = 0.0
    entry.keep()
    assert refusing.connections == 2
    assert [line for line in lines if "trying again" in line] == [
        f"tracker 127.0.0.1:{refusing.port}: {said}; trying again every 5 s"
    ]
    entry.close()
    refusing.listener.close()
