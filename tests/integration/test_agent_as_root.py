"""What only a root agent can do or meet: tasks for other users, full and read-only disks. Needs root."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import processes
import pytest
from driver import Driver

from tvmops.playbook.files import BlobStore
from tvmops.playbook.folders import add_folder

PYTHONS = sorted({"/usr/bin/python3", *map(str, Path("~/.pyenv/versions").expanduser().glob("3.6.*/bin/python"))})


@pytest.fixture
def cache() -> Iterator[Path]:
    """As on a board: where only root can look."""
    with tempfile.TemporaryDirectory(prefix="tvmops-test-") as folder:
        yield Path(folder) / "tvmops"


@pytest.fixture
def account() -> Iterator[pwd.struct_passwd]:
    name = f"tvmops-{secrets.token_hex(4)}"
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", name], check=True)
    yield pwd.getpwnam(name)
    subprocess.run(["userdel", "-r", name], check=True, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("python", PYTHONS)
def test_tasks_of_another_user_are_his(cache: Path, account: pwd.struct_passwd, python: str) -> None:
    user, home = account.pw_name, account.pw_dir
    who = {"become_user": user}
    with Driver(cache, python) as agent:
        big = agent.blob(os.urandom(400_000))
        results = agent.batch(
            [
                {"module": "shell", "args": {"cmd": "id -un; id -Gn; echo $HOME $USER $LOGNAME; pwd"}, **who},
                {"module": "copy", "args": {"dest": f"{home}/f", "src": "f", "_blob": big}, **who},
                {"module": "copy", "args": {"dest": f"{home}/f", "src": "f", "_blob": big}, **who},
                {"module": "lineinfile", "args": {"path": f"{home}/l", "line": "x", "create": True}, **who},
                {
                    "module": "command",
                    "args": {},
                    "loop": [{"args": {"cmd": f"touch {home}/{n}"}, "label": str(n)} for n in range(2)],
                    **who,
                },
                {"module": "command", "args": {"cmd": "id -un"}},
                {"module": "stat", "args": {"path": "/etc/passwd"}, **who},
                {"module": "copy", "args": {"dest": "/etc/tvmops-test", "content": "x"}, **who},
            ]
        )
        assert agent.close() == 0
    assert results[0]["stdout_lines"] == [user, user, f"{home} {user} {user}", home]
    assert [one["changed"] for one in results[1:4]] == [True, False, True]
    assert [one["changed"] for one in results[4]["results"]] == [True, True]
    assert results[5]["stdout"] == "root"
    assert {Path(home, name).owner() for name in ("f", "l", "0", "1")} == {user}
    assert results[6]["stat"]["writeable"] is False
    assert "permission denied" in results[7]["msg"]
    assert agent.stderr == ""
    assert not list(Path(tempfile.gettempdir()).glob("tvmops-become-*"))


def test_packages_for_another_user_fail_with_the_reason(cache: Path, account: pwd.struct_passwd) -> None:
    """His process can no longer read the agent's files: what apt imports late must be there."""
    who = {"become_user": account.pw_name, "ignore_errors": True}
    with Driver(cache) as agent:
        for module in ("apt", "package"):
            [known, missing] = agent.batch(
                [
                    {"module": module, "args": {"name": ["bash"], "state": "present"}, **who},
                    {"module": module, "args": {"name": ["bash", "no-such-package"], "state": "present"}, **who},
                ]
            )
            assert (known["failed"], known["changed"]) == (False, False), known
            assert missing["failed"]
            assert "exception" not in missing
            assert "No module named" not in missing["msg"]
            assert "no-such-package" in missing["msg"]


def test_a_download_for_another_user(cache: Path, account: pwd.struct_passwd) -> None:
    with Driver(cache, "/usr/bin/python3") as agent:
        args = {"url": "file:///etc/os-release", "dest": f"{account.pw_dir}/f"}
        assert agent.task("get_url", args, become_user=account.pw_name)["owner"] == account.pw_name


def test_a_blob_that_cannot_be_had_fails_the_users_task(cache: Path, account: pwd.struct_passwd) -> None:
    with Driver(cache) as agent:
        args = {"dest": f"{account.pw_dir}/f", "src": "f", "_blob": {"sha256": "0" * 64, "size": 1}}
        assert "no such blob" in agent.task("copy", args, become_user=account.pw_name)["msg"]


def test_no_log_and_faults_of_a_users_task(cache: Path, account: pwd.struct_passwd) -> None:
    with Driver(cache) as agent:
        user = account.pw_name
        result = agent.task("shell", {"cmd": "echo hunter2; exit 1"}, become_user=user, no_log=True)
        assert (result["failed"], "censored" in result) == (True, True)
        assert "hunter2" not in str(agent.events)
        killed = agent.task("shell", {"cmd": "kill -9 $PPID"}, become_user=user)
        assert "died" in killed["msg"]
        assert agent.task("command", {"cmd": "true"})["rc"] == 0


def test_an_unprivileged_agent_cannot_become_others(account: pwd.struct_passwd) -> None:
    cache = Path(account.pw_dir) / ".cache"
    as_user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]
    env = {"PATH": os.environ["PATH"], "HOME": account.pw_dir}
    with Driver(cache, "/usr/bin/python3", env=env, prefix=as_user) as agent:
        assert agent.ready["user"] == account.pw_name
        result = agent.task("command", {"cmd": "id"}, become_user="root")
        assert "only root can become other users" in result["msg"]
        assert agent.task("command", {"cmd": "id -un"}, become_user=account.pw_name)["stdout"] == account.pw_name
        denied = agent.task("file", {"path": account.pw_dir, "owner": "root"})
        assert "needs become" in denied["msg"]


def test_termination_reaches_the_programs_of_other_users(cache: Path, account: pwd.struct_passwd) -> None:
    pid_file = Path(account.pw_dir) / "pid"
    with Driver(cache) as agent:
        agent.start(
            [{"module": "shell", "args": {"cmd": "echo $$ > pid; sleep 60; true"}, "become_user": account.pw_name}]
        )
        end = time.monotonic() + 20
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.monotonic() < end
            time.sleep(0.02)
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(10) == 128 + signal.SIGTERM
    assert processes.gone(int(pid_file.read_text())), "the program still runs"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_named_and_the_old_file_stays(cache: Path, small_disk: Path) -> None:
    target = small_disk / "f"
    target.write_text("old")
    with Driver(cache) as agent:
        result = agent.task("copy", {"dest": str(target), "src": "f", "_blob": agent.blob(os.urandom(3_000_000))})
        assert result["failed"]
        assert "no space left on the board's disk" in result["msg"]
        assert (target.read_text(), [one.name for one in small_disk.iterdir()]) == ("old", ["f"])
        assert agent.task("copy", {"dest": str(target), "content": "new"})["changed"]


def test_a_cache_on_a_full_disk_fails_the_task_not_the_agent(small_disk: Path, tmp_path: Path) -> None:
    with Driver(small_disk / "tvmops") as agent:
        args = {"dest": str(tmp_path / "f"), "src": "f", "_blob": agent.blob(os.urandom(3_000_000))}
        assert "no space left on the board's disk" in agent.task("copy", args)["msg"]
        small = {"dest": str(tmp_path / "g"), "src": "g", "_blob": agent.blob(b"small")}
        assert agent.task("copy", small)["changed"]


def test_a_read_only_disk_is_named(cache: Path, small_disk: Path) -> None:
    (small_disk / "f").write_text("old\n")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    path = str(small_disk / "f")
    with Driver(cache) as agent:
        for module, args in (
            ("copy", {"dest": path, "content": "new\n"}),
            ("lineinfile", {"path": path, "line": "new"}),
            ("file", {"path": path, "state": "absent"}),
            ("file", {"path": path, "mode": "0600"}),
            ("get_url", {"url": "file:///etc/os-release", "dest": f"{small_disk}/g"}),
        ):
            result = agent.task(module, args)
            assert "file system is read-only" in result["msg"], (module, result)
        assert not agent.task("copy", {"dest": path, "content": "old\n"})["failed"]


def test_a_folder_for_another_user(cache: Path, account: pwd.struct_passwd, tmp_path: Path) -> None:
    (tmp_path / "src" / "in").mkdir(parents=True)
    (tmp_path / "src" / "in" / "f").write_text("content\n")
    store = BlobStore()
    packed = add_folder("src", tmp_path / "src", store, follow=True)
    with Driver(cache, "/usr/bin/python3") as agent:
        agent.blobs[packed["sha256"]] = store.read(packed["sha256"])
        args = {"src": "src", "dest": account.pw_dir, "_blob": packed}
        results = [agent.task("copy", args, become_user=account.pw_name) for _ in range(2)]
    assert [one["changed"] for one in results] == [True, False], results
    assert Path(account.pw_dir, "src", "in", "f").owner() == account.pw_name
