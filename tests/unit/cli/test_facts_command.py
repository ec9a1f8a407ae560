"""The command `facts`: what was gathered is shown with its time, and only for the machine that it came from."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from tvmops.errors import HostUnreachable


def facts(folder: Path, inventory: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "hosts.yml").write_text(inventory)
    command = [sys.executable, "-m", "tvmops", "facts", "--host", "board", "--inventory", "hosts.yml", *options]
    env = {**os.environ, "TVMOPS_STATE": str(folder / "state")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_known_facts_are_shown_with_their_time_until_they_are_asked_for_again(tmp_path: Path) -> None:
    local = "all: {hosts: {board: {ansible_connection: local}}}\n"
    first = facts(tmp_path, local)
    assert first.returncode == 0, first.stderr
    assert re.match(r"board  \(as of \d\d:\d\d:\d\d\)\n", first.stdout)
    assert f"kernel         {os.uname().release}" in first.stdout
    kept = tmp_path / "state" / "facts" / "board.json"
    before = kept.stat().st_mtime_ns
    assert facts(tmp_path, local).stdout == first.stdout
    assert kept.stat().st_mtime_ns == before
    assert facts(tmp_path, local, "--refresh").returncode == 0
    assert kept.stat().st_mtime_ns > before


def test_facts_of_another_machine_of_that_name_are_not_shown(tmp_path: Path) -> None:
    assert facts(tmp_path, "all: {hosts: {board: {ansible_connection: local}}}\n").returncode == 0
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        done = facts(tmp_path, f"all: {{hosts: {{board: {{ansible_host: 127.0.0.1, ansible_port: {port}}}}}}}\n")
    assert (done.returncode, done.stdout) == (HostUnreachable.exit_code, "")
    assert "refused" in done.stderr
