"""A board's entry in a real tracker: offered while it is free, made anew when it was lost or not used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from lean_trackers import LEAN, Tracker
from ssh_servers import free_port

from tvmops.errors import RpcError
from tvmops.rpc.tracker import UNUSED_LOOKS, Entry, TrackerPeer

BOARD = ("127.0.0.1", 4711)


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    made = Tracker(free_port())
    yield made
    if made.process.poll() is None:
        made.stop()


@pytest.fixture
def client(tracker: Tracker) -> Iterator[TrackerPeer]:
    made = TrackerPeer(("127.0.0.1", tracker.port))
    yield made
    made.close()


def entry_in(tracker: Tracker) -> Entry:
    return Entry(lambda: ("127.0.0.1", tracker.port), "rk3288", BOARD)


def test_a_free_board_is_offered_once_per_client(tracker: Tracker, client: TrackerPeer) -> None:
    entry = entry_in(tracker)
    assert client.summary() == {}
    entry.keep(True)
    entry.keep(True)
    found = client.summary()["rk3288"]
    assert (found.free, found.waiting, found.servers) == (1, 0, (BOARD,))
    assert client.request("rk3288", 5) == (*BOARD, entry.matchkey)
    assert client.summary()["rk3288"].free == 0
    served = entry.matchkey
    entry.renew()
    assert entry.matchkey == ""
    entry.keep(True)
    assert client.request("rk3288", 5) == (*BOARD, entry.matchkey)
    assert entry.matchkey not in ("", served)


def test_a_board_that_somebody_else_has_is_known_and_not_offered(tracker: Tracker, client: TrackerPeer) -> None:
    entry = entry_in(tracker)
    entry.keep(True)
    entry.keep(False)
    assert (client.summary()["rk3288"].free, client.summary()["rk3288"].servers) == (0, (BOARD,))
    assert entry.matchkey == ""
    entry.keep(True)
    assert client.summary()["rk3288"].free == 1
    # One that a client has already got may still come.
    client.request("rk3288", 5)
    given = entry.matchkey
    entry.keep(False)
    assert entry.matchkey == given != ""
    entry.withdraw()


def test_what_a_client_got_and_did_not_use_is_offered_anew(tracker: Tracker, client: TrackerPeer) -> None:
    entry = entry_in(tracker)
    entry.keep(True)
    *_, given = client.request("rk3288", 5)
    for _ in range(UNUSED_LOOKS):
        entry.keep(True)
    assert entry.matchkey == given
    entry.keep(True)
    assert client.request("rk3288", 5)[2] == entry.matchkey != given


def test_a_tracker_that_was_away_gets_its_boards_back(tracker: Tracker) -> None:
    entry = entry_in(tracker)
    entry.keep(True)
    tracker.stop()
    entry.keep(True)
    assert "it ended after" in entry.problem
    entry.keep(True)
    assert "refused" in entry.problem
    assert entry.matchkey == ""
    tracker.start()
    entry.keep(True)
    assert entry.problem == ""
    peer = TrackerPeer(("127.0.0.1", tracker.port))
    assert peer.summary()["rk3288"].free == 1
    peer.close()


def test_a_request_that_nobody_can_meet_ends_in_time(client: TrackerPeer) -> None:
    with pytest.raises(RpcError, match=r"the RPC tracker 127.0.0.1:\d+: does not answer in time"):
        client.request("unknown", 0.3)


def test_a_tracker_with_a_parent_ends_with_it() -> None:
    argv = [sys.executable, "-I", str(LEAN / "rpc_tracker.py"), "--port", str(free_port()), "--with-parent"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert b"waits on" in process.stdout.readline()
        process.stdin.write(b"words\n")
        process.stdin.flush()
        process.stdin.close()
        assert process.wait(20) == 0
