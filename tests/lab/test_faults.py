"""Faults: each has its effect for real, and `clear` undoes it."""

from __future__ import annotations

import socket
import subprocess
import time

import pytest
from lab_helpers import shell

from tvmops.errors import LabError
from tvmops.lab import Board, Lab

SILENCE = r"timed out|No route"
RECEIVER = """
import socket
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(("", 9999))
server.settimeout(3)
count = 0
print("ready", flush=True)
try:
    while True:
        server.recv(99)
        count += 1
except OSError:
    print(count)
"""


def login_seconds(lab: Lab, board: Board) -> float:
    """How long a login takes."""
    started = time.monotonic()
    assert lab.exec(board, ["true"]).rc == 0
    return time.monotonic() - started


def connect_seconds(address: str, deadline: float = 10.0) -> float:
    """How long a TCP connection takes to open."""
    started = time.monotonic()
    socket.create_connection((address, 22), deadline).close()
    return time.monotonic() - started


def test_cable_out_and_in(lab: Lab, board: Board) -> None:
    lab.fault(board, "down")
    with pytest.raises(OSError, match=SILENCE):
        connect_seconds(board.address, 1.0)
    lab.fault(board, "up")
    assert login_seconds(lab, board) < 15


def test_delay_loss_and_rate(lab: Lab, board: Board) -> None:
    assert connect_seconds(board.address) < 0.15
    lab.fault(board, "delay", "100")
    assert 0.2 <= connect_seconds(board.address) < 1.5
    lab.fault(board, "rate", "1mbit")
    lab.fault(board, "delay", "0")
    started = time.monotonic()
    shell(lab, board, "dd if=/dev/urandom bs=1k count=200 2>/dev/null | base64 -w0")
    assert 1.6 <= time.monotonic() - started < 20
    assert [current.faults for current in lab.boards() if current.name == board.name] == [("delay 0", "rate 1mbit")]
    lab.fault(board, "clear")
    assert connect_seconds(board.address) < 0.15
    lab.fault(board, "loss", "100")
    with pytest.raises(OSError, match=SILENCE):
        connect_seconds(board.address, 1.0)
    lab.fault(board, "clear")
    assert login_seconds(lab, board) < 15


def test_lost_frames_are_as_many_as_asked_for(lab: Lab, board: Board) -> None:
    lab.fault(board, "loss", "30")
    machine = lab.machine(board)
    with subprocess.Popen(
        ["nsenter", "-t", str(machine.supervisor()), "-n", "python3", "-c", RECEIVER],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        sender = socket.socket(type=socket.SOCK_DGRAM)
        for _ in range(1000):
            sender.sendto(b"x", (board.address, 9999))
            time.sleep(0.0005)
        received = int(process.stdout.read())
    assert 600 <= received <= 800


def test_a_frozen_board_keeps_its_connections_and_goes_on(lab: Lab, board: Board) -> None:
    lab.fault(board, "hang")
    connect_seconds(board.address, 2.0)
    with pytest.raises(LabError, match="has not ended after 2 s"):
        lab.exec(board, ["true"], timeout=2)
    lab.fault(board, "unhang")
    assert login_seconds(lab, board) < 15


def test_killed_sshd_comes_back(lab: Lab, board: Board) -> None:
    before = shell(lab, board, "systemctl show -p MainPID ssh")
    assert "0 sshd" not in lab.fault(board, "killsshd")
    limit = time.monotonic() + 15
    while lab.exec(board, ["true"]).rc != 0 and time.monotonic() < limit:
        time.sleep(0.2)
    assert shell(lab, board, "systemctl show -p MainPID ssh") != before


def test_cpu_is_limited(lab: Lab, board: Board) -> None:
    loop = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
    # Whatever else this machine does can only take from the share that is left: the limit alone keeps it this low.
    lab.fault(board, "cpu", "20")
    limited = float(shell(lab, board, f'python3 -c "{loop}"'))
    assert 0.05 < limited / 2 < 0.3
    lab.fault(board, "clear")
    free = float(shell(lab, board, f'python3 -c "{loop}"'))
    assert free > 1.3 * limited
    assert login_seconds(lab, board) < 15


def test_power_cut_keeps_and_power_loss_loses_what_was_not_synced(lab: Lab, disk_board: Board) -> None:
    shell(lab, disk_board, "echo kept > /root/cut")
    lab.fault(disk_board, "cut")
    assert next(b for b in lab.boards() if b.name == "d1").state == "off"
    lab.fault(disk_board, "poweron")
    assert shell(lab, disk_board, "cat /root/cut") == "kept"
    shell(lab, disk_board, "sync -f /root; echo kept > /root/synced; sync /root/synced; echo gone > /root/unsynced")
    lab.fault(disk_board, "powerloss")
    with pytest.raises(OSError, match=SILENCE):
        connect_seconds(disk_board.address, 1.0)
    lab.fault(disk_board, "poweron")
    assert shell(lab, disk_board, "cat /root/synced") == "kept"
    assert shell(lab, disk_board, "cat /root/unsynced 2>/dev/null || true") == ""


def test_disk_full(lab: Lab, disk_board: Board) -> None:
    lab.fault(disk_board, "diskfull")
    result = lab.exec(disk_board, ["sh", "-c", "head -c 100000 /dev/zero > /root/new"])
    assert "No space left on device" in result.stderr
    lab.fault(disk_board, "clear")
    shell(lab, disk_board, "dd if=/dev/zero of=/root/new bs=1M count=20 2>/dev/null; rm /root/new")
    lab.fault(disk_board, "diskfull", "4000000")
    left = int(shell(lab, disk_board, "df --output=avail -B1 / | tail -1"))
    assert 3_500_000 <= left <= 4_000_000


def test_read_only_disk(lab: Lab, disk_board: Board) -> None:
    lab.fault(disk_board, "readonly")
    result = lab.exec(disk_board, ["sh", "-c", "echo x > /root/new"])
    assert "Read-only file system" in result.stderr
    lab.fault(disk_board, "clear")
    shell(lab, disk_board, "echo x > /root/new")


def test_wrong_clock_for_logins_and_sudo(lab: Lab, board: Board) -> None:
    now = time.time()
    lab.fault(board, "clock", "+400d")
    for command in ("date +%s", "sudo -n date +%s"):
        assert abs(int(shell(lab, board, command, user="admin")) - now - 400 * 86400) < 60
    lab.fault(board, "clear")
    assert abs(int(shell(lab, board, "sudo -n date +%s", user="admin")) - now) < 60
    assert "FAKETIME" not in shell(lab, board, "cat /etc/environment /etc/pam.d/sudo")


def test_mirror_accepts_and_never_answers(lab: Lab, board: Board) -> None:
    gateway = lab.network.address(1)
    fetch = f"exec 3<>/dev/tcp/{gateway}/3142; printf 'GET /debian/dists/bookworm/Release HTTP/1.0\\r\\n\\r\\n' >&3; "
    fetch += "timeout 3 head -c 12 <&3"
    assert "200" in lab.exec(board, ["bash", "-c", fetch]).stdout
    lab.fault(board, "mirror-hang")
    assert lab.exec(board, ["bash", "-c", fetch]).rc == 124
    lab.fault(board, "clear")
    assert "200" in lab.exec(board, ["bash", "-c", fetch]).stdout


def test_wrong_faults_are_refused(lab: Lab, board: Board) -> None:
    with pytest.raises(LabError, match="no fault 'explode'") as caught:
        lab.fault(board, "explode")
    assert "powerloss" in caught.value.hint
    for kind, args, message in [
        ("delay", [], "0 arguments given"),
        ("delay", ["fast"], "not a number of milliseconds"),
        ("loss", ["120"], "more than 100 %"),
        ("rate", ["fast"], "not a rate"),
        ("clock", ["tomorrow"], "not an offset"),
        ("diskfull", [], "no disk of its own"),
        ("powerloss", [], "no disk of its own"),
    ]:
        with pytest.raises(LabError, match=message):
            lab.fault(board, kind, *args)
    assert next(b for b in lab.boards() if b.name == board.name).faults == ()
