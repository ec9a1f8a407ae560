"""Two provisioned boards behind a gateway: tracker here, tracker on a board, a board without power."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
from lab_helpers import Commands, shell

from tvmops.lab import Lab
from tvmops.rpc.greeting import client_key
from tvmops.rpc.handshake import Answer, knock
from tvmops.rpc.tracker import TrackerPeer

pytestmark = pytest.mark.timeout(900)

BOARDS = "f1,f2"
PORT = "19190"


@pytest.fixture(scope="module")
def commands(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    lab.up(BOARDS.split(","))
    commands = Commands(lab, tmp_path_factory.mktemp("state"))
    commands.on("provision", "--host", BOARDS)
    yield commands
    commands("rpc.down")
    lab.fault("f2", "clear")


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.3)


def words(commands: Commands, rc: int = 0) -> dict[str, str]:
    said = commands.on("rpc.status", "--host", BOARDS, "--json", rc=rc)
    rows, _ = json.JSONDecoder().raw_decode(said)
    return {name: row["state"] for name, row in rows.items()}


def says(commands: Commands, hosts: str, text: str) -> bool:
    """Whether rpc.status says so and finds nothing wrong, as it may while a board boots or a tracker starts."""
    try:
        return text in commands.on("rpc.status", "--host", hosts)
    except AssertionError:
        return False


def session_ends(key: str) -> None:
    """A client of the tracker gets a board and leaves it."""
    peer = TrackerPeer(("127.0.0.1", int(PORT)))
    _, port, matchkey = peer.request(key, 60)
    peer.close()
    board, answer, _ = knock(port, key=client_key(matchkey, 30), deadline=60)
    board.close()
    assert answer is Answer.ACCEPTED


def test_boards_are_served_lost_and_served_again(lab: Lab, commands: Commands) -> None:
    said = commands.on("rpc.up", "--host", BOARDS, "--tracker-port", PORT, "-e", "model=virtual", "--key-by", "model")
    assert said.count("free              key virtual") == 2
    assert words(commands) == {"f1": "free", "f2": "free"}
    session_ends("virtual")
    listening = "ss -Hltn 'sport = :9090' | awk '{print $4}'"
    assert shell(lab, "f1", listening) == "127.0.0.1:9090"

    lab.fault("f2", "cut")
    assert words(commands, rc=14)["f2"] == "unreachable"
    until(lambda: says(commands, "f1", "key virtual        1 server"))
    session_ends("virtual")
    lab.fault("f2", "poweron")
    until(lambda: says(commands, BOARDS, "key virtual        2 servers, 2 free"))
    assert "stopped: gateway 'f1_f2'" in commands("rpc.down", "--host", BOARDS)


def test_a_tracker_on_a_named_host_comes_by_its_playbook(lab: Lab, commands: Commands) -> None:
    up = ("rpc.up", "--host", "f2", "--tracker-host", "f1", "--tracker-port", PORT)
    said = commands.on(*up)
    assert "(the tracker of f1)" in said
    assert shell(lab, "f1", "systemctl is-active tvm-rpc-tracker") == "active"
    session_ends("f2")
    shell(lab, "f1", "systemctl restart tvm-rpc-tracker")
    until(lambda: says(commands, "f2", "key f2             1 server, 1 free"))
    session_ends("f2")
    assert "up since" in commands.on(*up)
    commands("rpc.down")
