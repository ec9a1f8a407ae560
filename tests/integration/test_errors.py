"""What goes wrong on the way to a host, and what the user is told. Everything ends within its deadline."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest
from deadlines import at_most
from ssh_servers import Sshd, free_port

from tvmops.connection import connect
from tvmops.errors import ConfigError, HostKeyError, HostUnreachable
from tvmops.inventory.model import Host


def test_refused_port_names_host_address_and_port() -> None:
    port = free_port()
    with (
        at_most(6),
        pytest.raises(HostUnreachable, match=rf"^board: cannot connect to 127.0.0.1:{port} .*refused") as info,
    ):
        connect(Host("board", {"ansible_host": "127.0.0.1", "ansible_port": port}))
    assert "sshd" in info.value.hint


def test_name_that_does_not_exist() -> None:
    with at_most(60), pytest.raises(HostUnreachable, match=r"cannot resolve the name 'no-such-board.invalid'"):
        connect(Host("board", {"ansible_host": "no-such-board.invalid"}))


def test_a_listener_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = Host("board", {"ansible_host": "127.0.0.1", "ansible_port": silent.getsockname()[1]})
        with at_most(12), pytest.raises(HostUnreachable, match=r"accepted the connection, then went silent"):
            connect(host, deadline=1.0)


def test_connect_timeout_of_the_inventory_shortens_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {"ansible_host": "127.0.0.1", "ansible_port": silent.getsockname()[1]}
        host = Host("board", {**variables, "ansible_ssh_common_args": "-o ConnectTimeout=1"})
        with at_most(12), pytest.raises(HostUnreachable, match=r"waited 1 s"):
            connect(host, deadline=60.0)


def test_an_address_that_swallows_packets() -> None:
    # A full backlog makes the kernel drop further connection requests, as a firewall would.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        time.sleep(0.1)
        with at_most(12), pytest.raises(HostUnreachable, match=r"within 1 s .*no answer"):
            connect(Host("board", {"ansible_host": "127.0.0.1", "ansible_port": address[1]}), deadline=1.0)
        for filler in fillers:
            filler.close()


def test_something_that_is_not_ssh() -> None:
    program = "import socket; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1], flush=True)\n"
    program += "c,_=s.accept(); c.sendall(b'HTTP/1.0 400 Bad Request\\r\\n\\r\\n'*200); c.close()"
    with subprocess.Popen(["python3", "-c", program], stdout=subprocess.PIPE) as server:
        assert server.stdout
        host = Host("board", {"ansible_host": "127.0.0.1", "ansible_port": int(server.stdout.readline())})
        with at_most(15), pytest.raises(HostUnreachable, match=r"does not answer as an ssh server"):
            connect(host)
        server.kill()


def test_a_server_that_freezes_during_the_handshake(sshd: Sshd) -> None:
    sshd.signal(signal.SIGSTOP)
    with at_most(12), pytest.raises(HostUnreachable, match=r"went silent"):
        connect(sshd.host(), deadline=1.0)


class _SilentAuthentication(paramiko.ServerInterface):
    """Takes every key and never says what it thinks of it."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.over.wait(60)
        return paramiko.common.AUTH_FAILED


def test_a_server_that_goes_silent_during_authentication(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        key = paramiko.Ed25519Key.from_private_key_file(str(sshd.folder / "host_ed25519"))
        server = _SilentAuthentication()

        def serve() -> None:
            transport = paramiko.Transport(listener.accept()[0])
            transport.add_server_key(key)
            transport.start_server(server=server)

        threading.Thread(target=serve, daemon=True).start()
        (sshd.folder / "other_hosts").write_text(f"[127.0.0.1]:{port} {sshd.host_key()}\n")
        files = f"UserKnownHostsFile={sshd.folder}/other_hosts -o GlobalKnownHostsFile=none"
        options = f"-F none -o {files} -o IdentitiesOnly=yes"
        host = sshd.host(ansible_port=port, ansible_ssh_common_args=options)
        with at_most(5), pytest.raises(HostUnreachable, match=r"went silent during authentication \(waited 2 s\)"):
            connect(host, deadline=2.0)
        server.over.set()


def test_a_server_that_freezes_after_login(sshd: Sshd) -> None:
    connection = connect(sshd.host())
    process = connection.open("while read line; do echo $line; done")
    process.write(b"hello\n")
    assert process.read_line(10) == b"hello"
    sshd.signal(signal.SIGSTOP)
    with at_most(9), pytest.raises(HostUnreachable, match=r"went silent"):
        process.read_line(1.0)
    with at_most(24):
        connection.close()


def test_a_server_that_freezes_before_a_command(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmops.connection.ssh.CHANNEL_TIMEOUT", 1.0)
    connection = connect(sshd.host())
    sshd.signal(signal.SIGSTOP)
    with at_most(12), pytest.raises(HostUnreachable, match=r"went silent: no channel opened within 1 s"):
        connection.run("true")
    connection.close()


def test_input_that_nobody_takes_is_an_error(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmops.connection.process.SEND_STALL", 1.0)
    connection = connect(sshd.host())
    process = connection.open("sleep 600")
    with at_most(24), pytest.raises(HostUnreachable, match=r"took no input"):
        process.write(b"x" * 20_000_000)
    connection.close()


def test_a_connection_that_is_cut(sshd: Sshd) -> None:
    connection = connect(sshd.host())
    process = connection.open("sleep 600")
    sshd.stop()
    with at_most(15), pytest.raises(HostUnreachable, match=r"connection was lost"):
        process.read_line(20)
    with at_most(9), pytest.raises(HostUnreachable, match=r"connection was lost"):
        connection.run("true")
    connection.close()


def test_an_upload_that_is_cut_leaves_the_old_file(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    connection = connect(sshd.host())
    process = connection.open("sleep 600")
    real = connection.open

    def cut_soon(command: str) -> object:
        started = real(command)
        os.kill(sshd.process.pid, signal.SIGSTOP)  # nobody may log in again; the connection's own process goes
        for pid in sshd.processes()[1:2]:
            os.kill(pid, signal.SIGKILL)
        return started

    monkeypatch.setattr(connection, "open", cut_soon)
    with at_most(30), pytest.raises(HostUnreachable):
        connection.put(b"new" * 5_000_000, str(target))
    time.sleep(0.3)
    assert target.read_bytes() == b"old"
    process.kill()


def test_refused_options_open_no_connection() -> None:
    host = Host("board", {"ansible_host": "127.0.0.1", "ansible_ssh_common_args": "-o StrictHostKeyChecking=no"})
    with pytest.raises(ConfigError, match=r"board: ansible_ssh_common_args: StrictHostKeyChecking=no is refused"):
        connect(host)


def test_no_channel_left(make_sshd: Callable[..., Sshd]) -> None:
    connection = connect(make_sshd(MaxSessions="1").host())
    process = connection.open("sleep 600")
    with pytest.raises(HostUnreachable, match=r"refused another channel") as info:
        connection.run("true")
    assert "MaxSessions" in info.value.hint
    process.kill()
    connection.close()


def test_a_server_that_has_no_channel_left_is_asked_again(make_sshd: Callable[..., Sshd]) -> None:
    connection = connect(make_sshd(MaxSessions="2").host())
    busy = [connection.open("sleep 1") for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: connection.run(f"echo {number}").stdout, range(8)))
    assert answers == [f"{number}\n" for number in range(8)]
    assert [process.wait(10) for process in busy] == [0, 0]
    connection.close()


def test_tunnel_where_forwarding_is_forbidden(make_sshd: Callable[..., Sshd]) -> None:
    connection = connect(make_sshd(AllowTcpForwarding="no").host())
    with connection.forward(9) as tunnel:
        with pytest.raises(ConnectionError), socket.create_connection(("127.0.0.1", tunnel.port), 10) as client:
            assert client.recv(1) != b""
        assert tunnel.error
        assert "prohibited" in tunnel.error
    connection.close()


def test_jump_host_faults_name_the_jump_host(make_sshd: Callable[..., Sshd]) -> None:
    target, jump = make_sshd(), make_sshd(AllowTcpForwarding="no")
    config = target.folder / "config"
    hop = f"Host hop\n HostName 127.0.0.1\n Port {jump.port}\n User {jump.user}\n IdentityFile {jump.key}\n"
    config.write_text(f"{hop} UserKnownHostsFile {target.folder}/empty\n GlobalKnownHostsFile none\n")
    via = f"-F {config} -J hop -o UserKnownHostsFile={target.known_hosts} -o GlobalKnownHostsFile=none"
    with pytest.raises(HostKeyError, match=rf"^board: jump host hop: .*127.0.0.1:{jump.port} is not known"):
        connect(target.host(ansible_ssh_common_args=via))
    config.write_text(f"{hop} UserKnownHostsFile {jump.known_hosts}\n GlobalKnownHostsFile none\n")
    with pytest.raises(HostUnreachable, match=rf"board: 127.0.0.1:{target.port} cannot be reached from its jump host"):
        connect(target.host(ansible_ssh_common_args=via))


def test_proxy_command_works_and_its_complaint_is_shown(sshd: Sshd) -> None:
    relay = "import socket,sys,os,threading as t; s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
    relay += "def up():\n while 1:\n  d=os.read(0,65536)\n  if not d: os._exit(0)\n  s.sendall(d)\n"
    relay += "t.Thread(target=up,daemon=True).start()\nwhile 1:\n d=s.recv(65536)\n if not d: break\n os.write(1,d)\n"
    script = sshd.folder / "relay.py"
    script.write_text(relay)
    python = shutil.which("python3")
    good = sshd.options(f"-o 'ProxyCommand={python} {script} %h %p'")
    connection = connect(sshd.host(ansible_ssh_common_args=good))
    assert connection.run("echo through").stdout == "through\n"
    connection.close()
    bad = sshd.options("-o ProxyCommand='sh -c \"echo no route to that board >&2\"'")
    with at_most(15), pytest.raises(HostUnreachable, match=r"ProxyCommand .* failed: no route to that board"):
        connect(sshd.host(ansible_ssh_common_args=bad))


def test_a_server_that_freezes_while_it_is_sent_to(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmops.connection.sockets.SEND_STALL", 1.0)
    monkeypatch.setattr("tvmops.connection.process.SEND_STALL", 1.0)
    connection = connect(sshd.host())
    process = connection.open("cat > /dev/null")
    process.write(b"x" * 100_000)
    sshd.signal(signal.SIGSTOP)
    with at_most(18), pytest.raises(HostUnreachable):
        process.write(b"x" * 50_000_000)
    connection.close()


def test_a_frozen_server_behind_a_jump_host(make_sshd: Callable[..., Sshd], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmops.connection.sockets.SEND_STALL", 1.0)
    monkeypatch.setattr("tvmops.connection.process.SEND_STALL", 1.0)
    target, jump = make_sshd(), make_sshd()
    config = target.folder / "config"
    config.write_text(
        f"GlobalKnownHostsFile none\nHost hop\n HostName 127.0.0.1\n Port {jump.port}\n User {jump.user}\n"
        f" IdentityFile {jump.key}\n UserKnownHostsFile {jump.known_hosts}\n"
        f"Host *\n UserKnownHostsFile {target.known_hosts}\n"
    )
    connection = connect(target.host(ansible_ssh_common_args=f"-F {config} -J hop"))
    process = connection.open("cat > /dev/null")
    process.write(b"x" * 100_000)
    target.signal(signal.SIGSTOP)
    with at_most(24), pytest.raises(HostUnreachable):
        process.write(b"x" * 50_000_000)
    with at_most(18):
        connection.close()


def test_a_busy_server_that_turns_some_away_is_tried_again(make_sshd: Callable[..., Sshd]) -> None:
    server = make_sshd(MaxStartups="3")

    def reach(number: int) -> str:
        connection = connect(server.host(), deadline=20.0)
        output = connection.run(f"echo {number}").stdout
        connection.close()
        return output

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(reach, range(12))) == [f"{number}\n" for number in range(12)]
