"""Undoing what a root agent did: for other users, on other disks, on full ones, after it was killed. Needs root."""

from __future__ import annotations

import os
import pwd
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driver import Driver

PYTHONS = sorted({"/usr/bin/python3", *map(str, Path("~/.pyenv/versions").expanduser().glob("3.6.*/bin/python"))})
Snapshot = dict[str, tuple[object, ...]]


@pytest.fixture
def cache() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tvmops-test-") as folder:
        yield Path(folder) / "tvmops"


@pytest.fixture
def account() -> Iterator[pwd.struct_passwd]:
    name = f"tvmops-{secrets.token_hex(4)}"
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", name], check=True)
    yield pwd.getpwnam(name)
    subprocess.run(["userdel", "-r", name], check=True, stderr=subprocess.DEVNULL)


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 8 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mounted)], check=True)
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def snapshot(root: Path) -> Snapshot:
    found: Snapshot = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        target = str(path.readlink()) if path.is_symlink() else ""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, content, target)
    return found


def task(module: str, **args: Any) -> dict[str, Any]:
    return {"module": module, "args": args}


def restore(agent: Driver, run: str) -> dict[str, Any]:
    [result] = agent.batch([task("restore_run", run=run, by=f"undo-{run}")], run=f"undo-{run}")
    assert not result["failed"], result
    return result


@pytest.mark.parametrize("python", PYTHONS)
def test_tasks_of_other_users_are_undone(cache: Path, account: pwd.struct_passwd, python: str) -> None:
    home = Path(account.pw_dir)
    tree = home / "tree"
    (tree / "inner").mkdir(parents=True)
    for path, content in ((home / "mine", "old"), (tree / "inner/file", "kept")):
        path.write_text(content)
    (home / "roots").mkdir(mode=0o755)
    (home / "roots/f").write_text("root's")
    for path in (home / "mine", tree, tree / "inner", tree / "inner/file"):
        os.chown(path, account.pw_uid, account.pw_gid)
    before = snapshot(home)
    who = {"become_user": account.pw_name}
    tasks = [
        {**task("copy", dest=f"{home}/mine", content="new", mode="0600"), **who},
        {**task("file", path=f"{home}/roots/f", state="link", src="x", force=True), **who, "ignore_errors": True},
        {**task("file", path=str(tree), state="absent"), **who},
        {**task("file", path=f"{home}/fresh", state="directory"), **who},
        task("file", path=f"{home}/fresh", owner="root", mode="0700"),
        task("lineinfile", path=f"{home}/mine", line="more"),
    ]
    with Driver(cache, python) as agent:
        predicted = agent.batch(tasks, check=True)
        changed = [one["changed"] for one in predicted]
        assert len(changed) == 6, predicted
        assert snapshot(home) == before
        results = agent.batch(tasks, run="one")
        assert [one["changed"] for one in results] == changed == [True, False, *[True] * 4], results
        result = restore(agent, "one")
        assert (result["conflicts"], result["lost"]) == ({}, {})
        assert agent.close() == 0
    assert snapshot(home) == before
    assert agent.stderr == ""


def test_files_of_another_disk_are_kept_as_copies(cache: Path, other_disk: Path) -> None:
    (other_disk / "tree").mkdir()
    (other_disk / "tree/file").write_text("x" * 5000)
    (other_disk / "file").write_text("old")
    os.chown(other_disk / "tree/file", 65534, 65534)
    before = snapshot(other_disk)
    with Driver(cache) as agent:
        tasks = [
            task("copy", dest=f"{other_disk}/file", content="new"),
            task("file", path=f"{other_disk}/tree", state="absent"),
        ]
        assert all(one["changed"] for one in agent.batch(tasks, run="one"))
        restore(agent, "one")
    assert snapshot(other_disk) == before


def test_a_mounted_disk_is_not_removed_with_the_tree_around_it(cache: Path, other_disk: Path) -> None:
    (other_disk / "file").write_text("precious")
    with Driver(cache) as agent:
        result = agent.batch([task("file", path=str(other_disk.parent), state="absent")], run="one")[0]
    assert result["failed"]
    assert f"mounted at {other_disk}" in result["msg"]
    assert (other_disk / "file").read_text() == "precious"


def test_a_full_disk_takes_the_undoing_not_the_task(cache: Path, other_disk: Path, tmp_path: Path) -> None:
    (other_disk / "fill").write_bytes(b"\0" * 8_000_000)
    (tmp_path / "f").write_text("old")
    with Driver(cache, env={**os.environ, "TVMOPS_AGENT_STATE": str(other_disk / "state")}) as agent:
        tasks = [
            task("copy", dest=f"{tmp_path}/f", content="new"),
            task("file", path=f"{other_disk}/fill", state="absent"),
        ]
        results = agent.batch(tasks, run="one")
    assert [one["changed"] for one in results] == [True, True], results
    assert (tmp_path / "f").read_text() == "new"
    assert not (other_disk / "fill").exists()


def test_what_a_killed_agent_had_done_is_undone(cache: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "f0").write_text("old")
    before = snapshot(root)
    with Driver(cache) as agent:
        tasks = [task("copy", dest=f"{root}/f{number}", content="new") for number in range(40)]
        agent.start([*tasks, task("command", cmd="sleep 600")], run="one")
        while not (root / "f20").exists():
            agent.next_event()
        agent.process.kill()
        agent.process.wait()
    with Driver(cache) as agent:
        result = restore(agent, "one")
        assert len(result["undone"]) >= 20
    assert snapshot(root) == before
