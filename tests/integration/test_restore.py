"""`tvmops restore` on this machine as a local host: list, preview, undo, undo of the undo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - copy: {{dest: {0}/a, content: "new\\n", mode: "0600"}}
    - file: {{path: {0}/sub/deep, state: directory}}
    - lineinfile: {{path: {0}/sub/deep/f, line: hi, create: true}}
    - file: {{path: {0}/tree, state: absent}}
    - command: echo hello
    - shell: echo secret-{0}
      no_log: true
"""


def tvmops(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tvmops", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture
def where(tmp_path: Path) -> tuple[str, ...]:
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    path = tmp_path / "hosts.yml"
    path.write_text(json.dumps({"all": {"hosts": {"here": host}}}))
    return ("--host", "here", "--inventory", str(path))


@pytest.fixture
def changed(tmp_path: Path, where: tuple[str, ...]) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A tree that a playbook has changed, and how it was before and after."""
    root = tmp_path / "root"
    (root / "tree/inner").mkdir(parents=True)
    (root / "tree/inner/file").write_text("kept")
    (root / "a").write_text("old\n")
    before = snapshot(root)
    (tmp_path / "site.yml").write_text(PLAYBOOK.format(root))
    done = tvmops("playbook", str(tmp_path / "site.yml"), *where[2:])
    assert done.returncode == 0, done.stdout + done.stderr
    return root, before, snapshot(root)


def listed(where: tuple[str, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(tvmops("restore", *where, "--list", "--json").stdout)["here"]["results"]
    return found


def test_a_run_is_listed_previewed_undone_and_done_again(
    changed: tuple[Path, dict[str, Any], dict[str, Any]], where: tuple[str, ...]
) -> None:
    root, before, after = changed
    [run] = listed(where)
    assert (run["what"], run["paths"], run["others"]) == ("site.yml", 5, 2)
    preview = tvmops("restore", *where, "--run", run["run"], "--check", "--diff")
    assert preview.returncode == 0, preview.stderr
    assert "5 paths would be restored" in preview.stdout
    assert "-new\n+old\n" in preview.stdout
    assert snapshot(root) == after
    undone = tvmops("restore", *where, "--run", run["run"])
    assert undone.returncode == 0, undone.stderr
    assert snapshot(root) == before
    assert "not undone: command echo hello" in undone.stdout
    assert "secret-" not in undone.stdout
    assert "0 paths restored" in tvmops("restore", *where, "--run", run["run"]).stdout
    first, second = listed(where)
    assert first["undone_by"] == [second["run"]]
    assert tvmops("restore", *where, "--run", "last").returncode == 0
    assert snapshot(root) == after


def test_what_was_changed_since_is_left_and_named(
    changed: tuple[Path, dict[str, Any], dict[str, Any]], where: tuple[str, ...]
) -> None:
    root, _, _ = changed
    (root / "a").write_text("mine\n")
    done = tvmops("restore", *where, "--run", "last")
    assert done.returncode == 2
    assert f"left as it is: {root}/a: it is no longer what the run left" in done.stdout
    assert ((root / "a").read_text(), (root / "tree/inner/file").read_text()) == ("mine\n", "kept")
    assert tvmops("restore", *where, "--run", "last", "--force").returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--run", "no-such"), "no journal of the run no-such"),
        (("--run", "last"), "no journal of any run"),
        ((), "wants --run or --list"),
        (("--list", "--run", "last"), "wants --run or --list"),
    ],
)
def test_what_cannot_be_meant(where: tuple[str, ...], options: tuple[str, ...], said: str) -> None:
    done = tvmops("restore", *where, *options)
    assert done.returncode == 5
    assert said in done.stderr
