"""Shipping without root to two hosts that are this machine: canaries, refusals before anything is sent, rollback."""

from __future__ import annotations

import fcntl
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rpc_clients import say
from runtime_release import artifact
from ssh_servers import free_port
from variants import stored, touched, variant

from tvmops.board_locks import open_lock, sign, take
from tvmops.errors import ConfigError, StackError
from tvmops.rpc.handshake import MAGIC

pytestmark = pytest.mark.timeout(1800)

RECAP = re.compile(r"^(h\d) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
MUTE = b"import time\ntime.sleep(1000000)\n"


class Hosts:
    """Two unprivileged local hosts, and commands about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.ports = {name: free_port() for name in ("h1", "h2")}
        hosts = {name: self._host(name) for name in self.ports}
        (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))

    def _host(self, name: str) -> dict[str, Any]:
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "tvmops_unprivileged": True,
            "tvmops_prefix": str(self.folder / name),
            "tvm_rpc_port": self.ports[name],
            "tvm_threads": 1,
        }

    def __call__(self, *arguments: str, rc: int = 0) -> str:
        argv = [sys.executable, "-m", "tvmops", *arguments, "-i", str(self.folder / "hosts.yml")]
        own = {"TVMOPS_STATE": str(self.folder / "state"), "TVMOPS_AGENT_STATE": str(self.folder / "agent-state")}
        environment = {**os.environ, **own, "NO_COLOR": "1"}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == rc, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def ship(self, key: str, *arguments: str, host: str = "all", rc: int = 0) -> str:
        return self("release.ship", "--host", host, "--key", key, "--store", str(self.store), *arguments, rc=rc)

    def current(self) -> list[str]:
        return [(self.folder / name / "current").resolve().name for name in ("h1", "h2")]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    made = Hosts(tmp_path_factory.mktemp("ship"))
    made("provision", "--host", "all")
    yield made
    made("rpc.stop", "--host", "all")


def counts(said: str) -> dict[str, tuple[int, int]]:
    """host -> (changed, failed)."""
    return {match[0]: (int(match[2]), int(match[4])) for match in RECAP.findall(said)}


def test_canaries_go_first_and_are_taken_back(hosts: Hosts) -> None:
    first = artifact()
    assert hosts.current() == [first.key] * 2
    good = stored(variant(first, hosts.folder, touched(first, 0.05, "good")), hosts.store)
    hosts.ship(good, "--serial", "1")
    assert hosts.current() == [good] * 2
    status = json.loads(hosts("rpc.status", "--host", "all", "--json"))
    assert [one["running_release"] for one in status.values()] == [good] * 2
    assert counts(hosts.ship(good)) == {"h1": (0, 0), "h2": (0, 0)}

    mute = stored(variant(first, hosts.folder, {"tvm/exec/rpc_server.py": MUTE}), hosts.store)
    said = hosts.ship(mute, "--canary", "1", "-e", "tvm_rpc_start_seconds=5", rc=2)
    assert f"release {good}, which worked before, is current again and answers" in said
    assert "h2: STOPPED" in said
    assert hosts.current() == [good] * 2
    listed = json.loads(hosts("release.list", "--host", "all", "--json"))
    assert {name: [one["key"] for one in about["releases"] if one["bad"]] for name, about in listed.items()} == {
        "h1": [mute],
        "h2": [],
    }
    hosts("rpc.status", "--host", "all")

    hosts("release.rollback", "--host", "h1")
    assert hosts.current() == [first.key, good]
    assert counts(hosts("release.rollback", "--host", "h1"))["h1"] == (0, 0)
    # h1: nothing was before its current one. h2 keeps its current one, the one before, and the newest of the others.
    assert counts(hosts("release.gc", "--host", "all", "--keep", "1")) == {"h1": (1, 0), "h2": (0, 0)}
    left = {name: {path.name for path in (hosts.folder / name / "releases").iterdir()} for name in ("h1", "h2")}
    assert left == {"h1": {".history", first.key}, "h2": {".history", first.key, good, mute}}


def test_provisioning_cuts_no_session_short(hosts: Hosts) -> None:
    first = artifact()
    other = stored(variant(first, hosts.folder, touched(first, 0.05, "other")), hosts.store)
    hosts.ship(other, host="h2")
    with say(hosts.ports["h2"], b"client:") as client:
        client.settimeout(10)
        assert client.recv(4) == struct.pack("<i", MAGIC)
        said = hosts("provision", "--host", "h2", rc=2)
        assert "serves a client" in said
        assert hosts.current()[1] == other


def test_a_board_that_a_sweep_measures_on_or_with_bad_settings_is_refused(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hosts.current()
    first = artifact()
    key = stored(variant(first, hosts.folder, touched(first, 0.05, "held")), hosts.store)
    said = hosts.ship(key, "-e", json.dumps({"tvm_rpc_key": "two words"}), host="h1", rc=2)
    assert "tvm_rpc_key is a word" in said
    monkeypatch.setenv("TVMOPS_STATE", str(hosts.folder / "state"))
    with open_lock("h1") as file:
        assert take(file, fcntl.LOCK_EX)
        sign(file, "a sweep")
        said = hosts.ship(key, host="h1", rc=2)
        assert "h1 is held by a sweep of" in said
        assert "--force" in said
        assert hosts.current() == before
        said = hosts("release.switch", "--host", "h1", "--key", first.key, rc=2)
        assert "h1 is held by a sweep of" in said
    assert not (hosts.folder / "h1" / "releases" / key).exists()


def test_a_board_of_another_abi_is_refused_before_anything_is_sent(hosts: Hosts) -> None:
    first = artifact()
    needs = {"GLIBC": "2.99", "GLIBCXX": "3.4.99"}
    key = stored(variant(first, hosts.folder, {}, needs=needs), hosts.store)
    said = hosts.ship(key, rc=2)
    assert "GLIBC_2.99" in said
    assert "MB sent" not in said
    assert not (hosts.folder / "h1" / "releases" / key).exists()


def test_mistakes_on_the_command_line(hosts: Hosts) -> None:
    assert "is no key" in hosts.ship("../../etc", rc=ConfigError.exit_code)
    assert "has no artifact" in hosts.ship("0" * 16, rc=StackError.exit_code)
    for option, value in (("--canary", "none"), ("--serial", "0"), ("--max-fail", "120")):
        assert option in hosts.ship("0" * 16, option, value, rc=ConfigError.exit_code)
    assert "--keep" in hosts("release.gc", "--host", "h1", "--keep", "0", rc=ConfigError.exit_code)
