"""The RPC server without TVM's Python: a real TVM 0.19 client finds what TVM's own server has, and faults pass."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import processes
import pytest
from lean_boards import KEY, LEAN, make_lean_prefix
from rpc_clients import CLIENT, relay_client, say
from ssh_servers import free_port

from tvmops.connection import Connection, connect
from tvmops.errors import RpcError
from tvmops.inventory import Host
from tvmops.rpc import Answer, BoardRpc, BoardServer, handshake
from tvmops.rpc.board import ServerPlace, look
from tvmops.rpc.control import stop
from tvmops.rpc.handshake import MAGIC
from tvmops.stack import ensure_environment, load_stack

NATIVE = r"""
#include <unistd.h>
#include <stdlib.h>
int hang(void *a, int *b, int c, void *d, int *e, void *f) {
    if (!fork()) { sleep(600); _exit(0); }
    sleep(600);
    return 0;
}
int crash(void *a, int *b, int c, void *d, int *e, void *f) {
    if (!fork()) { sleep(600); _exit(0); }
    abort();
}
"""


def until(condition: Callable[[], bool], log: Path | None = None, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen in time\n{log.read_text() if log else ''}"
        time.sleep(0.02)


class Lean:
    """A server (or tracker) started for one test."""

    def __init__(self, folder: Path, *arguments: str, program: str = "rpc_server.py", **variables: str) -> None:
        self.port = free_port()
        self.scratch = folder / "scratch"
        self.scratch.mkdir(parents=True)
        self.log = folder / "log"
        argv = [sys.executable, "-I", str(LEAN / program), "--port", str(self.port), *arguments]
        with self.log.open("wb") as log:
            environment = {**os.environ, "TMPDIR": str(self.scratch), **variables}
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
        self.until(lambda: "waits on" in self.log.read_text())

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition, self.log)

    def sessions(self) -> list[int]:
        """Its session process, and what that started."""
        return processes.tree(self.process.pid)[1:]

    def idle(self) -> None:
        """Wait until no session is left: neither process nor folder."""
        self.until(lambda: not self.sessions() and not list(self.scratch.iterdir()))

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(10) == 0
        assert not list(self.scratch.iterdir())


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter that has TVM 0.19."""
    return ensure_environment(load_stack("relay-0.19"))


@pytest.fixture(scope="module")
def library(python: Path) -> str:
    """The runtime library of that TVM, as its wheel has it."""
    (found,) = python.parents[1].glob("lib/python3*/site-packages/tvm/libtvm_runtime.so")
    return str(found)


@pytest.fixture
def start(library: str, tmp_path: Path) -> Iterator[Callable[..., Lean]]:
    """start("--key", "x", PATH="") -> Lean; all are stopped, and must have left nothing."""
    started: list[Lean] = []

    def make(*arguments: str, program: str = "rpc_server.py", **variables: str) -> Lean:
        own = ("--lib", library) if program == "rpc_server.py" else ()
        started.append(Lean(tmp_path / f"lean{len(started)}", *own, *arguments, program=program, **variables))
        return started[-1]

    yield make
    for server in reversed(started):
        if server.process.poll() is None:
            server.stop()


@pytest.fixture
def server(start: Callable[..., Lean]) -> Lean:
    return start()


@pytest.fixture
def client(python: Path) -> Callable[..., dict[str, Any]]:
    """client("everything", port=1) -> what relay_client.py's action printed."""
    return partial(relay_client, python)


@pytest.fixture
def native(tmp_path: Path) -> Path:
    source, made = tmp_path / "native.c", tmp_path / "native.so"
    source.write_text(NATIVE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", made, source], check=True)
    return made


# What clients need ------------------------------------------------------------------------------------------------


def test_a_client_finds_all_that_tvms_own_server_has(server: Lean, client: Callable[..., dict[str, Any]]) -> None:
    found = client("everything", port=server.port)
    assert found["difference"] < 1e-4
    assert found["largest"] > 1
    assert len(found["samples"]) == 3
    assert all(sample > 0 for sample in found["samples"])
    assert found["cpu"]
    assert found["same bytes"]
    assert found["listed"] == ["net.so"]
    assert Path(found["folder"]).parent == server.scratch.resolve()
    assert "cannot open shared object file" in found["after removal"]
    server.idle()


def test_archives_and_objects_are_linked_where_there_is_a_compiler(
    start: Callable[..., Lean], client: Callable[..., dict[str, Any]]
) -> None:
    found = client("linked", port=start().port)
    assert found["difference"] < 1e-4
    assert found["linked"]
    assert "broken.tar is no complete tar archive" in found["broken.tar"]
    assert "broken.o cannot be linked" in found["broken.o"]
    bare = start(PATH="")
    found = client("linked", port=bare.port)
    for name in ("net.tar", "broken.tar", "broken.o"):
        assert f"{name} has to be linked on the board, which has no compiler. Export a .so instead" in found[name]
    bare.idle()


def test_a_session_that_lasts_too_long_is_told_so_and_the_next_client_served(
    server: Lean, client: Callable[..., dict[str, Any]]
) -> None:
    found = client("waits", port=server.port, seconds=2)
    assert 1.0 < found["waited"] < 8
    assert "Your 2.0s session has expired" in found["first"], server.log.read_text()
    assert found["cpu"]
    server.idle()
    assert "its time was over" in server.log.read_text()


def test_a_client_finds_its_server_through_a_tracker(
    start: Callable[..., Lean], client: Callable[..., dict[str, Any]]
) -> None:
    tracker = start(program="rpc_tracker.py")
    server = start("--tracker", f"127.0.0.1:{tracker.port}", "--key", "rk3399")
    found = client("tracked", tracker=tracker.port, key="rk3399", port=server.port)
    assert found["summary"]["server_info"] == [{"key": "server:rk3399", "addr": ["127.0.0.1", server.port]}]
    assert found["said"] == "hello"
    assert "cannot find server that matches key" in found["without the tracker"]
    server.idle()
    tracker.stop()
    tracker.until(lambda: "trying again" in server.log.read_text())
    assert handshake(server.port) is Answer.MISMATCH


# Handshakes -------------------------------------------------------------------------------------------------------


def test_wrong_keys_and_rubbish_are_sent_away(start: Callable[..., Lean]) -> None:
    server = start("--key", "mine")
    assert handshake(server.port) is Answer.MISMATCH
    assert handshake(server.port, key="client:") is Answer.MISMATCH
    assert handshake(server.port, key="client:mine -timeout=5") is Answer.ACCEPTED
    for rubbish in (b"HTTP", struct.pack("<ii", MAGIC, -1), struct.pack("<ii", MAGIC, 1 << 30), b""):
        with socket.create_connection(("127.0.0.1", server.port), 5) as peer:
            peer.sendall(rubbish)
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(4) == b""
    for key in (b"\xff\xfe", b"", b"client:mine -timeout=nan", b"client:mine -timeout=x", b"client:mine -timeout=-1"):
        with say(server.port, key) as peer:
            assert peer.recv(64) in (b"", struct.pack("<i", MAGIC + 2))
    assert handshake(server.port, key="client:mine") is Answer.ACCEPTED
    server.idle()


def test_a_client_that_says_nothing_blocks_the_others_for_seconds_only(server: Lean) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5):
        assert handshake(server.port, deadline=10) is Answer.MISMATCH


# Sessions that end badly ------------------------------------------------------------------------------------------


def test_a_client_killed_while_the_board_computes_frees_the_board(server: Lean, python: Path, native: Path) -> None:
    """The call would last 10 minutes, and has started a process of its own."""
    argv = [python, CLIENT, "native", f"port={server.port}", f"library={native}", "function=hang"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "calling\n"
        server.until(lambda: len(server.sessions()) == 2)
        assert list(server.scratch.iterdir())
        caller.kill()
    server.idle()
    assert handshake(server.port, key="client:") is Answer.ACCEPTED


def test_a_crash_in_a_session_is_survived_at_once_and_what_it_left_behind_ended(
    server: Lean, client: Callable[..., dict[str, Any]], native: Path
) -> None:
    found = client("native", port=server.port, library=native, function="crash")
    assert found["ended"] != "no error"
    assert handshake(server.port, key="client:") is Answer.ACCEPTED
    server.idle()
    assert "it ended by SIGABRT" in server.log.read_text()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_ends_takes_its_session_with_it(server: Lean, how: signal.Signals) -> None:
    with say(server.port, b"client:"):
        server.until(lambda: len(server.sessions()) == 1)
        (session,) = server.sessions()
        server.process.send_signal(how)
        server.process.wait(10)
        assert processes.gone(session)
    if how is signal.SIGTERM:
        assert not list(server.scratch.iterdir())
    again = socket.create_server(("127.0.0.1", server.port))
    again.close()


def test_a_full_disk_costs_the_session_not_the_server(server: Lean) -> None:
    server.scratch.rmdir()
    with say(server.port, b"client:") as peer:
        assert peer.recv(4) == struct.pack("<i", MAGIC)
        server.until(lambda: "no session: " in server.log.read_text())
    server.scratch.mkdir()
    with say(server.port, b"client:"):
        server.until(lambda: len(server.sessions()) == 1)
    server.idle()


# Starting ---------------------------------------------------------------------------------------------------------


def test_what_hinders_the_start_is_one_line(server: Lean, library: str, tmp_path: Path) -> None:
    no_library = tmp_path / "libtvm_runtime.so"
    no_library.write_text("not a library")
    for arguments, expected in (
        (["--lib", str(no_library)], "invalid ELF header|file too short"),
        (["--lib", library, "--port", str(server.port)], f"127.0.0.1 port {server.port}: Address already in use"),
        (["--lib", "libc.so.6"], "undefined symbol: TVM"),
    ):
        argv = [sys.executable, "-I", str(LEAN / "rpc_server.py"), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("the RPC server cannot start: ")
        assert any(words in line for words in expected.split("|")), line


# As a release on a board without root -----------------------------------------------------------------------------


@pytest.fixture
def place(library: str, tmp_path: Path) -> Iterator[Connection]:
    """A host whose current release has the lean server; port and key are of its own."""
    prefix = make_lean_prefix(tmp_path / "prefix", Path(library))
    variables = {"ansible_connection": "local", "tvmops_unprivileged": True, "tvmops_prefix": str(prefix)}
    opened = connect(Host("here", {**variables, "tvm_rpc_port": free_port(), "tvm_rpc_key": "mine"}))
    yield opened
    stop(opened, ServerPlace.of(opened.host))
    opened.close()


def test_a_release_with_the_lean_server_is_handled_as_any_other(place: Connection) -> None:
    server = BoardServer(place)
    port = server.ensure()
    assert handshake(port, key="client:mine") is Answer.ACCEPTED
    found = server.status()
    assert (found.problem, found.running_release, found.release and found.release.tvm) == ("", KEY, "0.19.0")
    endpoint = BoardRpc(lambda _: "0.19.0").open(place, "relay-0.19")
    assert endpoint.key == "mine"
    with say(port, b"client:mine"):
        until(lambda: bool(look(place, server.place).sessions))
        assert server.status().busy
        with pytest.raises(RpcError, match=r"serves another client \(process \d+\), for more than 1 s"):
            server.ensure(busy_seconds=1)
    until(lambda: not look(place, server.place).sessions)
    os.kill(int(Path(server.place.prefix, "run", "server.pid").read_text()), signal.SIGKILL)
    server.ensure()
    assert server.restarts == 2
    stop(place, server.place)
    assert not look(place, server.place).listening
    server.close()


def test_a_tracked_server_is_measured_on_through_its_tracker_unless_that_has_others_of_its_key(
    place: Connection, start: Callable[..., Lean], client: Callable[..., dict[str, Any]]
) -> None:
    tracker = start(program="rpc_tracker.py")
    tracked = ("--tracker", f"127.0.0.1:{tracker.port}", "--key", "mine")
    server = start(*tracked)
    place.host.vars.update(tvm_rpc_tracker=f"127.0.0.1:{tracker.port}", tvm_rpc_port=server.port)
    rpc = BoardRpc(lambda _: "0.19.0")
    endpoint = rpc.open(place, "relay-0.19")
    for _ in range(2):
        assert client("everything", port=endpoint.port)["difference"] < 1e-4
    twin = start(*tracked)
    tracker.until(lambda: "registered as" in twin.log.read_text())
    with pytest.raises(RpcError, match=r"here: its tracker .* has 2 servers of the key 'mine'"):
        rpc.open(place, "relay-0.19")
    rpc.close()
    place.host.vars["tvm_rpc_key"] = "other"
    with pytest.raises(RpcError, match=r"here: its tracker .* has no server of the key 'other'"):
        BoardRpc(lambda _: "0.19.0").open(place, "relay-0.19")


def smoke(release: Path, result: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", str(release / "libexec" / "smoke.py"), str(release), str(result)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_the_smoke_test_tells_what_works_and_what_does_not(place: Connection, tmp_path: Path) -> None:
    release, result = Path(ServerPlace.of(place.host).prefix, "current").resolve(), tmp_path / "smoke.json"
    done = smoke(release, result)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(result.read_text())
    assert (found["tvm"], found["devices"]) == ("0.19.0", ["cpu"])
    assert found["library_info"]["USE_RPC"] == "ON"
    result.unlink()
    manifest = json.loads((release / "manifest.json").read_text())
    manifest["options"]["USE_OPENCL"] = "/usr/lib/libOpenCL.so"
    (release / "manifest.json").write_text(json.dumps(manifest))
    done = smoke(release, result)
    assert done.returncode == 1
    assert done.stdout == ("the runtime is not what its manifest says: USE_OPENCL is OFF, not /usr/lib/libOpenCL.so\n")
    crashing = tmp_path / "crash.c"
    crashing.write_text("__attribute__((constructor)) static void f(void) { __builtin_trap(); }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", release / "lib" / "libtvm_runtime.so", crashing], check=True)
    done = smoke(release, result)
    assert done.returncode == 1
    assert done.stdout == (
        "the runtime crashed with SIGILL: it was built for a processor with more instructions than this one has\n"
    )
    (release / "lib" / "libtvm_runtime.so").unlink()
    done = smoke(release, result)
    assert done.returncode == 1
    assert "the runtime does not load or work here" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert not result.exists()
