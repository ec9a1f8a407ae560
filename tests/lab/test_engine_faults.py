"""Faults in the middle of playbook runs, each caused for real: nothing is torn, and the next run brings the board home.

TVMOPS_SOAK sets the number of rounds of those at random moments (`make soak`), TVMOPS_SEED their moments.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_helpers import shell
from site_runs import FAILED, INTERRUPTED, OK, RECAP, ROUNDS, SEED, UNREACHABLE, Site, begin, changed, finish

from tvmops.lab import Lab

pytestmark = pytest.mark.timeout(300 + 60 * ROUNDS)

BOARD = "g1"
HERE_IN_TIME = 120.0  # seconds within which a silent board is given up: connecting, or the heartbeats it owes
KILL_AGENT = "pkill -KILL -f '[/]agent-[0-9a-f]{64}'"


@pytest.fixture(scope="module")
def disk(lab: Lab) -> Iterator[str]:
    """A board with a disk of its own and a package source."""
    lab.up([BOARD], disk="700M")
    mirror = lab.cache.variables()["apt_mirror"]
    shell(lab, BOARD, f"echo 'deb {mirror} bookworm main' > /etc/apt/sources.list; apt-get -q update", timeout=300)
    shell(lab, BOARD, "sync -f /")
    yield BOARD


@pytest.fixture
def board(lab: Lab, disk: str) -> Iterator[str]:
    """The board without faults, before and after."""
    lab.fault(disk, "clear")
    yield disk
    lab.fault(disk, "clear")


@pytest.fixture
def site(lab: Lab, tmp_path: Path, board: str) -> Site:
    """The playbook, with version 1 on the board."""
    site = Site(lab, tmp_path)
    site.run(board, 1)
    return site


def moments(name: str, few: int, latest: float) -> list[float]:
    """Random moments of a run, in seconds from its start; which ones, the seed says."""
    print(f"{name}: TVMOPS_SEED={SEED}")
    generator = random.Random(f"{SEED} {name}")
    return [generator.uniform(0.3, latest) for _ in range(ROUNDS or few)]


def duration(site: Site, board: str, version: int) -> float:
    """How long a run takes that nothing disturbs, in seconds."""
    began = time.monotonic()
    site.run(board, version)
    return time.monotonic() - began


def wait_until(lab: Lab, board: str, script: str, seconds: float = 60.0) -> None:
    """Wait until a script succeeds on the board."""
    limit = time.monotonic() + seconds
    while lab.exec(board, ["sh", "-c", script]).rc != 0:
        assert time.monotonic() < limit, script
        time.sleep(0.3)


def test_power_loss_at_random_moments(lab: Lab, board: str, tmp_path: Path) -> None:
    site = Site(lab, tmp_path, packages=True)
    site.run(board, 1)
    seconds = min(duration(site, board, 2), duration(site, board, 3))
    for version, moment in enumerate(moments("power loss", 3, seconds), 4):
        process = site.start(board, version)
        time.sleep(moment)
        lab.fault(board, "powerloss")
        lab.fault(board, "poweron")
        said = finish(process, OK, UNREACHABLE, within=HERE_IN_TIME)
        print(f"version {version}: power lost after {moment:.2f} of {seconds:.2f} s: {said.splitlines()[-1:]}")
        site.check_whole(board, version - 1, version)
        site.converge(board, version)
        assert shell(lab, board, "dpkg --audit") == ""
        assert shell(lab, board, "command -v hello || echo none") == ("/usr/bin/hello" if version % 2 == 0 else "none")
        assert shell(lab, board, "getent passwd site | cut -d: -f5") == f"version {version}"


def test_power_loss_while_provisioning(lab: Lab, tmp_path: Path) -> None:
    """The real thing, from a bare board on: packages, a release of TVM, a service, and proof that it answers."""
    lab.up(["g3"], disk="3G")
    arguments = ("provision", "--host", "g3", "--wait", "120")
    for number, moment in enumerate(moments("provisioning", 1, 60.0), 1):
        lab.fault("g3", "clear")
        shell(lab, "g3", "sync -f /")
        process = begin(lab, tmp_path, *arguments)
        time.sleep(moment)
        lab.fault("g3", "powerloss")
        lab.fault("g3", "poweron")
        said = finish(process, OK, UNREACHABLE, FAILED, within=400)
        # A board that was back when the play began, but had been gone when it was asked for its facts, fails by name.
        assert process.returncode != FAILED or "for lack of facts" in said, said
        print(f"power lost after {moment:.2f} s")
        said = finish(begin(lab, tmp_path, *arguments), OK, within=400)
        again = finish(begin(lab, tmp_path, *arguments), OK, within=400)
        assert changed(again) == {"g3": 0}, f"round {number}: {said}\n{again}"
        assert shell(lab, "g3", "dpkg --audit") == ""
        # The next round begins without the release, without packages and without Python.
        shell(lab, "g3", "systemctl stop tvm-rpc-server; rm -rf /opt/tvmops ~tvm/.cache")
        shell(lab, "g3", "apt-get -qq purge -y --autoremove python3 python3.11 ca-certificates >/dev/null", timeout=300)


def test_the_controller_killed_at_random_moments(lab: Lab, board: str, site: Site) -> None:
    seconds = duration(site, board, 2)
    for version, moment in enumerate(moments("kill -9", 1, seconds), 3):
        process = site.start(board, version)
        time.sleep(moment)
        process.kill()
        process.communicate()
        site.check_whole(board, version - 1, version)
        site.converge(board, version)


def test_ctrl_c_at_random_moments(lab: Lab, board: str, site: Site) -> None:
    seconds = duration(site, board, 2)
    for version, moment in enumerate(moments("ctrl-c", 1, seconds), 3):
        process = site.start(board, version)
        time.sleep(max(moment, 1.0))  # a Python that starts has no way to end politely
        process.send_signal(signal.SIGINT)
        finish(process, OK, INTERRUPTED)
        site.check_whole(board, version - 1, version)
        site.converge(board, version)


def test_the_controller_stands_still_for_a_while(lab: Lab, board: str, site: Site) -> None:
    process = site.start(board, 2, gated=True)
    site.wait_at_gate(board)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(60 if ROUNDS else 8)
    site.open_gate(board)
    time.sleep(2)
    os.kill(process.pid, signal.SIGCONT)
    finish(process, OK)
    assert site.state(board) == site.expected(2)


def test_the_link_is_down_for_two_seconds(lab: Lab, board: str, site: Site) -> None:
    process = site.start(board, 2, gated=True)
    site.wait_at_gate(board)
    lab.fault(board, "down")
    site.open_gate(board)
    time.sleep(2)
    lab.fault(board, "up")
    finish(process, OK)
    assert site.state(board) == site.expected(2)


def test_short_breaks_at_random_moments(lab: Lab, board: str, site: Site) -> None:
    """While files are sent, too. Whether the run bears it or gives the board up: the next one brings it home."""
    seconds = duration(site, board, 2)
    for version, moment in enumerate(moments("link", 1, seconds), 3):
        process = site.start(board, version)
        time.sleep(moment)
        lab.fault(board, "down")
        time.sleep(30 if ROUNDS and version % 2 else 2)
        lab.fault(board, "up")
        finish(process, OK, UNREACHABLE, within=HERE_IN_TIME)
        site.check_whole(board, version - 1, version)
        site.converge(board, version)


def test_a_board_without_link_and_a_frozen_one_hold_up_nobody(lab: Lab, board: str, site: Site) -> None:
    lab.up(["g2", "g4"], plain=True)
    process = site.start(f"{board},g2,g4", 2, gated=True)
    site.wait_at_gate(board, "g2", "g4")
    lab.fault(board, "down")
    lab.fault("g2", "hang")
    site.open_gate("g4")
    said = finish(process, UNREACHABLE, within=HERE_IN_TIME)
    site.open_gate(board, "g2")
    lab.fault(board, "up")
    lab.fault("g2", "unhang")
    assert [row[3:] for row in RECAP.findall(said) if row[0] == "g4"] == [("0", "0")], said
    assert site.state("g4") == site.expected(2)
    # The batch had been accepted: what came after the gate is done without us.
    for name in (board, "g2"):
        wait_until(lab, name, "grep -qx 'version 2' /opt/site/done")
        assert site.state(name) == site.expected(2)
        assert changed(site.run(name, 2)) == {name: 0}


def test_sshd_is_killed(lab: Lab, board: str, site: Site) -> None:
    process = site.start(board, 2, gated=True)
    site.wait_at_gate(board)
    lab.fault(board, "killsshd")
    site.open_gate(board)
    finish(process, OK, UNREACHABLE, within=HERE_IN_TIME)
    wait_until(lab, board, "grep -qx 'version 2' /opt/site/done")
    site.converge(board, 2)


def test_the_agent_is_killed(lab: Lab, board: str, site: Site) -> None:
    process = site.start(board, 2, gated=True)
    site.wait_at_gate(board)
    shell(lab, board, KILL_AGENT)
    finish(process, FAILED, UNREACHABLE)  # it waits neither for a dead agent nor for the program that that one ran
    site.open_gate(board)
    site.check_whole(board, 1, 2)
    site.converge(board, 2)


def test_the_disk_runs_full(lab: Lab, board: str, site: Site) -> None:
    lab.fault(board, "diskfull", "1500000")  # one and a half of the three large files
    said = site.run(board, 2, FAILED)
    assert "no space left" in said.lower(), said
    site.check_whole(board, 1, 2)
    lab.fault(board, "clear")
    site.converge(board, 2)


def test_the_disk_becomes_read_only(lab: Lab, board: str, site: Site) -> None:
    process = site.start(board, 2, gated=True)
    site.wait_at_gate(board)
    lab.fault(board, "readonly")
    site.open_gate(board)
    said = finish(process, FAILED, UNREACHABLE, within=HERE_IN_TIME)
    assert "read-only" in said, said
    lab.fault(board, "clear")
    site.check_whole(board, 1, 2)
    site.converge(board, 2)


@pytest.mark.parametrize("offset", ["+400d", "-3000d"])
def test_a_wrong_clock(lab: Lab, board: str, site: Site, offset: str) -> None:
    lab.fault(board, "clock", offset)
    site.converge(board, 2)
    lab.fault(board, "clear")
    site.converge(board, 3)


def test_one_of_several_fails_one_is_slow_one_is_lossy(lab: Lab, tmp_path: Path) -> None:
    names = [f"h{number}" for number in range(1, 9 if ROUNDS else 5)]
    lab.up(names, plain=True)
    site = Site(lab, tmp_path)
    site.run(",".join(names), 1)
    shell(lab, "h1", "rm -rf /opt/site/lines; mkdir -p /opt/site/lines")  # a folder where a file should be
    lab.fault("h2", "cpu", "10")
    lab.fault("h3", "loss", "10")
    try:
        said = site.run(",".join(names), 2, FAILED, within=240)
        assert "/opt/site/lines is a directory" in said, said
        for name in names[1:]:
            assert site.state(name) == site.expected(2), name
        shell(lab, "h1", "rm -rf /opt/site/lines")
        site.converge("h1", 2)
    finally:
        for name in ("h2", "h3"):
            lab.fault(name, "clear")


def test_a_mirror_that_stops_answering(lab: Lab, board: str, tmp_path: Path) -> None:
    site = Site(lab, tmp_path)
    site.run(board, 1)
    tasks = (site.folder / "site.yml").read_text()
    update = "    - {name: package lists, apt: {update_cache: true}, timeout: 8}\n"
    (site.folder / "site.yml").write_text(tasks.replace("    - {name: a user", update + "    - {name: a user"))
    lab.fault(board, "mirror-hang")
    began = time.monotonic()
    said = site.run(board, 2, FAILED)
    assert time.monotonic() - began < 60, said
    assert "package lists" in said
    site.check_whole(board, 1, 2)
    lab.fault(board, "clear")
    site.run(board, 2)
    assert site.state(board) == site.expected(2)
    assert shell(lab, board, "fuser /var/lib/apt/lists/lock 2>/dev/null || echo free") == "free"
