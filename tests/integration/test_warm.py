"""Warm connections over a real sshd: the second command logs in no more, and nothing that goes wrong can hurt it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import processes
import psutil
import pytest
from ssh_servers import Sshd, make_key

from tvmops.connection import connect
from tvmops.connection import warm_wire as wire
from tvmops.connection.options import warm_seconds
from tvmops.connection.session import AgentSession
from tvmops.connection.ssh import SshConnection
from tvmops.connection.warm import WarmConnection
from tvmops.connection.warm_reach import ask_keeper, keepers
from tvmops.errors import AuthenticationError, ConfigError, HostKeyError, HostUnreachable
from tvmops.inventory.model import Host


@pytest.fixture(autouse=True)
def keepers_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder of the test's own; its keepers are ended afterwards."""
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TVMOPS_WARM", "120")
    folder = wire.folder()
    yield
    for pid in keeper_pids(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)


def keeper_pids(folder: Path | None = None) -> list[int]:
    folder = folder or wire.folder()
    found = []
    for one in psutil.process_iter(["cmdline"]):
        line = one.info["cmdline"] or []
        if line and line[-1].startswith(f"{folder}/keeper-") and one.status() != psutil.STATUS_ZOMBIE:
            found.append(one.pid)
    return found


def logins(sshd: Sshd) -> int:
    return (sshd.folder / "sshd.log").read_text().count("Accepted publickey")


def until(condition: Callable[[], Any]) -> None:
    """Wait for it, long enough for a slow machine."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def a_command(host: Host) -> bool:
    """What a command does; whether it found a connection."""
    connection = connect(host)
    try:
        assert isinstance(connection, WarmConnection)
        assert connection.run("echo hello").stdout == "hello\n"
        return connection.reused
    finally:
        connection.close()


def kept() -> list[dict[str, Any]]:
    answers = [ask_keeper(path, "show") for path in keepers()]
    return [one for answer in answers if answer for one in answer["connections"]]


def test_the_second_command_does_not_log_in(sshd: Sshd) -> None:
    host = sshd.host()
    assert [a_command(host) for _ in range(3)] == [False, True, True]
    assert logins(sshd) == 1
    assert len(keeper_pids()) == 1


def test_another_process_uses_it_and_the_keeper_outlives_its_parent(sshd: Sshd, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    lines = "\n".join(f"      {name}: {value!r}" for name, value in sshd.vars().items())
    inventory.write_text(f"all:\n  hosts:\n    board:\n{lines}\n")
    line = [sys.executable, "-m", "tvmops", "facts", "-i", str(inventory), "--host", "board", "--refresh", "--warm"]
    environment = {name: value for name, value in os.environ.items() if name != "TVMOPS_WARM"}
    for _ in range(2):
        # Without an end of its output it would wait here for ever.
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment, check=True)
        assert "processors" in done.stdout
    assert logins(sshd) == 1
    assert [one["uses"] for one in kept()] == [2]
    shown = subprocess.run([*line[:3], "warm"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert f"board: {sshd.user}@127.0.0.1:{sshd.port}, kept for" in shown
    subprocess.run([*line[:3], "warm", "--stop"], capture_output=True, text=True, timeout=60, check=True)
    until(lambda: not keeper_pids())
    assert list(wire.folder().iterdir()) == []


def test_the_keeper_holds_nothing_of_its_parent(sshd: Sshd) -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    a_command(sshd.host())
    os.close(write_end)
    assert os.read(read_end, 1) == b""
    os.close(read_end)
    (pid,) = keeper_pids()
    assert os.getsid(pid) == pid
    files = [Path(f"/proc/{pid}/fd/{n}").readlink() for n in (0, 1, 2)]
    assert files == [Path(os.devnull)] * 3


def test_it_ends_by_itself_when_the_time_is_over(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_WARM", "0.5")
    a_command(sshd.host())
    until(lambda: not keeper_pids())
    assert list(wire.folder().iterdir()) == []
    until(lambda: len(sshd.processes()) == 1)
    assert a_command(sshd.host()) is False


def test_a_keeper_that_was_killed_is_replaced(sshd: Sshd) -> None:
    a_command(sshd.host())
    (pid,) = keeper_pids()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not keeper_pids())
    assert a_command(sshd.host()) is False
    assert a_command(sshd.host()) is True
    assert logins(sshd) == 2


def test_a_keeper_that_dies_in_use_is_a_lost_connection(sshd: Sshd) -> None:
    connection = connect(sshd.host())
    process = connection.open("echo ready; sleep 600")
    assert process.read_line(30) == b"ready"
    os.kill(keeper_pids()[0], signal.SIGKILL)
    with pytest.raises(HostUnreachable, match="keeper"):
        process.read_line(60)
    with pytest.raises(HostUnreachable, match="keeper"):
        connection.run("true")
    process.kill()
    connection.close()


def test_a_keeper_that_hangs_costs_time_only(sshd: Sshd) -> None:
    a_command(sshd.host())
    os.kill(keeper_pids()[0], signal.SIGSTOP)
    connection = connect(sshd.host(), 6.0)
    assert isinstance(connection, SshConnection)
    assert connection.run("echo fresh").stdout == "fresh\n"
    connection.close()


def test_a_restarted_sshd_means_a_fresh_login(make_sshd: Callable[..., Sshd]) -> None:
    sshd = make_sshd()
    a_command(sshd.host())
    # The connection's own process: the listener lives on.
    for pid in sshd.processes()[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert a_command(sshd.host()) is False
    assert logins(sshd) == 2


def test_a_server_that_went_silent_is_noticed_within_the_deadline(sshd: Sshd) -> None:
    a_command(sshd.host())
    sshd.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(HostUnreachable):
        connect(sshd.host(), 4.0)
    assert time.monotonic() - began < 60
    sshd.signal(signal.SIGCONT)
    a_command(sshd.host())


def test_what_decides_the_connection_decides_whether_it_is_reused(sshd: Sshd, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copy(sshd.key, other)
    hosts = [
        sshd.host(),
        sshd.host(ansible_ssh_private_key_file=str(other)),
        sshd.host(ansible_password="x"),
        sshd.host("another-name"),
    ]
    assert [a_command(host) for host in hosts] == [False] * len(hosts)
    assert [a_command(host) for host in hosts] == [True] * len(hosts)


def test_a_changed_known_hosts_file_is_looked_at(sshd: Sshd) -> None:
    a_command(sshd.host())
    sshd.known_hosts.write_text("")
    with pytest.raises(HostKeyError, match="not known"):
        connect(sshd.host())


def test_a_key_file_that_was_exchanged_is_not_believed(sshd: Sshd, tmp_path: Path) -> None:
    key = tmp_path / "key"
    shutil.copy(sshd.key, key)
    host = sshd.host(ansible_ssh_private_key_file=str(key))
    a_command(host)
    key.unlink()
    make_key(key)
    with pytest.raises(AuthenticationError, match="refused to let us in"):
        connect(host)


def test_errors_are_those_of_a_fresh_connection(sshd: Sshd) -> None:
    with pytest.raises(HostUnreachable, match=r"board: cannot connect to 127\.0\.0\.1:1 .*refused"):
        connect(sshd.host(ansible_port=1))
    with pytest.raises(ConfigError, match="StrictHostKeyChecking"):
        connect(sshd.host(ansible_ssh_common_args="-o StrictHostKeyChecking=no"))
    with pytest.raises(ConfigError, match="-F nowhere: no such file"):
        connect(sshd.host(ansible_ssh_common_args="-F nowhere"))


def test_what_a_command_left_running_is_ended_and_its_session_not_kept(sshd: Sshd) -> None:
    connection = connect(sshd.host())
    line = connection.open("echo $$; trap '' HUP; while :; do sleep 600; done").read_line(60)
    assert line
    connection.close()
    assert processes.gone(int(line))
    assert kept() == []
    assert a_command(sshd.host()) is False


def test_a_command_that_dies_takes_its_session_along(sshd: Sshd) -> None:
    program = (
        "import json, os, sys; from tvmops.connection import connect; from tvmops.inventory.model import Host\n"
        "connection = connect(Host('board', json.loads(sys.argv[1])))\n"
        "process = connection.open('echo up; cat; echo went on > ' + sys.argv[2])\n"
        "process.read_line(60)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    after = sshd.folder / "after"
    subprocess.run([sys.executable, "-c", program, json.dumps(sshd.vars()), str(after)], timeout=120, check=False)
    # The end of its input, as when a link is lost: what to do then is the program's own business.
    until(after.exists)
    until(lambda: kept() == [])


def test_a_process_may_be_left_alone(sshd: Sshd) -> None:
    connection = connect(sshd.host())
    left = sshd.folder / "left"
    process = connection.open(f"echo up; cat > /dev/null; echo done > {left}")
    assert process.read_line(60) == b"up"
    process.leave()
    until(left.exists)
    connection.close()


def test_two_commands_at_a_time_have_a_session_each(sshd: Sshd) -> None:
    first, second = connect(sshd.host()), connect(sshd.host())
    assert (first.run("echo 1").stdout, second.run("echo 2").stdout) == ("1\n", "2\n")
    first.close()
    second.close()
    until(lambda: len(kept()) == 1)
    assert a_command(sshd.host()) is True


def test_many_hosts_at_once_start_one_keeper(sshd: Sshd) -> None:
    hosts = [sshd.host(f"board-{number}") for number in range(8)]
    threads = [threading.Thread(target=a_command, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(keeper_pids()) == 1
    assert all(a_command(host) for host in hosts)
    assert logins(sshd) == len(hosts)


def test_an_agent_session_works_through_it(sshd: Sshd) -> None:
    for _ in range(2):
        connection = connect(sshd.host())
        with AgentSession(connection) as session:
            assert session.info["ev"] == "ready"
        connection.close()
    assert logins(sshd) == 1


def test_much_input_arrives_while_output_is_waited_for(sshd: Sshd) -> None:
    connection = connect(sshd.host())
    process = connection.open("head -c 20000000 > /dev/null; echo got it; sleep 600")
    process.write(b"x" * 20_000_000)
    assert process.read_line(120) == b"got it"
    process.kill()
    connection.close()


def test_the_socket_is_private(sshd: Sshd) -> None:
    a_command(sshd.host())
    (path,) = keepers()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def greeting_of(path: Path, user: int | None) -> bytes:
    """What the keeper says to a process of that user (None: of this one's)."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"could not connect"
        try:
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(30)
                one.connect(str(path))
                said = one.recv(100)
        except ConnectionError:
            said = b""
        finally:
            os.write(write_end, said)
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="tvmops-warm-"))
    folder.chmod(0o755)
    monkeypatch.setenv("TVMOPS_STATE", str(folder / "state"))
    yield
    for pid in keeper_pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder)


def test_another_user_is_not_served(sshd: Sshd, open_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    a_command(sshd.host())
    (path,) = keepers()
    path.parent.chmod(0o755)  # the modes would let him in
    path.chmod(0o666)
    assert b"pid" in greeting_of(path, None)
    if os.geteuid() == 0:  # nobody else can become another user
        assert greeting_of(path, 65534) == b""
    assert a_command(sshd.host()) is True
    # And this side does not trust a keeper of somebody else.
    one, other = socket.socketpair()
    with monkeypatch.context() as patch, one as end, other:
        assert wire.is_ours(end)
        patch.setattr(os, "geteuid", lambda: 12345)
        assert not wire.is_ours(end)


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, sshd: Sshd) -> None:
    (tmp_path / "state" / "warm").rmdir()
    (tmp_path / "state" / "warm").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="not a folder of this user"):
        connect(sshd.host())


def test_noise_on_the_socket_does_not_hurt_the_keeper(sshd: Sshd) -> None:
    a_command(sshd.host())
    (path,) = keepers()
    for noise in (
        b"",
        b"\xff" * 100,
        wire.framed(b"m", b"[]"),
        wire.message(op="fly"),
        wire.message(op="exec", lease=9),
    ):
        with socket.socket(socket.AF_UNIX) as one, wire.reached(path) as address:
            one.connect(address)
            one.sendall(noise)
    assert a_command(sshd.host()) is True


@pytest.mark.parametrize(
    ("variable", "environment", "seconds"),
    [
        (None, "", 0), (None, "yes", 60), (None, "0", 0), (None, "no", 0), (None, "30", 30), (None, "1", 1),
        (False, "yes", 0), (True, "", 60), (5, "", 5), ("2.5", "no", 2.5),
    ],
)  # fmt: skip
def test_how_long_is_asked_for(
    variable: Any, environment: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVMOPS_WARM", environment)
    assert warm_seconds(Host("board", {} if variable is None else {"tvmops_warm": variable})) == seconds


@pytest.mark.parametrize("word", ["soon", "-1", "nan", "1e9"])
def test_what_is_no_time_is_refused(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_WARM", word)
    with pytest.raises(ConfigError, match="TVMOPS_WARM"):
        warm_seconds(Host("board"))
