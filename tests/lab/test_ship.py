"""Releases on a systemd board: shipped in part, broken off and gone on with, cut off from power, broken, taken back."""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_helpers import shell
from site_runs import FAILED, OK, ROUNDS, SEED, UNREACHABLE, begin, changed, finish
from variants import stored, touched, variant

from tvmops.lab import Lab
from tvmops.stack import Artifact
from tvmops.stack.artifact import read_archive
from tvmops.stack.shipping import find_artifact

pytestmark = pytest.mark.timeout(1800 + 120 * ROUNDS)

BOARD = "s1"
BUSY = 16
FILLER = "tvm_ffi/lib/libtvm_ffi_testing.so"  # a library; what stands behind its end does no harm
LARGE = 6_000_000  # bytes behind it that no compression makes smaller
SENT = re.compile(r"^s1: (\d+\.\d) MB sent(?:; (\d+\.\d) MB were there)?", re.MULTILINE)
PORT = "/usr/bin/python3 /opt/tvmops/libexec/rpc_port.py"
SERVER = "tvm/exec/rpc_server.py"
LIBRARY = "tvm/lib/libtvm_runtime.so"


class Fleet:
    """The board, a store of artifacts, and commands about releases."""

    def __init__(self, lab: Lab, folder: Path, first: Artifact) -> None:
        self.lab, self.folder, self.first = lab, folder, first
        self.store = folder / "store"
        self.random = random.Random(SEED)

    def variant(self, *, large: bool = False, **changes: bytes) -> str:
        """The key of a new artifact in the store: a few files differ, and those named: server, library.

        A large one has LARGE bytes that no board has.
        """
        names = {"server": SERVER, "library": LIBRARY}
        files = touched(self.first, 0.05, self.random.randbytes(8).hex())
        files.update({names[name]: data for name, data in changes.items()})
        if large:
            filler = next(data for name, _, data in read_archive(self.first.path) if name == FILLER)
            files[FILLER] = filler + self.random.randbytes(LARGE)
        return stored(variant(self.first, self.folder, files), self.store)

    def start(self, key: str, *arguments: str, state: str = "") -> subprocess.Popen[str]:
        """Begin to ship; `state`: of another controller."""
        folder = self.folder / state
        folder.mkdir(exist_ok=True)
        options = ("--host", BOARD, "--key", key, "--store", str(self.store))
        return begin(self.lab, folder, "release.ship", *options, *arguments)

    def ship(self, key: str, *arguments: str, code: int = OK) -> str:
        """Ship, which must end with this exit code."""
        return finish(self.start(key, "--wait", "120", *arguments), code, within=900)

    def command(self, *arguments: str, code: int = OK) -> str:
        return finish(begin(self.lab, self.folder, *arguments, "--host", BOARD), code, within=900)

    def releases(self) -> dict[str, Any]:
        """What release.list says."""
        found: dict[str, Any] = json.loads(self.command("release.list", "--json"))[BOARD]
        return found

    def bad(self) -> list[str]:
        return [one["key"] for one in self.releases()["releases"] if one["bad"]]

    def current(self) -> str:
        return shell(self.lab, BOARD, "basename $(readlink /opt/tvmops/current)")

    def serves(self, *keys: str) -> str:
        """The release that runs and answers, which is the current one and one of the keys."""
        shell(self.lab, BOARD, f"{PORT} answer 9090 90", timeout=100)
        running = str(json.loads(shell(self.lab, BOARD, f"{PORT} state 9090"))["listener"]["release"])
        assert running == self.current()
        assert running in keys, (running, keys)
        return running

    def converge(self, key: str) -> None:
        """One run brings the board to the release, the next changes nothing, and nothing is left of earlier ones."""
        said = self.ship(key)
        assert self.serves(key) == key, said
        again = self.ship(key)
        assert changed(again) == {BOARD: 0}, again
        left = "ls -d /root/.cache/tvmops/transfers /opt/tvmops/current.* /opt/tvmops/.tvmops-* 2>/dev/null || true"
        assert shell(self.lab, BOARD, left) == ""


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A provisioned board with a disk of its own."""
    folder = tmp_path_factory.mktemp("ship")
    lab.up([BOARD], disk="3G")
    shell(lab, BOARD, "echo 'export TVM_HOME=/home/admin/tvm' >> /home/admin/.bashrc")
    said = finish(begin(lab, folder, "provision", "--host", BOARD), OK, within=900)
    assert "/home/admin/.bashrc" in said
    assert "export TVM_HOME=/home/admin/tvm" in said
    return Fleet(lab, folder, find_artifact(shell(lab, BOARD, "basename $(readlink /opt/tvmops/current)")))


@pytest.fixture
def healthy(lab: Lab, fleet: Fleet) -> Iterator[Fleet]:
    """The board without faults, before and after, and with little on its disk."""
    lab.fault(BOARD, "clear")
    yield fleet
    lab.fault(BOARD, "clear")
    fleet.command("release.gc", "--keep", "1", "-q")


def test_what_the_board_has_is_not_sent(lab: Lab, healthy: Fleet) -> None:
    first, key = healthy.current(), healthy.variant()
    preview = healthy.ship(key, "--check")
    assert healthy.current() == first
    assert changed(preview)[BOARD] > 0
    said = healthy.ship(key)
    found = re.search(r"s1: release \w+: (\d+\.\d\d) MB to send of (\d+\.\d\d)", said)
    assert found, said
    assert float(found[1]) < 0.01 * float(found[2])
    assert "rescued=0" in said
    links = shell(lab, BOARD, f"stat -c %h /opt/tvmops/releases/{key}/{LIBRARY}")
    assert int(links) == 2
    healthy.converge(key)
    assert healthy.releases()["previous"] == first
    healthy.command("release.rollback")
    assert healthy.serves(first)
    assert changed(healthy.command("release.rollback")) == {BOARD: 0}
    healthy.command("release.switch", "--key", key)
    assert healthy.serves(key)
    # A base that is damaged since: its file must not get into the next release.
    shell(lab, BOARD, f"printf x | dd of=/opt/tvmops/releases/{key}/{LIBRARY} bs=1 seek=5000 conv=notrunc 2>/dev/null")
    third = healthy.variant()
    said = healthy.ship(third)
    assert "has damaged, 1 of the files" in said
    assert "rescued=1" in said
    wanted = healthy.first.manifest["files"][LIBRARY]["sha256"]
    assert shell(lab, BOARD, f"sha256sum < /opt/tvmops/releases/{third}/{LIBRARY} | cut -d' ' -f1") == wanted
    assert healthy.serves(third)
    # The damaged file was one file with several names.
    shell(lab, BOARD, f"rm -rf /opt/tvmops/releases/{first} /opt/tvmops/releases/{key}")
    healthy.converge(healthy.variant())
    removed = healthy.command("release.gc", "--keep", "1")
    assert changed(removed) == {BOARD: 0}, "the one before stays, too"
    assert len(healthy.releases()["releases"]) == 2


def test_a_link_that_is_cut_and_two_controllers(lab: Lab, healthy: Fleet) -> None:
    key = healthy.variant(large=True)
    lab.fault(BOARD, "rate", "10mbit")
    process = healthy.start(key)
    arrived = (
        f"stat -c %s /root/.cache/tvmops/transfers/* 2>/dev/null | awk '{{ n += $1 }} END {{ exit n < {LARGE // 3} }}'"
    )
    wait_until(lab, arrived)
    lab.fault(BOARD, "killsshd")
    first = SENT.search(finish(process, UNREACHABLE))
    wait_until(lab, f"! readlink /opt/tvmops/current | grep -q {key}")  # once sshd is back
    # Another controller takes it up, and a third one waits for that.
    second, third = (healthy.start(key, "--wait", "200", state=name) for name in ("other", "third"))
    said, also = finish(second, OK, within=900), finish(third, OK, within=900)
    rest = max((one for one in (SENT.search(said), SENT.search(also)) if one), key=lambda one: float(one[1]))
    assert rest[2], (said, also)
    assert float(rest[2]) >= LARGE / 3e6 - 0.1
    wanted = re.search(r"release \w+: (\d+\.\d\d) MB to send", said + also)
    assert wanted
    assert float(rest[1]) + float(rest[2]) < float(wanted[1]) + 0.3, "nothing is sent twice"
    assert first is None or float(first[1]) < LARGE / 1e6
    assert sorted(changed(text)[BOARD] > 0 for text in (said, also)) == [False, True], (said, also)
    lab.fault(BOARD, "clear")
    healthy.converge(key)


def test_power_loss_while_shipping_and_while_switching(lab: Lab, healthy: Fleet) -> None:
    for number in range(ROUNDS or 1):
        before, key = healthy.current(), healthy.variant(large=True)
        moments = [
            (f"unpacking {number}", f"ls /opt/tvmops/releases/{key}/VERSION", healthy.random.uniform(0, 1.5)),
            (f"switching {number}", f"readlink /opt/tvmops/current | grep -q {key}", healthy.random.uniform(0, 0.5)),
        ]
        for moment, condition, after in moments:
            print(f"power loss while {moment}, {after:.2f} s later: TVMOPS_SEED={SEED}")
            process = healthy.start(key, "--wait", "120")
            wait_until(lab, condition)
            time.sleep(after)
            lab.fault(BOARD, "powerloss")
            lab.fault(BOARD, "poweron")
            finish(process, OK, UNREACHABLE, FAILED, within=600)
            healthy.serves(before, key)
            # Nobody has gone on with it: what is there now must be enough for the next run.
        healthy.converge(key)


def test_the_disk_runs_full_while_unpacking(lab: Lab, healthy: Fleet) -> None:
    before, key = healthy.current(), healthy.variant(large=True)
    said = healthy.ship(key, "-e", "tvmops_release_size=3000000000", code=FAILED)
    assert "no room in /opt/tvmops/releases/" in said
    # Room for what is sent, and for half of what is in it.
    lab.fault(BOARD, "diskfull", str(LARGE + LARGE // 2))
    said = healthy.ship(key, "-e", "tvmops_release_size=-100000000", code=FAILED)
    assert "no space left" in said.lower(), said
    assert healthy.serves(before)
    lab.fault(BOARD, "clear")
    healthy.converge(key)


def test_broken_releases_are_taken_back(lab: Lab, healthy: Fleet) -> None:
    before = healthy.current()
    # Its library does not load: found before anything points to it.
    unloadable = healthy.variant(library=b"not a library")
    said = healthy.ship(unloadable, code=FAILED)
    assert "the runtime does not load" in said
    assert healthy.serves(before)
    # Its server does not answer: found by the handshake.
    mute = healthy.variant(server=b"import time\ntime.sleep(1000000)\n")
    said = healthy.ship(mute, "-e", "tvm_rpc_start_seconds=6", code=FAILED)
    assert f"release {before}, which worked before, is current again and answers" in said
    assert healthy.serves(before)
    assert sorted(healthy.bad()) == sorted([unloadable, mute])
    said = healthy.ship(mute, code=FAILED)
    assert "was found broken" in said
    said = healthy.command("release.switch", "--key", mute, code=FAILED)
    assert "--force uses it all the same" in said
    assert healthy.current() == before


def test_a_session_is_not_cut_short(lab: Lab, healthy: Fleet) -> None:
    before, key = healthy.current(), healthy.variant()
    holding = (
        "import socket, struct, time; s = socket.create_connection(('127.0.0.1', 9090)); k = b'client:';"
        "s.sendall(struct.pack('<ii', 0xff271, len(k)) + k); s.recv(4); print('held', flush=True); time.sleep(600)"
    )
    shell(lab, BOARD, f'systemd-run --unit=holding -q -p StandardOutput=file:/run/holding python3 -c "{holding}"')
    wait_until(lab, "grep -q held /run/holding")
    said = healthy.ship(key, code=FAILED)
    assert "serves a client" in said
    assert healthy.serves(before)
    healthy.ship(key, "--force")
    assert healthy.serves(key)
    shell(lab, BOARD, "systemctl stop holding || true")


def test_login_shells(lab: Lab, healthy: Fleet) -> None:
    show = "echo $TVM_HOME $PYTHONPATH $LD_LIBRARY_PATH"
    current = "/opt/tvmops/current"
    wanted = f"{current}:{current}/python {current}/lib"
    assert shell(lab, BOARD, f"sh -lc '{show}'") == f"{current} {wanted}"
    assert (
        shell(lab, BOARD, f"PYTHONPATH=/mine sh -lc 'sh -lc \"{show}\"'")
        == f"{current} {current}:{current}/python:/mine {current}/lib"
    )
    assert shell(lab, BOARD, "cat /home/admin/.bashrc | grep -c TVM_HOME") == "1"


def wait_until(lab: Lab, script: str, seconds: float = 120.0) -> None:
    """Wait until a script succeeds on the board."""
    limit = time.monotonic() + seconds
    while lab.exec(BOARD, ["sh", "-c", script]).rc != 0:
        assert time.monotonic() < limit, script
        time.sleep(0.05)
