"""A fleet behind a gateway, by the command line: lean servers, real TVM clients, and whatever goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import processes
import pytest
import wire
from lean_boards import STACK, board_variables, fixed_port, make_lean_prefix, tvm_library, write_inventory
from lean_trackers import Tracker
from rpc_clients import CLIENT, relay_client
from ssh_servers import Sshd, free_port

from tvmops.bench.leases import board_lease
from tvmops.connection import connect
from tvmops.errors import JobFailed, RpcError
from tvmops.inventory import Host
from tvmops.rpc.board import ServerPlace
from tvmops.rpc.control import stop
from tvmops.rpc.greeting import client_key
from tvmops.rpc.handshake import Answer, knock
from tvmops.rpc.plan import make_plan
from tvmops.rpc.tracker import TrackerPeer
from tvmops.rpc.up import bring_up, take_down
from tvmops.stack import ensure_environment, load_stack


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter that has TVM 0.19."""
    return ensure_environment(load_stack(STACK))


class Shelf:
    """Two boards, one of them behind ssh, their gateway's commands and clients."""

    def __init__(self, folder: Path, boards: dict[str, dict[str, Any]]) -> None:
        self.folder, self.boards = folder, boards
        self.port = fixed_port()
        self.inventory = folder / "hosts.yml"
        write_inventory(self.inventory, boards)

    def run(self, *arguments: str, rc: int = 0) -> tuple[str, str]:
        argv = [sys.executable, "-m", "tvmops", *arguments]
        environment = {**os.environ, "TVMOPS_STATE": str(self.folder / "state")}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == rc, done.stdout + done.stderr + self.log()
        return done.stdout, done.stderr

    def tvmops(self, *arguments: str, rc: int = 0) -> str:
        return "".join(self.run(*arguments, rc=rc))

    def up(self, *arguments: str, rc: int = 0) -> str:
        where = ("--group", "shelf", "-i", str(self.inventory), "--tracker-port", str(self.port))
        return self.tvmops("rpc.up", *where, *arguments, rc=rc)

    def status(self, *arguments: str, rc: int = 0) -> str:
        return self.tvmops("rpc.status", "--group", "shelf", "-i", str(self.inventory), *arguments, rc=rc)

    def rows(self, rc: int = 0) -> dict[str, dict[str, Any]]:
        where = ("--group", "shelf", "-i", str(self.inventory))
        found: dict[str, dict[str, Any]] = json.loads(self.run("rpc.status", *where, "--json", rc=rc)[0])
        return found

    def words(self, rc: int = 0) -> dict[str, str]:
        return {name: row["state"] for name, row in self.rows(rc).items()}

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "state" / "rpc" / "shelf.json").read_text())
        return found

    def leases(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.tvmops("rpc.leases", "--json"))
        return found

    def log(self) -> str:
        path = self.folder / "state" / "rpc" / "shelf.log"
        return path.read_text() if path.exists() else ""

    def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"it did not happen in time\n{self.log()}"
            time.sleep(0.05)

    def session(self, key: str, seconds: float = 60.0) -> socket.socket:
        """A session by hand: asked for at the tracker, begun at the board."""
        peer = TrackerPeer(("127.0.0.1", self.port))
        try:
            _, port, matchkey = peer.request(key, 60)
        finally:
            peer.close()
        client, answer, _ = knock(port, key=client_key(matchkey, seconds), deadline=60)
        assert answer is Answer.ACCEPTED, self.log()
        client.settimeout(60)
        return client

    def server(self, name: str) -> int:
        """The process of the board's RPC server."""
        return int(Path(self.boards[name]["tvmops_prefix"], "run", "server.pid").read_text())

    def free(self, name: str) -> None:
        self.until(lambda: self.state()["boards"][name]["state"] == "free")


@pytest.fixture
def shelf(python: Path, tmp_path: Path, make_sshd: Callable[..., Sshd]) -> Iterator[Shelf]:
    library = tvm_library(python)
    far = board_variables(make_lean_prefix(tmp_path / "far", library), make_sshd(), tvm_rpc_key="rk3399")
    near = board_variables(make_lean_prefix(tmp_path / "near", library), tvm_stack=STACK)
    made = Shelf(tmp_path, {"far": far, "near": near})
    yield made
    with contextlib.suppress(AssertionError):
        made.tvmops("rpc.down")
    for name, variables in made.boards.items():
        local = {key: value for key, value in variables.items() if not key.startswith("ansible_")}
        opened = connect(Host(name, {**local, "ansible_connection": "local"}))
        stop(opened, ServerPlace.of(opened.host))
        opened.close()


def test_two_clients_share_a_board_and_everybody_sees_who_has_it(shelf: Shelf, python: Path) -> None:
    """From nothing to a computed result of a real TVM client, and back to nothing."""
    said = shelf.up()
    assert "far              free              key rk3399" in said
    assert "near             free              key near" in said
    again = shelf.up()
    assert "up since" in again
    assert "it is up" not in again

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(relay_client, python, "shared", tracker=shelf.port, key="rk3399") for _ in range(2)]
        found = [client.result() for client in clients]
    assert all(one["difference"] < 1e-4 for one in found)
    (first, second) = sorted(found, key=lambda one: one["began"])
    assert second["began"] >= first["ended"]  # they took turns
    assert shelf.log().count("the client left") == 2

    with shelf.session("near", 40):
        row = shelf.rows()["near"]
        assert row["state"] == "busy"
        assert row["tracker"]["summary"]["free"] == 0
        (lease,) = shelf.leases()
        assert (lease["host"], lease["pid"]) == ("near", os.getpid())
        assert lease["since"] < lease["until"]
        assert "busy" in shelf.status()
    shelf.free("near")
    assert shelf.leases() == []
    assert "key rk3399         1 server, 1 free, 0 clients wait" in shelf.status("--key", "rk3399")
    assert "unknown key 'rk1'" in shelf.status("--key", "rk1", rc=14)

    where = ("--host", "near", "-i", str(shelf.inventory))
    assert "gateway 'shelf' serves near and would start" in shelf.tvmops("rpc.stop", *where, rc=14)
    pid = shelf.state()["pid"]
    said = shelf.tvmops("rpc.down", "--group", "shelf")
    assert "stopped: gateway 'shelf'" in said
    assert processes.gone(pid)
    assert not (shelf.folder / "state" / "rpc" / "shelf.json").exists()
    assert "no gateway is up" in shelf.tvmops("rpc.down")
    with pytest.raises(RpcError):
        TrackerPeer(("127.0.0.1", shelf.port))
    shelf.status()  # the servers are up


def test_clients_servers_and_gateways_that_die_cost_their_session_only(shelf: Shelf, python: Path) -> None:
    shelf.up()
    # A client that is killed.
    argv = [python, CLIENT, "holds", f"tracker={shelf.port}", "key=rk3399"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "holding\n"
        (lease,) = shelf.leases()
        assert (lease["host"], lease["pid"]) == ("far", client.pid)
        client.kill()
    shelf.free("far")
    # A server that is killed in the middle of a session.
    with shelf.session("rk3399") as peer:
        os.killpg(shelf.server("far"), signal.SIGKILL)
        assert peer.recv(1) == b""
        shelf.free("far")
    assert shelf.state()["boards"]["far"]["restarts"] == 1
    # One that is killed while nobody uses it: the next client waits for its restart.
    os.killpg(shelf.server("near"), signal.SIGKILL)
    shelf.session("near").close()
    shelf.free("near")
    # The gateway itself.
    with shelf.session("near") as peer:
        old = shelf.state()["pid"]
        tracker = processes.tree(old)[1:]
        os.kill(old, signal.SIGKILL)
        assert processes.gone(old, *tracker)
        assert shelf.leases() == []
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""
    assert "up since" not in shelf.up()
    assert shelf.state()["pid"] != old
    shelf.session("rk3399").close()
    # Its tracker.
    (tracker_process,) = processes.tree(shelf.state()["pid"])[1:]
    os.kill(tracker_process, signal.SIGKILL)
    shelf.until(lambda: "the tracker is up again" in shelf.log())
    shelf.session("rk3399").close()
    shelf.session("near").close()


def test_a_session_that_hangs_is_cut_when_its_time_is_over_and_its_server_restarted(shelf: Shelf) -> None:
    shelf.up()
    with shelf.session("near", seconds=2) as peer:
        group = shelf.server("near")
        for pid in processes.tree(group):
            os.kill(pid, signal.SIGSTOP)
        assert peer.recv(1) == b""
    shelf.until(lambda: "restarting it" in shelf.log())
    shelf.free("near")
    assert ": its time was over" in shelf.log()
    assert shelf.server("near") != group
    assert shelf.leases() == []
    shelf.session("near").close()
    # Where the board's server keeps the time itself, the client is told why.
    with shelf.session("near", seconds=1) as peer:
        words = b""
        while piece := peer.recv(4096):
            words += piece
        assert b"session has expired" in words
    shelf.free("near")
    assert shelf.log().count(": its time was over") == 2


def test_the_words_of_rpc_status(shelf: Shelf) -> None:
    """Before, with and behind a gateway that is wrong about its boards."""
    assert shelf.words(14) == {"far": "no server", "near": "no server"}
    shelf.up("--session-seconds", "50")
    assert shelf.words(0) == {"far": "free", "near": "free"}
    # The gateway hangs: its tracker answers, the ports behind it do not.
    pid = shelf.state()["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        said = shelf.status(rc=14)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert said.count("no data port") >= 2
    # Another key, another stack, no way to the board.
    changed = {"far": {**shelf.boards["far"], "ansible_port": free_port()}, "near": {**shelf.boards["near"]}}
    changed["near"]["tvm_stack"] = "relay-0.18"
    write_inventory(shelf.inventory, changed)
    assert shelf.words(14) == {"far": "unreachable", "near": "version mismatch"}
    write_inventory(shelf.inventory, {**shelf.boards, "near": {**shelf.boards["near"], "tvm_rpc_key": "other"}})
    said = shelf.status(rc=14)
    assert "near (unknown key)" in said
    assert "but tvm_rpc_key is 'other'" in said
    # A gateway that is up for other boards is not taken for the one that is asked for.
    assert "tvmops rpc.down --group shelf" in shelf.up(rc=5)


def test_a_board_that_cannot_be_served_is_named_and_the_others_are_served(shelf: Shelf) -> None:
    write_inventory(shelf.inventory, {**shelf.boards, "gone": {**shelf.boards["far"], "ansible_port": free_port()}})
    said = shelf.up(rc=14)
    assert "1 of 3 boards are not served: gone" in said
    assert "gone             unreachable" in said
    shelf.session("near").close()
    other = ("--group", "near", "-i", str(shelf.inventory), "--tracker-port", str(shelf.port))
    assert "cannot listen on 127.0.0.1 port" in shelf.tvmops("rpc.up", *other, rc=14)


def lease_for(seconds: float) -> contextlib.AbstractContextManager[None]:
    """The lease of board near, as a sweep takes it."""
    return board_lease("near", "sweep (measure x)", deadline=seconds, cancelled=threading.Event())


def test_a_sweep_and_a_client_take_turns(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the board's lease, whoever has it."""
    monkeypatch.setenv("TVMOPS_STATE", str(shelf.folder / "state"))
    shelf.up()
    with ThreadPoolExecutor(1) as pool:
        with lease_for(10):
            shelf.until(lambda: "held by sweep (measure x)" in shelf.state()["boards"]["near"]["text"])
            shelf.until(lambda: "key near           1 server, 0 free" in shelf.status())
            waiting = pool.submit(shelf.session, "near")
            shelf.until(lambda: "key near           1 server, 0 free, 1 client waits" in shelf.status())
        with waiting.result(60):
            expected = r"near: still held by RPC session \(\S+\) of "
            with pytest.raises(JobFailed, match=expected), lease_for(0.2):
                pytest.fail("two have one board")
            said = shelf.tvmops("rpc.down")
    assert "session cut: near (RPC session (" in said
    with lease_for(10):
        pass


def test_two_that_bring_it_up_at_once_get_one_gateway_and_ctrl_c_none(shelf: Shelf, sshd: Sshd) -> None:
    with ThreadPoolExecutor(2) as pool:
        said = [one.result() for one in [pool.submit(shelf.up) for _ in range(2)]]
    assert sorted("up since" in one for one in said) == [False, True]
    shelf.tvmops("rpc.down")

    sshd.signal(signal.SIGSTOP)  # a board that keeps rpc.up waiting
    write_inventory(shelf.inventory, {"mute": sshd.vars()})
    argv = [sys.executable, "-m", "tvmops", "rpc.up", "--host", "mute", "-i", str(shelf.inventory)]
    argv += ["--tracker-port", str(shelf.port)]
    environment = {**os.environ, "TVMOPS_STATE": str(shelf.folder / "state"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("gateway 'mute'")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    sshd.signal(signal.SIGCONT)
    assert "no gateway is up" in shelf.tvmops("rpc.down")


def test_the_tracker_of_another_host_is_reached_through_ssh(
    shelf: Shelf, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path / "state"))
    far = Tracker(fixed_port())
    server = sshd.host("server-1", tvm_rpc_tracker_port=far.port)
    near = Host("near", shelf.boards["near"])
    plan = make_plan(
        "shelf",
        [near],
        tracker_port=shelf.port,
        session_seconds=60,
        tracker_host=server,
        version_of=lambda _: "0.19.0",
    )
    try:
        state, new = bring_up(plan)
        assert new
        shelf.free("near")
        assert state.tracker["host"] == "server-1"
        found = far.peer().ask(wire.SUMMARY)
        assert found[1]["queue_info"] == {"near": {"free": 1, "pending": 0}}
        shelf.session("near").close()
        far.stop()
        shelf.until(lambda: "the tracker is away" in shelf.log())
        far.start()
        shelf.until(lambda: "the tracker is up again" in shelf.log())
        shelf.session("near").close()
    finally:
        far.stop()
    take_down(state)
    assert shelf.leases() == []
