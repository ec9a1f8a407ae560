"""What cannot be parsed on a command line: one message that names it and the nearest known name, exit code 5."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tvmops.paths import project_root


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("provison", "there is no command 'provison'\n  did you mean 'provision'?"),
        ("lab.upp", "there is no command 'lab.upp'\n  did you mean 'lab.up'?"),
        ("provision --hots b1", "provision: there is no option '--hots'\n  did you mean '--host'?"),
        ("provision --host", "see: tvmops --help provision"),
        ("provision --forks many", "an option wants a whole number: "),
        ("sweep", "'file'"),
    ],
)
def test_a_line_that_cannot_be_parsed(line: str, expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tvmops", *line.split()], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 5
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_password_cannot_be_asked_for_without_a_terminal() -> None:
    line = ["provision", "--host", "server-1", "--ask-become-pass"]
    done = subprocess.run(
        [sys.executable, "-m", "tvmops", *line],
        input="secret\n", capture_output=True, text=True, check=False, timeout=60, start_new_session=True,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (5, False)
    assert "$TVMOPS_BECOME_PASSWORD" in done.stderr


def test_how_a_host_is_reached_may_be_said_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {h1: {ansible_host: 192.0.2.1}}}\n")
    (tmp_path / "site.yml").write_text("- {hosts: all, gather_facts: false, tasks: [{command: echo}]}\n")
    done = subprocess.run(
        [sys.executable, "-m", "tvmops", "playbook", "site.yml", "-i", "hosts.yml", "-e", "ansible_connection=local"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(project_root())},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "changed=1" in done.stdout
