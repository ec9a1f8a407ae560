"""The lean RPC tracker: who waits, who is served, and whoever talks rubbish or nothing."""

from __future__ import annotations

import socket
import time

import pytest
import rpc_tracker
import wire
from lean_trackers import Tracker, soon
from ssh_servers import free_port


def test_the_urgent_come_first_then_those_who_came_first(tracker: Tracker) -> None:
    clients = [tracker.peer() for _ in range(4)]
    for client, priority in zip(clients, (1, 1, 5, 9), strict=True):
        client.say(wire.REQUEST, "rk3399", "", priority)
    summary = tracker.peer().ask(wire.SUMMARY)
    assert summary == [wire.SUCCESS, {"queue_info": {"rk3399": {"free": 0, "pending": 4}}, "server_info": []}]
    clients[3].socket.close()  # the most urgent one has gone
    server = tracker.peer()
    server.ask(wire.UPDATE_INFO, {"key": "server:rk3399", "addr": [None, 9090]})
    for number, expected in enumerate((2, 0, 1)):
        assert server.ask(wire.PUT, "rk3399", [9090, f"rk3399:{number}"], None) == wire.SUCCESS
        assert clients[expected].hear() == [wire.SUCCESS, ["127.0.0.1", 9090, f"rk3399:{number}"]]
        assert server.ask(wire.PENDING_MATCHKEYS) == []


def test_what_a_server_offered_goes_with_it(tracker: Tracker) -> None:
    server, client = tracker.peer(), tracker.peer()
    server.ask(wire.UPDATE_INFO, {"key": "server:pynq", "addr": ["10.0.0.9", 9090]})
    server.ask(wire.PUT, "pynq", [9090, "pynq:1"], "10.0.0.9")
    found = client.ask(wire.SUMMARY)[1]
    assert found["server_info"] == [{"key": "server:pynq", "addr": ["10.0.0.9", 9090]}]
    server.socket.close()
    end = soon(5)
    while client.ask(wire.SUMMARY)[1]["server_info"] and time.monotonic() < end:
        time.sleep(0.02)
    client.say(wire.REQUEST, "pynq", "", 1)
    assert client.silent()


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        wire.number(wire.TRACKER_MAGIC) + wire.number(-7),
        wire.number(wire.TRACKER_MAGIC) + b"\2\0\0\0[]",
        wire.number(wire.TRACKER_MAGIC) + wire.number(900_000) + b"[" * 900_000,
    ],
)
def test_rubbish_costs_only_whoever_said_it(tracker: Tracker, rubbish: bytes) -> None:
    well = tracker.peer()
    with socket.create_connection(("127.0.0.1", tracker.port), 5) as peer:
        peer.sendall(rubbish)
        peer.settimeout(5)
        while peer.recv(64):
            pass
    assert well.ask(wire.PING) == wire.SUCCESS
    assert well.ask(wire.STOP, "guess") == wire.FAIL
    for message in (
        [99],
        {"a": 1},
        [wire.PUT],
        [wire.PUT, "k", 5],
        [wire.UPDATE_INFO, []],
        [wire.REQUEST, "k", "", "high"],
    ):
        with socket.create_connection(("127.0.0.1", tracker.port), 5) as peer:
            peer.sendall(wire.number(wire.TRACKER_MAGIC))
            wire.send_json(peer, message)
            peer.settimeout(5)
            while peer.recv(64):
                pass
    assert well.ask(wire.PING) == wire.SUCCESS


def test_connections_that_say_nothing_do_not_use_up_the_tracker() -> None:
    tracker = Tracker(free_port(), files=32)
    server = tracker.peer()
    silent: list[socket.socket] = []
    try:
        for _ in range(60):
            silent.append(socket.create_connection(("127.0.0.1", tracker.port), 5))
        assert server.ask(wire.PING) == wire.SUCCESS
        assert tracker.peer().ask(wire.PING) == wire.SUCCESS
    finally:
        for one in silent:
            one.close()
        tracker.stop()


def test_clients_that_have_left_are_not_waited_with() -> None:
    queue = rpc_tracker.Queue()
    peers = [rpc_tracker.Peer(None, "here") for _ in range(3)]
    for peer in peers:
        queue.request(peer, 1)
    queue.forget(peers[0])
    queue.free.append(rpc_tracker.Offer(rpc_tracker.Peer(None, "board"), "board", 9090, "key"))
    queue.match()
    assert [len(peer.unsent) > 0 for peer in peers] == [False, True, False]
    assert [entry[2] for entry in queue.waiting] == [peers[2]]
