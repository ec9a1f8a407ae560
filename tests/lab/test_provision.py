"""Provisioning on a real systemd board: from bare Debian to an RPC server that answers, and everything in its way."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_helpers import shell
from peers import ansible_program

from tvmops.connection import Connection, connect
from tvmops.inventory import load_inventory
from tvmops.lab import Lab
from tvmops.paths import project_root
from tvmops.rpc import Answer, BoardServer, handshake

BOARD = "p1"
RECAP = re.compile(r"ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")
SOURCES = "cat /etc/apt/sources.list; ls -l /etc/apt/sources.list.d; cat /etc/pip.conf 2>&1 || true"
HANG = "import socket,time; s=socket.create_server(('127.0.0.1',8099)); c=[]\nwhile True: c.append(s.accept())"
HTTP = "systemd-run --unit=other -q python3 -m http.server --bind 127.0.0.1 9090"


def tvmops(lab: Lab, *arguments: str, timeout: float = 200.0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tvmops", *arguments, "--inventory", str(lab.inventory_path)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)


def provision(lab: Lab, *arguments: str, board: str = BOARD, fails: bool = False) -> tuple[str, int]:
    """(output, number of changed tasks) of a run that must end well, or must fail."""
    done = tvmops(lab, "provision", "--host", board, *arguments)
    output = done.stdout + done.stderr
    assert done.returncode == (2 if fails else 0), output[-6000:]
    recap = RECAP.search(output)
    assert recap, output[-3000:]
    assert (int(recap[4]) > 0) == fails
    return output, int(recap[2])


@pytest.fixture(scope="module")
def bare(lab: Lab) -> str:
    """Package sources of the board before anything was done to it."""
    lab.up([BOARD])
    return shell(lab, BOARD, SOURCES)


@pytest.fixture(scope="module")
def first_run(lab: Lab, bare: str) -> tuple[str, int]:
    """What the first provisioning said and changed."""
    return provision(lab)


@pytest.fixture
def provisioned(lab: Lab, first_run: tuple[str, int]) -> Iterator[str]:
    """The board's name; it is right before and after the test."""
    yield BOARD
    shell(lab, BOARD, "systemctl stop other 2>/dev/null || true; systemctl reset-failed 2>/dev/null || true")
    provision(lab)


@pytest.fixture
def connection(lab: Lab, provisioned: str) -> Iterator[Connection]:
    opened = connect(load_inventory([lab.inventory_path]).hosts[provisioned])
    yield opened
    opened.close()


def test_check_mode_tells_and_changes_nothing(lab: Lab, bare: str) -> None:
    output, changed = provision(lab, "--check", "--diff")
    assert changed > 3
    assert "+# Written by tvmops from apt_mirror" in output
    assert shell(lab, BOARD, SOURCES) == bare
    assert shell(lab, BOARD, "ls /opt; getent passwd tvm || true") == ""


def test_the_second_run_changes_nothing(lab: Lab, first_run: tuple[str, int], provisioned: str) -> None:
    assert first_run[1] > 10
    assert provision(lab)[1] == 0


def test_ansible_finds_nothing_to_change_either(lab: Lab, provisioned: str, tmp_path: Path) -> None:
    variables = tmp_path / "release.json"
    argv = [sys.executable, "-m", "tvmops", "stack.artifact", "--python", "3.11", "--vars"]
    variables.write_text(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)
    argv = [str(ansible_program()), "-i", str(lab.inventory_path), "--limit", provisioned]
    argv += [str(project_root() / "playbooks" / "provision.yml"), "-e", f"@{variables}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    recap = RECAP.search(done.stdout)
    assert recap, done.stdout + done.stderr
    assert recap.groups()[1:] == ("0", "0", "0"), done.stdout[-6000:]


def test_the_server_answers_on_loopback_only_and_runs_as_nobody_special(lab: Lab, connection: Connection) -> None:
    server = BoardServer(connection)
    assert handshake(server.port(), key="client:") is Answer.ACCEPTED
    address = load_inventory([lab.inventory_path]).hosts[BOARD].vars["ansible_host"]
    with pytest.raises(Exception, match="nothing listens"):
        handshake(9090, host=address, deadline=3)
    owners = shell(lab, BOARD, "for p in $(cat /sys/fs/cgroup/*/system.slice/tvm-rpc-server.service/cgroup.procs "
                   "/sys/fs/cgroup/system.slice/tvm-rpc-server.service/cgroup.procs 2>/dev/null | sort -u); "
                   "do stat -c %U /proc/$p; done | sort -u")  # fmt: skip
    assert owners == "tvm"
    assert shell(lab, BOARD, "id -nG tvm") == "tvm"
    assert server.restarts == 0
    server.close()


def test_the_status_names_release_and_version(lab: Lab, provisioned: str) -> None:
    done = tvmops(lab, "rpc.status", "--host", provisioned)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"p1 +free +port 9090; TVM 0\.27\.0\.post1, release [0-9a-f]{16} \(relax-0\.27\)", done.stdout)


def test_a_killed_server_comes_back_by_itself(lab: Lab, connection: Connection) -> None:
    server = BoardServer(connection)
    shell(lab, BOARD, "systemctl kill -s KILL tvm-rpc-server")
    end = time.monotonic() + 60
    while True:
        try:
            assert handshake(server.port(), deadline=2) is Answer.MISMATCH
            break
        except Exception:
            assert time.monotonic() < end
            time.sleep(0.3)
    assert server.restarts == 0
    server.close()


def test_a_wedged_server_is_restarted_through_systemd(lab: Lab, connection: Connection) -> None:
    server = BoardServer(connection)
    wedge(lab)
    assert shell(lab, BOARD, "systemctl is-active tvm-rpc-server") == "active"
    server.ensure()
    assert server.restarts == 1
    assert handshake(server.port()) is Answer.MISMATCH
    server.close()


def test_provisioning_finds_and_repairs_a_wedged_server(lab: Lab, provisioned: str) -> None:
    wedge(lab)
    output, changed = provision(lab)
    assert changed == 2, output  # the finding, and the restart
    assert provision(lab)[1] == 0


def test_rpc_stop_and_restart(lab: Lab, provisioned: str) -> None:
    wedge(lab)
    status = tvmops(lab, "rpc.status", "--host", provisioned)
    assert status.returncode == 14
    assert "no answer" in status.stdout
    assert "tvmops rpc.restart --host p1" in status.stderr
    assert tvmops(lab, "rpc.stop", "--host", provisioned).returncode == 0
    assert shell(lab, BOARD, "systemctl is-active tvm-rpc-server || true") == "inactive"
    assert tvmops(lab, "rpc.restart", "--host", provisioned).returncode == 0
    assert tvmops(lab, "rpc.status", "--host", provisioned).returncode == 0


def test_drivers_of_accelerators_can_keep_what_they_compile(lab: Lab, provisioned: str) -> None:
    server = ("playbook", "playbooks/rpc-server.yml", "--host", BOARD)
    done = tvmops(lab, *server, "-e", "tvm_rpc_devices=true")
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        main = shell(lab, BOARD, "systemctl show -p MainPID --value tvm-rpc-server")
        told = dict(
            line.split("=", 1) for line in shell(lab, BOARD, f"tr '\\0' '\\n' < /proc/{main}/environ").splitlines()
        )
        # As the server, in the server's own view of the file system.
        inside = f"nsenter --target {main} --mount setpriv --reuid=tvm --regid=tvm --clear-groups"
        for name in ("XDG_CACHE_HOME", "POCL_CACHE_DIR", "CUDA_CACHE_PATH"):
            shell(lab, BOARD, f"{inside} mkdir -p {told[name]} && {inside} touch {told[name]}/kernel")
        assert shell(lab, BOARD, f"{inside} touch /var/lib/tvm/x 2>&1 || echo refused").endswith("refused")
    finally:
        done = tvmops(lab, *server)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_port_taken_by_another_program_is_named(lab: Lab, provisioned: str) -> None:
    shell(lab, BOARD, f"systemctl stop tvm-rpc-server; {HTTP}; sleep 1")
    output, _ = provision(lab, fails=True)
    assert re.search(
        r"port 9090 is taken by python3 \(pid \d+: .*http\.server.*\); stop it, or set tvm_rpc_port", output
    )
    provision(lab, "-e", "tvm_rpc_port=9095")
    shell(lab, BOARD, "systemctl stop other")


def test_a_mirror_that_hangs_is_found_before_anything_is_written(lab: Lab, provisioned: str) -> None:
    before = shell(lab, BOARD, SOURCES)
    shell(lab, BOARD, f"systemd-run --unit=other -q python3 -c {shlex.quote(HANG)}; sleep 0.5")
    started = time.monotonic()
    output, _ = provision(lab, "-e", "apt_mirror=http://127.0.0.1:8099/debian", fails=True)
    assert time.monotonic() - started < 60
    assert "The package mirror answers" in output
    assert "127.0.0.1:8099" in output
    assert shell(lab, BOARD, SOURCES) == before


def test_a_package_that_the_mirror_lacks_is_named(lab: Lab, provisioned: str) -> None:
    output, _ = provision(lab, "-e", '{"tvmops_packages": ["no-such-package-anywhere"]}', fails=True)
    assert "no-such-package-anywhere" in output


def test_a_stack_that_does_not_fit_fails_with_the_reason(lab: Lab, provisioned: str) -> None:
    output, _ = provision(lab, "-e", "tvmops_release_problem='its glibc is 2.24'", fails=True)
    assert "its glibc is 2.24" in output


def test_package_sources_come_back_byte_by_byte(lab: Lab, bare: str, provisioned: str) -> None:
    assert shell(lab, BOARD, SOURCES) != bare
    done = tvmops(lab, "playbook", "playbooks/mirrors-restore.yml", "--host", BOARD)
    assert done.returncode == 0, done.stdout
    assert shell(lab, BOARD, SOURCES) == bare
    assert shell(lab, BOARD, "ls /etc/apt/*.tvmops.orig 2>/dev/null || true") == ""
    again = tvmops(lab, "playbook", "playbooks/mirrors-restore.yml", "--host", BOARD)
    found = RECAP.search(again.stdout)
    assert found and found[2] == "0"


def test_sources_in_deb822_form_are_switched_and_restored(lab: Lab, provisioned: str) -> None:
    restore = ("playbook", "playbooks/mirrors-restore.yml", "--host", BOARD)
    assert tvmops(lab, *restore).returncode == 0
    folder = "/etc/apt/sources.list.d"
    stanza = "Types: deb\\nURIs: http://deb.debian.org/debian\\nSuites: bookworm\\nComponents: main\\n"
    shell(lab, BOARD, f"mv /etc/apt/sources.list /root/; printf '{stanza}' > {folder}/debian.sources")
    before = shell(lab, BOARD, f"cat {folder}/debian.sources")
    try:
        assert provision(lab, "--tags", "mirrors")[1] > 0
        assert provision(lab, "--tags", "mirrors")[1] == 0
        assert shell(lab, BOARD, f"ls {folder}") == "debian.sources\ndebian.sources.tvmops.orig"
        assert shell(lab, BOARD, "apt-get indextargets | grep -c '^URI: http://deb.debian.org' || true") == "0"
        assert "invalid" not in shell(lab, BOARD, "apt-get update 2>&1")
        assert tvmops(lab, *restore).returncode == 0
        assert shell(lab, BOARD, f"cat {folder}/debian.sources") == before
    finally:
        shell(lab, BOARD, f"rm -f {folder}/*; mv /root/sources.list /etc/apt/")


def test_no_room_on_the_disk(lab: Lab) -> None:
    lab.up(["pd"], disk="512M")
    assert tvmops(lab, "facts", "--host", "pd").returncode == 0  # brings Python, which needs room, too
    lab.fault("pd", "diskfull", str(50 * 1024 * 1024))
    try:
        output, _ = provision(lab, board="pd", fails=True)
        assert re.search(
            r"no room in /opt/tvmops/releases/\w+: the runtime needs \d+ MB and a reserve of 20 MB", output
        )
        assert shell(lab, "pd", "ls -A /opt/tvmops/releases/*; ls /opt/tvmops/current 2>/dev/null || true") == ""
    finally:
        lab.fault("pd", "clear")
    provision(lab, board="pd")


def wedge(lab: Lab) -> None:
    """A malformed key ends the server's listener thread; process and port stay."""
    script = (
        "import socket, struct; s = socket.create_connection(('127.0.0.1', 9090));"
        "s.sendall(struct.pack('<ii', 0xff271, 1) + b'\\xff'); s.settimeout(5); assert s.recv(1) == b''"
    )
    shell(lab, BOARD, f"python3 -c {shlex.quote(script)}")
