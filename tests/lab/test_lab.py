"""Virtual boards: they are real machines, they reach only what they should, and nothing of them stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import processes
import psutil
import pytest
from lab_helpers import shell

from tvmops.errors import LabError
from tvmops.inventory import load_inventory
from tvmops.lab import Board, Lab, lab_ids

UP = "import sys; from tvmops.lab import Lab; Lab(sys.argv[1]).up(4, plain=True, cache=sys.argv[2] == 'cache')"


def tvmops(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a tvmops command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "tvmops", *words], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_board_is_a_machine_of_its_own(lab: Lab, board: Board) -> None:
    assert shell(lab, board, "systemctl is-system-running --wait") == "running"
    assert shell(lab, board, "cat /proc/1/comm; hostname; . /etc/os-release; echo $VERSION_CODENAME").split() == [
        "systemd",
        "b1",
        "bookworm",
    ]
    assert shell(lab, board, "id -un; sudo -n id -un", user="admin").split() == ["admin", "root"]
    shell(lab, "b2", "touch /root/only-here")
    assert lab.exec(board, ["test", "-e", "/root/only-here"]).rc == 1


def test_a_board_is_bare_and_has_no_way_out(lab: Lab, board: Board) -> None:
    assert lab.exec(board, ["python3", "-c", "import json"]).rc != 0
    assert shell(lab, board, "cat /etc/resolv.conf; ip route show default") == ""
    assert "deb.debian.org" in shell(lab, board, "cat /etc/apt/sources.list")
    assert lab.exec(board, ["apt-get", "-o", "Acquire::Retries=0", "update", "--error-on=any"]).rc != 0


def test_a_reboot_ends_in_a_login_again(lab: Lab, board: Board) -> None:
    before = shell(lab, board, "cat /proc/sys/kernel/random/boot_id")
    lab.exec(board, ["systemctl", "reboot"])
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        result = lab.exec(board, ["cat", "/proc/sys/kernel/random/boot_id"])
        if result.rc == 0 and result.stdout.strip() != before:
            return
        time.sleep(0.2)
    pytest.fail("the board did not come back")


def test_apt_and_pip_install_through_the_cache(lab: Lab, board: Board) -> None:
    mirrors = lab.inventory()["all"]["children"]["lab"]["vars"]
    apt, pip = mirrors["apt_mirror"], mirrors["pip_index"]
    shell(lab, board, f"echo 'deb {apt} bookworm main' > /etc/apt/sources.list && apt-get -q update", timeout=120)
    install = "DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends"
    shell(lab, board, f"{install} python3-venv python3-pip", timeout=240)
    host = pip.split("/")[2].split(":")[0]
    pip_install = f"/opt/v/bin/pip -q install --no-input -i {pip} --trusted-host {host} iniconfig"
    shell(lab, board, f"python3 -m venv /opt/v && {pip_install}", timeout=240)
    assert "Name: iniconfig" in shell(lab, board, "/opt/v/bin/pip show iniconfig")


def test_the_inventory_file_is_all_that_ssh_needs(lab: Lab) -> None:
    inventory = load_inventory([lab.inventory_path])
    hosts = inventory.select("lab_amd64")
    assert {host.name for host in hosts} >= {"b1", "b2"}
    for host in hosts[:2]:
        values = host.vars
        command = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
        command += [*str(values["ansible_ssh_common_args"]).split(), "-i", values["ansible_ssh_private_key_file"]]
        command += [f"{values['ansible_user']}@{values['ansible_host']}", "hostname"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.stdout.strip() == host.name, done.stderr
        assert values["tvm_target"]["mtriple"] == "x86_64-linux-gnu"
        assert values["tvmops_shares_cpu"] is True


def test_commands(lab: Lab, board: Board) -> None:
    listed = json.loads(tvmops("lab.ps", "--json", "--id", lab.id).stdout)
    assert {"b1", "b2"} <= {row["name"] for row in listed if row["state"] == "running"}
    done = tvmops("lab.exec", "--host", "b1", "--command", "echo $((40+2)); exit 3", "--id", lab.id)
    assert (done.stdout.strip(), done.returncode) == ("42", 3), done.stderr
    done = tvmops("lab.exec", "b1", "--id", lab.id, "--", "hostname")
    assert done.stdout.strip() == "b1", done.stderr
    done = tvmops("lab.fault", "--host", "b1", "cpu=50", "--id", lab.id)
    assert done.returncode == 0, done.stderr
    assert "faults: cpu 50" in tvmops("lab.ps", "--id", lab.id).stdout
    dynamic = json.loads(tvmops("lab.inventory", "--id", lab.id).stdout)
    assert dynamic["_meta"]["hostvars"]["b1"]["ansible_host"] == board.address
    done = tvmops("lab.fault", "--host", "nobody", "clear", "--id", lab.id)
    assert done.returncode == 12
    assert "no board 'nobody'" in done.stderr
    assert "Traceback" not in done.stderr


def test_eight_plain_boards_start_together_and_leave_nothing(other_lab: Lab) -> None:
    boards = other_lab.up(8, plain=True, cache=False)
    assert [board.name for board in boards] == [f"b{n}" for n in range(1, 9)]
    assert {shell(other_lab, board, "hostname", user="admin") for board in boards[:2]} == {"b1", "b2"}
    assert other_lab.leftovers() != []
    other_lab.down()
    assert other_lab.leftovers() == []


def test_up_again_reuses_what_runs_and_adds_what_is_missing(other_lab: Lab) -> None:
    other_lab.up(1, plain=True, cache=False)
    shell(other_lab, "b1", "echo mine > /root/file")
    boot = shell(other_lab, "b1", "cat /proc/self/mountinfo | head -1 | cut -d' ' -f1")
    assert [board.name for board in other_lab.up(2, plain=True, cache=False)] == ["b1", "b2"]
    assert shell(other_lab, "b1", "cat /proc/self/mountinfo | head -1 | cut -d' ' -f1") == boot
    other_lab.down()
    assert not other_lab.inventory_path.exists()
    other_lab.up(1, plain=True, cache=False)
    assert shell(other_lab, "b1", "cat /root/file") == "mine"
    with pytest.raises(LabError, match="b1 exists already as another kind"):
        other_lab.up(1, cache=False)


def test_two_labs_do_not_meet(lab: Lab, other_lab: Lab) -> None:
    other = other_lab.up(["b1"], plain=True)[0]
    ours = next(board for board in lab.boards() if board.name == "b1")
    assert other.address.rsplit(".", 1)[0] != ours.address.rsplit(".", 1)[0]
    reach = f"import socket; socket.create_connection(('{ours.address}', 22), 2)"
    assert other_lab.exec(other, ["python3", "-c", reach]).rc != 0
    mirror = other_lab.inventory()["all"]["children"]["lab"]["vars"]["apt_mirror"]
    shell(other_lab, other, f"echo 'deb {mirror} bookworm main' > /etc/apt/sources.list")
    shell(other_lab, other, "apt-get -q update", timeout=120)
    other_lab.down(purge=True)
    assert shell(lab, "b1", "hostname") == "b1"


def test_nat_is_a_way_out_until_the_lab_goes_down(lab: Lab, other_lab: Lab) -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    before = forwarding.read_text()
    inside = other_lab.up(1, plain=True, cache=False, nat=True)[0]
    outside = next(board for board in lab.boards() if board.name == "b2")
    reach = f"import socket; print(socket.create_connection(('{outside.address}', 22), 5).recv(4).decode())"
    assert shell(other_lab, inside, f'python3 -c "{reach}"') == "SSH-"
    other_lab.down()
    assert other_lab.leftovers() == []
    assert forwarding.read_text() == before


@pytest.mark.parametrize("seconds", [0.15, 0.5, 0.9, 1.4])
def test_kill_9_of_up_leaves_nothing_that_down_does_not_find(other_lab: Lab, seconds: float) -> None:
    process = subprocess.Popen([sys.executable, "-c", UP, other_lab.id, "cache" if seconds > 0.5 else ""])
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    other_lab.down()
    assert other_lab.leftovers() == []


@pytest.mark.parametrize("seconds", [0.5, 0.8])
def test_up_after_kill_9_of_up_is_whole_again(other_lab: Lab, seconds: float) -> None:
    process = subprocess.Popen([sys.executable, "-c", UP, other_lab.id, ""])
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    boards = other_lab.up(4, plain=True, cache=False)
    assert [shell(other_lab, board, "hostname") for board in boards] == ["b1", "b2", "b3", "b4"]


def test_kill_9_of_an_image_build_leaves_no_process_and_no_mount(tmp_path: Path) -> None:
    environment = {**os.environ, "TVMOPS_CACHE": str(tmp_path)}
    build = "from tvmops.lab.images import ensure_image; ensure_image('amd64')"
    process = subprocess.Popen([sys.executable, "-c", build], env=environment)
    limit = time.monotonic() + 20
    while not list(tmp_path.glob("lab/base/building-*/mmdebstrap.*/etc")) and time.monotonic() < limit:
        time.sleep(0.05)
    assert _users_of(tmp_path) != []
    process.send_signal(signal.SIGKILL)
    process.wait()
    limit = time.monotonic() + 10
    while _users_of(tmp_path) and time.monotonic() < limit:
        time.sleep(0.05)
    assert _users_of(tmp_path) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def _users_of(folder: Path) -> list[int]:
    """Processes other than this one with `folder` in their command line or environment."""

    def uses(process: psutil.Process) -> bool:
        words = [*process.cmdline(), *process.environ().values()]
        return process.pid != os.getpid() and any(str(folder) in word for word in words)

    return processes.that(uses)


@pytest.mark.timeout(900)
def test_an_emulated_arm_board_boots_systemd_and_sudo(other_lab: Lab) -> None:
    board = other_lab.up(1, arch="arm64", cache=False)[0]
    assert board.name == "a1"
    assert shell(other_lab, board, "uname -m; sudo -n id -un", user="admin", timeout=120).split() == ["aarch64", "root"]
    assert shell(other_lab, board, "systemctl is-system-running --wait", timeout=120) == "running"
    assert "neon" in shell(other_lab, board, "cat /proc/cpuinfo", timeout=60)
    target = load_inventory([other_lab.inventory_path]).select("lab_arm64")[0].vars["tvm_target"]
    assert target["mtriple"] == "aarch64-linux-gnu"
    other_lab.down()
    boards = [board for name in lab_ids() for board in Lab(name).boards()]
    elsewhere = [board for board in boards if board.arch == "arm64" and board.state != "off"]
    assert Path("/proc/sys/fs/binfmt_misc/tvmops-qemu-aarch64").exists() == bool(elsewhere)


def test_without_root_the_lab_says_what_to_do() -> None:
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            Lab("nonroot").up(1)
        except LabError as error:
            os._exit(12 if "need root" in error.message and "sudo" in error.hint else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 12


def test_bad_requests_are_refused_before_anything_is_made(other_lab: Lab) -> None:
    with pytest.raises(LabError, match="architecture 'mips'"):
        other_lab.up(1, arch="mips")
    with pytest.raises(LabError, match="'B_1' cannot be a board's name"):
        other_lab.up(["B_1"])
    with pytest.raises(LabError, match="'2 X' is not a size"):
        other_lab.up(1, disk="2 X")
    with pytest.raises(LabError, match="cannot be a lab's id"):
        Lab("Too-Long-An-Id")
    assert other_lab.leftovers() == []
    assert other_lab.boards() == []
