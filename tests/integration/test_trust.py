"""The trust command, as a user runs it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ssh_servers import Sshd, free_port, make_key


@pytest.fixture
def inventory(sshd: Sshd, tmp_path: Path) -> Path:
    """An inventory with one board that is up and one that is not."""
    path = tmp_path / "hosts.yml"
    down = {"ansible_host": "127.0.0.1", "ansible_port": free_port()}
    path.write_text(yaml.safe_dump({"all": {"hosts": {"board": sshd.vars(), "down": down}}}))
    return path


PROGRAM = "from invoke import Collection, Program; from tvmops.cli.trust import COMMANDS; " + (
    "Program(namespace=Collection(*COMMANDS)).run()"
)


def trust(inventory: Path, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    """Run the command with no other of its kind loaded."""
    command = [sys.executable, "-c", PROGRAM, "trust", "--inventory", str(inventory), *arguments]
    return subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False, timeout=60)


def test_without_a_terminal_it_asks_for_yes(sshd: Sshd, inventory: Path) -> None:
    sshd.known_hosts.unlink()
    refused = trust(inventory, "--host", "board")
    assert refused.returncode == 6
    assert "board: 127.0.0.1" in refused.stdout
    assert "SHA256:" in refused.stdout
    assert "--yes" in refused.stderr
    assert not sshd.known_hosts.exists()
    stored = trust(inventory, "--host", "board", "--yes")
    assert stored.returncode == 0, stored.stderr
    assert f"stored in {sshd.known_hosts}" in stored.stdout
    again = trust(inventory, "--host", "board", "--yes")
    assert "stored already" in again.stdout
    assert len(sshd.known_hosts.read_text().splitlines()) == 1


@pytest.mark.parametrize(("answer", "stored"), [("y", True), ("n", False), ("", False)])
def test_at_a_terminal_it_asks(sshd: Sshd, inventory: Path, answer: str, stored: bool) -> None:
    sshd.known_hosts.unlink()
    controller, terminal = pty.openpty()
    os.write(controller, answer.encode() + b"\n")
    done = trust(inventory, "--host", "board", stdin=terminal)
    os.close(controller)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert "Store this key? [y/N]" in done.stdout
    assert sshd.known_hosts.exists() is stored


def test_a_changed_key_needs_replace(sshd: Sshd, inventory: Path, tmp_path: Path) -> None:
    old = " ".join(make_key(tmp_path / "old").with_suffix(".pub").read_text().split()[:2])
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {old}\n")
    refused = trust(inventory, "--host", "board", "--yes")
    assert refused.returncode == 6
    assert "has CHANGED" in refused.stderr
    assert old in sshd.known_hosts.read_text()
    replaced = trust(inventory, "--host", "board", "--yes", "--replace")
    assert replaced.returncode == 0, replaced.stderr
    assert "has CHANGED" in replaced.stdout
    assert old not in sshd.known_hosts.read_text()


def test_one_board_that_is_down_does_not_keep_the_others(sshd: Sshd, inventory: Path) -> None:
    sshd.known_hosts.unlink()
    done = trust(inventory, "--host", "all", "--yes")
    assert done.returncode == 4
    assert "down: cannot connect" in done.stderr
    assert "Traceback" not in done.stderr
    assert sshd.known_hosts.exists()
