"""A real TVM RPC server on loopback: alive, wedged, blocked, busy, gone, or not TVM at all."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import processes
import pytest
from runtime_release import STACK, make_prefix, plain_python
from ssh_servers import Sshd, free_port

from tvmops.connection import Connection, connect
from tvmops.errors import ConfigError, RpcError
from tvmops.inventory import Host
from tvmops.rpc import Answer, BoardRpc, BoardServer, ensure_server, handshake
from tvmops.rpc.board import ServerPlace, look
from tvmops.rpc.control import stop
from tvmops.rpc.handshake import MAGIC
from tvmops.stack import ensure_environment, load_stack

VERSION = load_stack(STACK).version
CRASH = r"""
import subprocess, sys, tvm
from pathlib import Path
folder, port = Path(sys.argv[1]), int(sys.argv[2])
(folder / "crash.c").write_text("__attribute__((constructor)) static void f(void) { *(volatile int *)0 = 1; }")
subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "crash.so", folder / "crash.c"], check=True)
session = tvm.rpc.connect("127.0.0.1", port, session_timeout=30)
session.upload(str(folder / "crash.so"))
try:
    session.load_module("crash.so")
except Exception as error:
    print("lost:", type(error).__name__)
"""


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on loopback answers in milliseconds: a wedged one need not be waited for as long as a far board's."""
    monkeypatch.setattr("tvmops.rpc.server.ANSWER_SECONDS", 1.0)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prefix(tmp_path_factory.mktemp("rpc") / "prefix")


@pytest.fixture
def host(prefix: Path) -> Host:
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": plain_python(),
        "tvmops_unprivileged": True,
        "tvmops_prefix": str(prefix),
        "tvm_rpc_port": free_port(),
    }
    return Host("here", variables)


@pytest.fixture
def connection(host: Host) -> Iterator[Connection]:
    opened = connect(host)
    yield opened
    stop(opened, ServerPlace.of(host))
    opened.close()


@pytest.fixture
def server(connection: Connection) -> Iterator[BoardServer]:
    """A server that was not running and is now."""
    made = BoardServer(connection)
    made.ensure()
    assert made.restarts == 1
    yield made
    made.close()


def raw(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def say(port: int, key: bytes) -> socket.socket:
    """A client that sends TVM's greeting with this key, and stays."""
    client = raw(port)
    client.sendall(struct.pack("<ii", MAGIC, len(key)) + key)
    return client


def read_greeting(client: socket.socket) -> None:
    """Take all that came: a client that closes with data unread resets the connection, which ends the listener."""
    size = len(struct.pack("<ii", 0, 0) + b"server:")
    while size:
        size -= len(client.recv(size))


def kill_listener(port: int) -> None:
    """One malformed key ends TVM's listener thread; process and port stay."""
    with say(port, b"\xff\xfe") as client:
        assert client.recv(4) == b""


def group_of(server: BoardServer) -> int:
    return int(Path(server.place.prefix, "run", "server.pid").read_text())


def members(group: int) -> list[int]:
    return processes.that(lambda process: os.getpgid(process.pid) == group)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


# The handshake ----------------------------------------------------------------------------------------------------


def test_a_handshake_leaves_the_server_well(server: BoardServer) -> None:
    port = server.port()
    for _ in range(20):
        assert handshake(port) is Answer.MISMATCH
        assert handshake(port, key="client:") is Answer.ACCEPTED
    until(lambda: not look(server.connection, server.place).sessions)
    server.ensure()
    assert server.restarts == 1


def test_nothing_listens() -> None:
    with pytest.raises(RpcError, match=r"port \d+: nothing listens \(Connection refused\)"):
        handshake(free_port(), deadline=2)


@contextlib.contextmanager
def answering(reply: bytes | None) -> Iterator[int]:
    """A server that takes what it is sent, and answers `reply`; None: says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                with client:
                    client.recv(1024)
                    if reply is not None:
                        client.sendall(reply)
                    else:
                        client.recv(1024)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "answered b'HTTP', which is not TVM's RPC protocol"),
        (struct.pack("<ii", MAGIC, 1 << 30), "announces a key of 1073741824 bytes"),
        (b"\x71", "closed the connection in the handshake"),
        (b"", "closed the connection in the handshake"),
        (None, "does not answer"),
    ],
)
def test_whatever_is_not_tvm_is_named(reply: bytes | None, expected: str) -> None:
    started = time.monotonic()
    with answering(reply) as port, pytest.raises(RpcError, match=expected):
        handshake(port, key="client:", deadline=1.0)
    assert time.monotonic() - started < 10


def test_a_trickling_answer_does_not_stretch_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                client.sendall(struct.pack("<ii", MAGIC, 4000))
                for _ in range(50):
                    client.sendall(b"x")
                    time.sleep(0.2)

        threading.Thread(target=trickle, daemon=True).start()
        started = time.monotonic()
        with pytest.raises(RpcError, match="does not answer"):
            handshake(listener.getsockname()[1], key="client:", deadline=1.0)
        assert time.monotonic() - started < 8


# Dead servers that look alive -------------------------------------------------------------------------------------


def assert_wedged(server: BoardServer) -> None:
    """The trap: process and port are there, a connection is taken, no answer comes."""
    raw(server.port()).close()
    assert members(group_of(server))
    with pytest.raises(RpcError, match="does not answer"):
        handshake(server.port(), deadline=1.0)


def test_a_segfault_in_a_session_kills_the_listener_and_is_repaired(server: BoardServer, tmp_path: Path) -> None:
    python = ensure_environment(load_stack(STACK))
    argv = [str(python), "-c", CRASH, str(tmp_path), str(server.port())]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert "lost:" in done.stdout, done.stderr
    assert_wedged(server)
    assert "does not answer" in server.status().problem
    server.ensure()
    assert server.restarts == 2
    assert handshake(server.port()) is Answer.MISMATCH


def test_a_listener_killed_by_a_malformed_key_is_repaired(server: BoardServer) -> None:
    kill_listener(server.port())
    assert_wedged(server)
    assert ensure_server(server.connection) == server.place.port
    assert handshake(server.port()) is Answer.MISMATCH


def test_a_client_that_vanishes_with_a_reset_is_survived(server: BoardServer) -> None:
    client = say(server.port(), b"client:")
    until(lambda: bool(look(server.connection, server.place).sessions))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    server.ensure()
    assert handshake(server.port()) is Answer.MISMATCH


def test_an_idle_connection_blocks_and_is_cut(server: BoardServer) -> None:
    with raw(server.port()):
        time.sleep(0.3)
        assert_wedged(server)
        server.ensure()
    assert server.restarts == 2


def test_a_killed_parent_leaves_no_orphan_behind_a_restart(server: BoardServer) -> None:
    group = group_of(server)
    assert len(members(group)) == 2
    os.kill(group, signal.SIGKILL)
    server.restart()
    assert members(group) == []
    assert handshake(server.port()) is Answer.MISMATCH


def test_stop_ends_every_process(server: BoardServer) -> None:
    group = group_of(server)
    with say(server.port(), b"client:"):
        until(lambda: len(members(group)) == 3)
        stop(server.connection, server.place)
        assert members(group) == []


def test_a_recycled_process_number_is_left_alone(server: BoardServer) -> None:
    stop(server.connection, server.place)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as bystander:
        Path(server.place.prefix, "run", "server.pid").write_text(f"{bystander.pid}\n")
        stop(server.connection, server.place)
        assert bystander.poll() is None
        bystander.kill()


# Busy servers -----------------------------------------------------------------------------------------------------


def test_a_busy_server_is_waited_for_not_restarted(server: BoardServer) -> None:
    client = say(server.port(), b"client:")
    until(lambda: bool(look(server.connection, server.place).sessions))
    assert server.status().busy
    assert server.status().problem == ""
    read_greeting(client)
    threading.Timer(1.0, client.close).start()
    server.ensure(busy_seconds=30)
    assert server.restarts == 1


def test_a_server_busy_for_too_long_is_named_with_its_session(server: BoardServer) -> None:
    with say(server.port(), b"client:") as client:
        until(lambda: bool(look(server.connection, server.place).sessions))
        with pytest.raises(RpcError, match=r"serves another client \(process \d+\), for more than 1 s"):
            server.ensure(busy_seconds=1)
        read_greeting(client)
    assert server.restarts == 1


# The port ---------------------------------------------------------------------------------------------------------


def test_a_port_taken_by_another_program_names_it(connection: Connection) -> None:
    place = ServerPlace.of(connection.host)
    with http.server.HTTPServer(("127.0.0.1", place.port), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        expected = rf"here: port {place.port} is taken by \S+ \(process {os.getpid()}: .*\n.*tvm_rpc_port"
        with pytest.raises(RpcError, match=expected):
            ensure_server(connection)
        assert "is taken by" in BoardServer(connection).status().problem
        other.shutdown()


def test_the_server_never_drifts_to_another_port(server: BoardServer, prefix: Path) -> None:
    stop(server.connection, server.place)
    with socket.create_server(("127.0.0.1", server.place.port)):
        tool = Path(__file__).parents[2] / "playbooks" / "files" / "rpc_detached.py"
        subprocess.run([plain_python(), tool, "start", prefix, str(server.place.port)], check=True)
        log = prefix / "run" / "server.log"
        until(lambda: "cannot bind to any port" in log.read_text(), 30)


@pytest.mark.parametrize("port", [0, 65535, "http"])
def test_a_port_that_is_none(port: object) -> None:
    host = Host("b", {"tvm_rpc_port": port}, {"tvm_rpc_port": "inventory/hosts.yml:7"})
    with pytest.raises(ConfigError, match=r"inventory/hosts.yml:7: tvm_rpc_port: .* is no port number"):
        ServerPlace.of(host)


@pytest.mark.parametrize("key", ["two words", "{{ inventory_hostname }}", "k'"])
def test_a_key_that_is_no_word(key: str) -> None:
    host = Host("b", {"tvm_rpc_key": key}, {"tvm_rpc_key": "inventory/hosts.yml:8"})
    with pytest.raises(ConfigError, match=r"inventory/hosts.yml:8: tvm_rpc_key: .* is no word"):
        ServerPlace.of(host)


# Sweeps' way to it ------------------------------------------------------------------------------------------------


def test_a_sweep_gets_an_endpoint_that_answers(connection: Connection) -> None:
    rpc = BoardRpc(lambda _: VERSION)
    endpoint = rpc.open(connection, STACK)
    assert endpoint.tvm_version == VERSION
    assert handshake(endpoint.port, host=endpoint.host) is Answer.MISMATCH
    kill_listener(endpoint.port)
    rpc.restore(connection, STACK)
    assert handshake(rpc.open(connection, STACK).port) is Answer.MISMATCH
    assert rpc.restarts == 2
    rpc.close()


def test_runtime_and_compiler_that_differ_are_both_named(connection: Connection) -> None:
    rpc = BoardRpc(lambda _: "0.99.0")
    expected = (
        rf"here: its runtime is TVM {VERSION} \(stack {STACK}, release \w{{16}}\), .*future compiles with TVM 0.99.0"
    )
    with pytest.raises(RpcError, match=expected):
        rpc.open(connection, "future")
    assert not look(connection, ServerPlace.of(connection.host)).listening


def test_a_board_without_a_runtime_says_so(tmp_path: Path) -> None:
    variables = {"ansible_connection": "local", "tvmops_unprivileged": True, "tvmops_prefix": str(tmp_path)}
    opened = connect(Host("bare", {**variables, "tvm_rpc_port": free_port()}))
    with pytest.raises(RpcError, match=r"bare: there is no TVM runtime on it\n.*tvmops provision --host bare"):
        BoardRpc(lambda _: VERSION).open(opened, STACK)
    with pytest.raises(RpcError, match=r"cannot be restarted: there is no release in"):
        ensure_server(opened)
    opened.close()


def test_all_of_it_through_ssh(host: Host, make_sshd: Callable[..., Sshd]) -> None:
    kept = {name: value for name, value in host.vars.items() if name != "ansible_connection"}
    far = make_sshd().host(**kept)
    opened = connect(far)
    server = BoardServer(opened)
    try:
        assert server.ensure() != server.place.port  # a tunnel
        kill_listener(server.port())
        server.ensure()
        assert server.restarts == 2
        assert handshake(server.port(), key="client:") is Answer.ACCEPTED
    finally:
        stop(opened, server.place)
        server.close()
        opened.close()
