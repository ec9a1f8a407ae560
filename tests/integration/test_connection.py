"""The connection contract: one body of tests over ssh, over ssh through a jump host, and over the local machine."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import processes
import pytest
from ssh_servers import Sshd

from tvmops.connection import Connection, connect
from tvmops.connection.warm_reach import ask_keeper, keepers
from tvmops.errors import HostUnreachable, TvmopsError
from tvmops.inventory.model import Host


def jump_host(make_sshd: Callable[..., Sshd]) -> Host:
    """A Host whose ssh configuration leads through another server."""
    target, jump = make_sshd(), make_sshd()
    config = target.folder / "ssh_config"
    common = f"GlobalKnownHostsFile none\n  IdentitiesOnly yes\n  User {jump.user}\n"
    config.write_text(
        f"Host stepping-stone\n  HostName 127.0.0.1\n  Port {jump.port}\n  IdentityFile {jump.key}\n"
        f"  UserKnownHostsFile {jump.known_hosts}\n  {common}"
        f"Host 127.0.0.1\n  ProxyJump stepping-stone\n  UserKnownHostsFile {target.known_hosts}\n  {common}"
    )
    return target.host(ansible_ssh_common_args=f"-F {config}")


@pytest.fixture(params=["ssh", "jump", "local", "warm"])
def connection(
    request: pytest.FixtureRequest,
    make_sshd: Callable[..., Sshd],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Connection]:
    """An open connection of each kind."""
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("TVMOPS_WARM", "30" if request.param == "warm" else "no")
    if request.param == "local":
        host = Host("here", {"ansible_connection": "local"})
    elif request.param == "jump":
        host = jump_host(make_sshd)
    else:
        host = make_sshd().host()
    opened = connect(host)
    yield opened
    opened.close()
    for path in keepers() if request.param == "warm" else []:
        ask_keeper(path, "stop")


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it gets, and ends when its client does."""
    server = socket.create_server(("127.0.0.1", 0), backlog=128)

    def serve(client: socket.socket) -> None:
        with client:
            while data := client.recv(65536):
                client.sendall(data)

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


def test_run_gives_status_and_both_outputs(connection: Connection) -> None:
    result = connection.run("echo out; echo err >&2; exit 3")
    assert (result.rc, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_run_feeds_stdin_without_deadlock(connection: Connection) -> None:
    data = b"0123456789abcde\n" * 400_000  # more than any window or pipe holds, in both directions at once
    result = connection.run("cat", stdin=data)
    assert result.stdout.encode() == data


def test_a_command_need_not_read_its_input(connection: Connection) -> None:
    assert connection.run("exit 5", stdin=b"x" * 5_000_000).rc == 5


def test_stdout_that_is_not_utf8_does_not_hurt(connection: Connection) -> None:
    assert connection.run("printf 'a\\377b'").stdout == "a\ufffdb"


def test_run_past_its_deadline_names_the_command_and_kills_it(connection: Connection, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(HostUnreachable, match=r"sleep 600.*did not finish within 1 s"):
        connection.run(f"sleep 600 & echo $$ $! > {pids}; sleep 600", timeout=1.0)
    assert time.monotonic() - began < 15
    assert processes.gone(*(int(word) for word in pids.read_text().split()))


def test_what_a_finished_command_leaves_on_its_output_is_ended_too(connection: Connection, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(HostUnreachable, match="did not finish"):
        connection.run(f"sleep 600 & echo $! > {pids}", timeout=1.0)
    assert processes.gone(int(pids.read_text()))


def test_lines_arrive_as_they_are_written(connection: Connection) -> None:
    process = connection.open('echo ready; while read line; do echo "got $line"; done; echo end; exit 4')
    assert process.read_line(10) == b"ready"
    process.write(b"one\ntwo\n")
    assert [process.read_line(10), process.read_line(10)] == [b"got one", b"got two"]
    process.close_stdin()
    assert [process.read_line(10), process.read_line(10)] == [b"end", None]
    assert process.wait(10) == 4


def test_a_last_line_without_newline_and_long_lines(connection: Connection) -> None:
    process = connection.open("head -c 3000000 /dev/zero | tr '\\0' x; echo; printf last")
    assert process.read_line(20) == b"x" * 3_000_000
    assert process.read_line(20) == b"last"
    assert process.read_line(20) is None


def test_silence_is_an_error(connection: Connection) -> None:
    process = connection.open("sleep 600")
    began = time.monotonic()
    with pytest.raises(HostUnreachable, match="went silent"):
        process.read_line(0.5)
    assert 0.4 < time.monotonic() - began < 10
    process.kill()


def test_kill_ends_the_whole_group(connection: Connection) -> None:
    process = connection.open("sleep 600 & echo $$ $!; trap '' HUP TERM; sleep 600")
    line = process.read_line(10)
    assert line
    process.kill()
    assert processes.gone(*(int(word) for word in line.split()))


def test_kill_leaves_time_to_end_what_was_started_elsewhere(connection: Connection, tmp_path: Path) -> None:
    """As an agent does, on a machine that is busy: its programs are in groups of their own."""
    script = "setsid sh -c 'echo $$; exec sleep 600' & trap 'sleep 0.8; kill -9 $!; exit' TERM; wait"
    process = connection.open(script)
    line = process.read_line(10)
    assert line
    process.kill()
    assert processes.gone(int(line), seconds=3.0)


def test_close_frees_a_reader_whose_output_somebody_else_holds(connection: Connection) -> None:
    process = connection.open("setsid sh -c 'echo; exec sleep 60' & wait")
    assert process.read_line(10) == b""
    freed: list[str] = []

    def read() -> None:
        try:
            freed.append(f"end: {process.read_line(50)!r}")
        except TvmopsError as error:
            freed.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    time.sleep(0.3)
    connection.close()
    reader.join(15)
    assert len(freed) == 1, "the reader still waits, or broke"


def test_close_ends_what_still_runs(connection: Connection) -> None:
    pids: list[int] = []
    for _ in range(3):
        line = connection.open("sleep 600 & echo $$ $!; wait").read_line(10)
        assert line
        pids += [int(word) for word in line.split()]
    began = time.monotonic()
    connection.close()
    assert time.monotonic() - began < 10
    assert processes.gone(*pids)
    connection.close()


def test_put_and_get(connection: Connection, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    target = tmp_path / "it's a file"
    connection.put(data, str(target), 0o640)
    assert target.read_bytes() == data
    assert target.stat().st_mode & 0o777 == 0o640
    connection.put(b"", str(target))
    assert connection.get(str(target)) == b""
    assert target.stat().st_mode & 0o777 == 0o600
    connection.put(data, str(target))
    assert connection.get(str(target)) == data
    assert [path.name for path in tmp_path.iterdir() if "it's" in path.name] == ["it's a file"]


def test_put_and_get_say_what_is_wrong(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(TvmopsError, match=r"cannot write .*nowhere/x: .*[Nn]o such file|nonexistent"):
        connection.put(b"x" * 3_000_000, str(tmp_path / "nowhere" / "x"))
    with pytest.raises(TvmopsError, match=r"cannot read .*missing"):
        connection.get(str(tmp_path / "missing"))


def test_several_threads_share_a_connection(connection: Connection) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda n: connection.run(f"echo {n}; sleep 0.1; echo {n}").stdout, range(16))
        assert list(results) == [f"{n}\n{n}\n" for n in range(16)]


def test_tunnel_carries_fifty_connections_at_a_time(connection: Connection, echo_port: int) -> None:
    def talk(number: int) -> bytes:
        with socket.create_connection(("127.0.0.1", tunnel.port), 20) as client:
            barrier.wait(20)
            received = b""
            for turn in range(20):
                client.sendall(b"%d-%d;" % (number, turn))
                received += client.recv(100)
            client.shutdown(socket.SHUT_WR)
            while data := client.recv(100):
                received += data
        return received

    barrier = threading.Barrier(50)
    with connection.forward(echo_port) as tunnel, ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(talk, range(50)))
    for number, reply in enumerate(replies):
        assert reply == b"".join(b"%d-%d;" % (number, turn) for turn in range(20))


def test_tunnel_passes_a_megabyte_and_half_close(connection: Connection, echo_port: int) -> None:
    data = os.urandom(1_000_000)
    with connection.forward(echo_port) as tunnel, socket.create_connection(("127.0.0.1", tunnel.port), 20) as client:
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        received = bytearray()
        while piece := client.recv(65536):
            received += piece
        sender.join()
    assert received == data


def test_tunnel_is_not_slowed_down_by_nagle(connection: Connection, echo_port: int) -> None:
    with connection.forward(echo_port) as tunnel, socket.create_connection(("127.0.0.1", tunnel.port), 20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(60):
            began = time.perf_counter()
            client.sendall(b"ping")
            client.sendall(b"pong")  # the second small packet is the one that Nagle's algorithm holds back
            received = b""
            while len(received) < 8:
                received += client.recv(8)
            times.append(time.perf_counter() - began)
    assert sorted(times)[30] < 0.02  # a delayed acknowledgement costs 0.04 s


def test_nobody_listens_behind_the_tunnel(connection: Connection) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        # An orderly end would look like an empty answer.
        with (
            connection.forward(port) as tunnel,
            pytest.raises(ConnectionError),
            socket.create_connection(("127.0.0.1", tunnel.port), 10) as client,
        ):
            assert client.recv(1) != b""


def test_tunnels_end_with_their_connection(make_sshd: Callable[..., Sshd], echo_port: int) -> None:
    connection = connect(make_sshd().host())
    tunnel = connection.forward(echo_port)
    client = socket.create_connection(("127.0.0.1", tunnel.port), 10)
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    connection.close()
    assert client.recv(1) == b""
    client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", tunnel.port), 5)


def test_interrupted_run_leaves_nothing(connection: Connection, tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def interrupt() -> None:
        while not pids.exists() or not pids.read_text().strip():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        connection.run(f"sleep 600 & echo $$ $! > {pids}; sleep 600")
    assert processes.gone(*(int(word) for word in pids.read_text().split()))


def test_killed_at_once_it_leaves_nothing(connection: Connection, tmp_path: Path) -> None:
    for number in range(5):
        started = tmp_path / str(number)
        process = connection.open(f"echo $$ > {started}.new; mv {started}.new {started}; sleep 600")
        while not started.exists():
            pass  # a pause would give the news of its start time to arrive
        process.kill()
        assert processes.gone(int(started.read_text()))
