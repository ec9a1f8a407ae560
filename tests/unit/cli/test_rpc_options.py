"""What rpc.up, rpc.status, rpc.leases and rpc.down say to what cannot be, and where nothing is up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def tvmops(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "hosts.yml").write_text("all: {hosts: {one: {tvm_rpc_tracker: '10.0.0.1:9190'}, two: {}}}\n")
    environment = {**os.environ, "TVMOPS_INVENTORY": str(folder / "hosts.yml")}
    argv = [sys.executable, "-m", "tvmops", *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rpc.up",), "--host is missing"),
        (("rpc.up", "--host", "one", "--group", "two"), "--host and --group mean the same"),
        (("rpc.up", "--group", "three"), "three"),
        (("rpc.up", "--host", "one"), "hosts.yml:1: tvm_rpc_tracker: the RPC server of one belongs to the tracker"),
        (("rpc.up", "--host", "two", "--key-by", "model"), "--key-by model: two has no such variable"),
        (("rpc.up", "--host", "two", "--tracker-host", "all"), "--tracker-host all: 2 hosts, but one has the tracker"),
        (("rpc.up", "--host", "two", "--tracker-port", "99999"), "--tracker-port 99999: is no port number"),
        (("rpc.up", "--host", "two", "-e", "tvm_rpc_key=a'"), "--extra-vars"),
        (("rpc.up", "--host", "two", "-e", "tvm_stack=relay-7"), "relay-7"),
        (("rpc.status",), "--host is missing"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = tvmops(tmp_path, *arguments)
    assert done.returncode in (5, 13), done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "tvmops-state" / "rpc").exists()


def test_where_nothing_is_up_there_is_nothing_to_end(tmp_path: Path) -> None:
    assert tvmops(tmp_path, "rpc.down").stdout == "no gateway is up\n"
    assert tvmops(tmp_path, "rpc.down", "--group", "two").stdout == "no gateway for two is up\n"
    assert tvmops(tmp_path, "rpc.leases", "--json").stdout == "[]\n"
    assert tvmops(tmp_path, "rpc.leases").stderr == "no board is held\n"
