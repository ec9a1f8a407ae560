"""Playbooks that make a system right before TVM comes: mirrors, clock, swap, toolchain; each twice on one board."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from lab_helpers import Commands, shell

from tvmops.inventory import load_inventory
from tvmops.lab import Lab

pytestmark = pytest.mark.timeout(900)  # many runs on one board, on a machine that may be busy

BOARD = "ps"
RECAP = re.compile(rf"{BOARD} +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=(\d+)")
SOURCES = "cat /etc/apt/sources.list; ls /etc/apt/sources.list.d; cat /etc/pip.conf 2>&1 || true"


class Runs:
    """Playbooks on the one board, all of which leave it as it was asked."""

    def __init__(self, lab: Lab, state: Path) -> None:
        self.lab, self.commands = lab, Commands(lab, state)
        self.variables = load_inventory([lab.inventory_path]).hosts[BOARD].vars

    def __call__(self, playbook: str, *options: str, fails: bool = False, **variables: object) -> tuple[str, int]:
        """(output, changed tasks) of a run that must end well, or must fail."""
        more = ["-e", json.dumps(variables)] if variables else []
        argv = ("playbook", f"playbooks/{playbook}.yml", "--host", BOARD, *more, *options)
        output = self.commands.on(*argv, rc=2 if fails else 0)
        found = RECAP.search(output)
        assert found, output[-3000:]
        assert (found[2] != "0") == fails
        return output, int(found[1])

    def previewed_and_twice(self, playbook: str, **variables: object) -> str:
        """A check says what the run then does, and a second run does nothing; the run's output."""
        _, foretold = self(playbook, "--check", **variables)
        output, changed = self(playbook, **variables)
        assert foretold >= changed > 0, output
        assert self(playbook, **variables)[1] == 0
        return output

    def shell(self, script: str) -> str:
        return shell(self.lab, BOARD, script)


@pytest.fixture(scope="module")
def runs(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    lab.up([BOARD])
    return Runs(lab, tmp_path_factory.mktemp("state"))


class Wrong(BaseHTTPRequestHandler):
    """A mirror that has another release in the place of every one."""

    def do_GET(self) -> None:
        text = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSuite: testing\nCodename: forky\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def bad_mirrors(address: str) -> Iterator[dict[str, str]]:
    """One that is down, one that takes connections and never answers, one with another release."""
    with (
        socket.create_server((address, 0)) as hangs,
        socket.socket() as down,
        ThreadingHTTPServer((address, 0), Wrong) as wrong,
    ):
        down.bind((address, 0))  # bound and not listening: refused, and nobody else's
        threading.Thread(target=wrong.serve_forever, daemon=True).start()
        ports = {"down": down.getsockname()[1], "hangs": hangs.getsockname()[1], "wrong": wrong.server_address[1]}
        yield {name: f"http://{address}:{port}/debian" for name, port in ports.items()}
        wrong.shutdown()


def test_mirrors(runs: Runs) -> None:
    before = runs.shell(SOURCES)
    cache, index = runs.variables["apt_mirror"], runs.variables["pip_index"]
    lan = {"name": "lan", "debian": cache, "debian-security": runs.variables["apt_security_mirror"]}
    nothing_named = {"apt_mirror": "", "pip_index": ""}
    with bad_mirrors(cache.split("/")[2].split(":")[0]) as bad:
        output, _ = runs("mirrors", fails=True, **nothing_named, apt_mirror_candidates=list(bad.values()))
        assert re.search(r"no mirror has everything for bookworm on amd64: .*Connection refused", output)
        assert "timed out after 8 s" in output
        assert "is of forky (testing), not of bookworm" in output
        assert runs.shell(SOURCES) == before
        del bad["hangs"]  # for time's sake: it costs its 8 s in every run
        candidates = {"apt_mirror_candidates": [*bad.values(), lan], "pip_index_candidates": ["official", index]}
        runs.previewed_and_twice("mirrors", **nothing_named, **candidates)
    assert runs.shell("grep -h ^deb /etc/apt/sources.list").splitlines() == [
        f"deb {cache} bookworm main",
        f"deb {cache} bookworm-updates main",
        f"deb {lan['debian-security']} bookworm-security main",
    ]
    assert f"index-url = {index}" in runs.shell("cat /etc/pip.conf")
    # What apt itself does not accept is taken back: these lists are not signed by whom they should be.
    runs.shell("mv /usr/share/keyrings /usr/share/k; mv /etc/apt/trusted.gpg.d /etc/apt/t; rm -rf /var/lib/apt/lists/*")
    output, _ = runs("mirrors", fails=True, apt_components="main contrib")
    assert f"{cache} cannot be used; the original package sources are back" in output
    runs.shell("mv /usr/share/k /usr/share/keyrings; mv /etc/apt/t /etc/apt/trusted.gpg.d")
    assert runs.shell(SOURCES) == before
    assert runs("mirrors-restore")[1] == 0


def test_an_index_that_anybody_could_fake_is_refused(runs: Runs) -> None:
    output, _ = runs("mirrors", fails=True, apt_mirror="", pip_index="http://93.184.216.34/simple")
    assert "neither https nor in the LAN" in output


def test_clock(runs: Runs, lab: Lab) -> None:
    runs.previewed_and_twice("clock", tvm_ntp="10.0.0.1")
    assert runs.shell("grep NTP /etc/systemd/timesyncd.conf.d/tvmops.conf") == "NTP=10.0.0.1"
    assert runs("clock")[1] == 1  # the LAN's server is named no more
    lab.fault(BOARD, "clock", "+400d")
    try:
        _, foretold = runs("clock", "--check")
        assert foretold == 1
        output, _ = runs("clock", fails=True)
    finally:
        lab.fault(BOARD, "clear")
    assert "the clock is 400 days fast" in output
    assert "it is a container, whose clock is its host's" in output


def test_swap_where_there_can_be_none(runs: Runs) -> None:
    before = runs.shell("cat /etc/fstab 2>&1 || true; ls -A /var/lib/tvmops 2>&1 || true")
    output, _ = runs("swap", fails=True, swap_mb=64)
    assert "this system is a container: its memory and swap are its host's" in output
    output, _ = runs("swap", fails=True, swap_mb=64, swap_now=False)
    assert "would be on overlay: the kernel cannot swap to a file that two file systems make up" in output
    assert "swap_mb says how many" in runs("swap", fails=True)[0]
    assert runs("swap", swap_state="absent")[1] == 0
    assert runs.shell("cat /etc/fstab 2>&1 || true; ls -A /var/lib/tvmops 2>&1 || true") == before


def test_toolchain(runs: Runs, tmp_path: Path) -> None:
    runs("mirrors")
    small = {"toolchain_basics": ["xz-utils"], "toolchain": ["cmake-3.31.10"]}
    assert "known are cmake-3.31.10, gcc-9.5.0" in runs("toolchain", fails=True, toolchain=["cmake"])[0]
    (tmp_path / "tool.tar.xz").write_bytes(b"not what it should be")
    origin = {"file": "tool.tar.xz", "sha256": "0" * 64}
    extra = {"toolchain_extra": {"tool-1": {"prove": [["bin/tool"]], "source": [origin]}}, "toolchain": ["tool-1"]}
    archives = {"toolchain_archives": {"tool.tar.xz": str(tmp_path / "tool.tar.xz")}}
    output, _ = runs("toolchain", fails=True, **{**small, **extra}, **archives)
    assert "tool.tar.xz is not what it should be: its SHA-256 is" in output
    runs.previewed_and_twice("toolchain", **small)
    place = "/opt/tvmops/toolchain/cmake-3.31.10"
    assert runs.shell(f"{place}/bin/cmake --version | head -1") == "cmake version 3.31.10"
    assert runs.shell("command -v cmake || true") == ""  # nothing over /usr
    assert runs.shell(f"ls {place}/share") == "aclocal\nbash-completion\ncmake-3.31\nemacs\nvim"
