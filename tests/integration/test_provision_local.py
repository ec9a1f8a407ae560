"""Provisioning without root: this machine as a local host, into a folder, with the RPC server started on demand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_servers import free_port

CHANGED = re.compile(r"here +: ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0")


def tvmops(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tvmops", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[str]:
    """An inventory with one unprivileged local host; its server is stopped after the test."""
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "tvmops_unprivileged": True,
        "tvmops_prefix": str(tmp_path / "prefix"),
        "tvm_rpc_port": free_port(),
    }
    path = tmp_path / "hosts.yml"
    path.write_text(json.dumps({"all": {"hosts": {"here": host}}}))
    yield str(path)
    tvmops("rpc.stop", "--host", "here", "--inventory", str(path))


def changed(done: subprocess.CompletedProcess[str]) -> int:
    found = CHANGED.search(done.stdout)
    assert found, done.stdout + done.stderr
    return int(found[2])


def test_two_runs_then_a_server_then_none(inventory: str, tmp_path: Path) -> None:
    where = ("--host", "here", "--inventory", inventory)
    assert changed(tvmops("provision", *where)) > 5
    assert changed(tvmops("provision", *where)) == 0
    release = (tmp_path / "prefix" / "current").resolve()
    assert (release / ".complete").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"prefix", "hosts.yml", "tvmops-state", "agent-state"}
    assert tvmops("rpc.status", *where).returncode == 14
    restarted = tvmops("rpc.restart", *where)
    assert "answers again" in restarted.stdout, restarted.stderr
    status = json.loads(tvmops("rpc.status", "--json", *where).stdout)["here"]
    assert status["release"]["key"] == status["running_release"] == release.name
    assert tvmops("rpc.stop", *where).returncode == 0
    assert "nothing listens" in tvmops("rpc.status", *where).stdout
