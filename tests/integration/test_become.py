"""Becoming another user through the real sudo, with real users made for the test. Needs root."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import processes
import pytest
from ssh_servers import Sshd

from tvmops.connection import Become, Connection, connect
from tvmops.connection.options import become_settings
from tvmops.connection.session import AgentSession, RunTag
from tvmops.errors import BecomeError, HostUnreachable
from tvmops.inventory.model import Host

PYTHON = {"ansible_python_interpreter": "/usr/bin/python3"}


@dataclass
class Account:
    """A user of this machine who lives as long as the test."""

    name: str
    password: str
    home: Path


@pytest.fixture
def make_account(tmp_path: Path) -> Iterator[Callable[..., Account]]:
    """make_account(sudoers rule with {} for the name) -> Account."""
    made: list[Account] = []
    rules: list[Path] = []

    def make(rule: str = "") -> Account:
        name = f"tvmops-{secrets.token_hex(4)}"
        account = Account(name, secrets.token_hex(8), Path("/home") / name)
        subprocess.run(["useradd", "-m", "-s", "/bin/bash", "-d", str(account.home), name], check=True)
        made.append(account)
        subprocess.run(["chpasswd"], input=f"{name}:{account.password}\n".encode(), check=True)
        if rule:
            path = Path("/etc/sudoers.d") / name
            path.write_text(rule.format(name) + "\n")
            path.chmod(0o440)
            rules.append(path)
        return account

    yield make
    for path in rules:
        path.unlink()
    for account in made:
        subprocess.run(["userdel", "-r", "-f", account.name], check=True, stderr=subprocess.DEVNULL)


NEEDS_PASSWORD = "{} ALL=(ALL:ALL) ALL"
WITHOUT_PASSWORD = "{} ALL=(ALL:ALL) NOPASSWD: ALL"


def login(sshd: Sshd, account: Account, **variables: Any) -> Connection:
    """A connection as this user."""
    return connect(sshd.host(ansible_user=account.name, **PYTHON, **variables))


def whoami(session: AgentSession) -> str:
    """The user that a task of the session runs as, and its home."""
    task = {"id": 1, "module": "shell", "args": {"_raw_params": "echo $(id -un) $HOME"}, "loop": None}
    more = {"become_user": None, "environment": {}, "changed_when": None, "failed_when": None}
    events: list[dict[str, Any]] = []
    session.run_batch({"op": "batch", "id": 1, "tasks": [{**task, **more}], "blobs": {}}, lambda _: b"", events.append)
    return next(str(event["result"]["stdout"]) for event in events if event["ev"] == "done")


def test_sudo_without_password(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    account = make_account(WITHOUT_PASSWORD)
    connection = login(sshd, account)
    with AgentSession(connection, become=Become()) as session:
        assert session.info["uid"] == 0
        assert whoami(session) == "root /root"
    # The root agent lives in root's cache: the login user must not be able to change what root runs.
    assert not (account.home / ".cache").exists()
    with AgentSession(connection, become=Become(password="not needed, so not sent")) as session:
        assert whoami(session) == "root /root"
    connection.close()


def test_sudo_with_password(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    account = make_account(NEEDS_PASSWORD)
    connection = login(sshd, account)
    for _ in range(2):  # the second time sudo may remember the first
        with AgentSession(connection, become=Become(password=account.password)) as session:
            assert whoami(session) == "root /root"
    connection.close()


def test_the_password_is_in_no_command_line(
    sshd: Sshd, make_account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = make_account(NEEDS_PASSWORD)
    connection = login(sshd, account)
    commands: list[str] = []
    real = connection.open
    monkeypatch.setattr(connection, "open", lambda command: (commands.append(command), real(command))[1])
    become = Become(password=account.password)
    with AgentSession(connection, become=become) as session:
        whoami(session)
        shown = processes.that(lambda process: any(account.password in word for word in process.cmdline()))
    connection.close()
    assert commands
    assert not any(account.password in command for command in commands)
    assert shown == []
    assert account.password not in repr(become)


def test_wrong_password_fails_once_and_soon(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    account = make_account(NEEDS_PASSWORD)
    connection = login(sshd, account)
    began = time.monotonic()
    with pytest.raises(BecomeError, match="board: sudo did not accept the password") as info:
        AgentSession(connection, become=Become(password="wrong-" + secrets.token_hex(4)))
    assert time.monotonic() - began < 20
    assert "wrong-" not in str(info.value)
    connection.close()


def test_no_password_given_says_how_to_give_it(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    connection = login(sshd, make_account(NEEDS_PASSWORD))
    with pytest.raises(BecomeError, match="sudo wants a password to become root, and none was given") as info:
        AgentSession(connection, become=Become())
    for way in ("--ask-become-pass", "ansible_become_password", "TVMOPS_BECOME_PASSWORD"):
        assert way in info.value.hint
    connection.close()


def test_a_user_who_may_not(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    account = make_account()
    connection = login(sshd, account)
    with pytest.raises(BecomeError, match=r"may not become root: .*sudoers"):
        AgentSession(connection, become=Become(password=account.password))
    connection.close()


def test_sudo_is_not_installed(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    connection = login(sshd, make_account())
    with pytest.raises(BecomeError, match="/opt/none/sudo is not installed on it") as info:
        AgentSession(connection, become=Become(exe="/opt/none/sudo"))
    assert "ansible_user" in info.value.hint
    connection.close()


def program(account: Account, text: str) -> str:
    """A program in the user's home."""
    path = account.home / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("end", ["kill -9 $$", "sh -c 'kill -9 $$'; exit $?"])
def test_a_sudo_that_is_killed_says_that_the_board_goes_down(
    sshd: Sshd, make_account: Callable[..., Account], end: str
) -> None:
    account = make_account()
    connection = login(sshd, account)
    with pytest.raises(HostUnreachable, match=r"went away: what starts the agent was killed \(signal"):
        AgentSession(connection, become=Become(exe=program(account, end)))
    connection.close()


def test_a_sudo_that_fails_without_a_word(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    account = make_account()
    connection = login(sshd, account)
    with pytest.raises(BecomeError, match="sudo to root failed: sudo ended without a word"):
        AgentSession(connection, become=Become(exe=program(account, "exit 1")))
    connection.close()


def test_a_user_who_does_not_exist(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    connection = login(sshd, make_account(WITHOUT_PASSWORD))
    with pytest.raises(BecomeError, match="there is no user 'nobody-knows' on it"):
        AgentSession(connection, become=Become(user="nobody-knows"))
    connection.close()


def test_no_sudo_when_already_the_user(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    account = make_account()
    connection = login(sshd, account)
    with AgentSession(connection, become=Become(user=account.name, exe="/opt/none/sudo")) as session:
        assert whoami(session) == f"{account.name} {account.home}"
    connection.close()


@pytest.mark.parametrize("kind", ["ssh", "local"])
def test_root_becomes_a_plain_user(sshd: Sshd, make_account: Callable[..., Account], kind: str) -> None:
    account = make_account()
    local = Host("here", {"ansible_connection": "local", **PYTHON})
    connection = connect(local if kind == "local" else sshd.host(**PYTHON))
    with AgentSession(connection, become=Become(user=account.name)) as session:
        assert whoami(session) == f"{account.name} {account.home}"
        assert session.info["uid"] == pwd.getpwnam(account.name).pw_uid
    assert (account.home / ".cache" / "tvmops").stat().st_uid == pwd.getpwnam(account.name).pw_uid
    connection.close()


def test_breaking_off_reaches_the_root_agent(sshd: Sshd, make_account: Callable[..., Account], tmp_path: Path) -> None:
    account = make_account(NEEDS_PASSWORD)
    connection = login(sshd, account)
    session = AgentSession(connection, become=Become(password=account.password))
    pid = tmp_path / "pid"

    def interrupt(event: dict[str, Any]) -> None:
        if event["ev"] == "start":
            end = time.monotonic() + 10
            while time.monotonic() < end and not (pid.exists() and pid.read_text()):
                time.sleep(0.02)
            raise KeyboardInterrupt

    task = {"id": 1, "module": "shell", "args": {"_raw_params": f"echo $$ > {pid}; exec sleep 600"}, "loop": None}
    with pytest.raises(KeyboardInterrupt):
        session.run_batch({"op": "batch", "id": 1, "tasks": [task], "blobs": {}}, lambda _: b"", interrupt)
    began = time.monotonic()
    session.close()
    connection.close()
    assert time.monotonic() - began < 15
    assert processes.gone(int(pid.read_text()))


def test_su_with_the_other_users_password(sshd: Sshd, make_account: Callable[..., Account]) -> None:
    account, other = make_account(), make_account()
    connection = login(sshd, account)
    become = Become(user=other.name, method="su", password=other.password)
    with AgentSession(connection, become=become) as session:
        assert whoami(session) == f"{other.name} {other.home}"
    connection.close()


@pytest.mark.parametrize(
    ("password", "user", "message"),
    [
        ("wrong", None, "board: su did not accept the password"),
        (None, None, "board: su wants a password to become .*, and none was given"),
        ("any", "nobody-of-this-name", "board: there is no user 'nobody-of-this-name' on it"),
    ],
)
def test_su_that_refuses(
    sshd: Sshd, make_account: Callable[..., Account], password: str | None, user: str | None, message: str
) -> None:
    account, other = make_account(), make_account()
    connection = login(sshd, account)
    began = time.monotonic()
    with pytest.raises(BecomeError, match=message):
        AgentSession(connection, become=Become(user=user or other.name, method="su", password=password))
    assert time.monotonic() - began < 30
    connection.close()


def test_variables_decide_who_to_become(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TVMOPS_BECOME_PASSWORD", raising=False)
    assert become_settings(Host("b", {})) is None
    assert become_settings(Host("b", {}), become=True) == Become()
    assert become_settings(Host("b", {"ansible_become": "no"}), become=True) is None
    named = Host("b", {"ansible_become": True, "ansible_become_user": "tvm", "ansible_become_pass": "p"})
    assert become_settings(named, user="other", password="q") == Become(user="tvm", password="p")
    monkeypatch.setenv("TVMOPS_BECOME_PASSWORD", "from-environment")
    assert become_settings(Host("b", {}), become=True) == Become(password="from-environment")
    assert become_settings(Host("b", {}), become=True, password="asked") == Become(password="asked")


@pytest.mark.parametrize("how", ["connection killed", "left"])
def test_a_root_batch_outlives_the_link(
    sshd: Sshd, make_account: Callable[..., Account], tmp_path: Path, how: str
) -> None:
    account = make_account(NEEDS_PASSWORD)
    connection = login(sshd, account)
    tag = RunTag(f"20260102-030405-{secrets.token_hex(3)}", "me@here", "site.yml")
    session = AgentSession(connection, become=Become(password=account.password), tag=tag)
    gate = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    commands = [gate, "sleep 0.3", f"id -un > {tmp_path}/end"]
    tasks = [
        {"id": number, "module": "shell", "args": {"_raw_params": command}} for number, command in enumerate(commands)
    ]

    def look(event: dict[str, Any]) -> None:
        if event["ev"] == "start":
            until((tmp_path / "begun").exists)
            if how == "left":
                raise KeyboardInterrupt
            for pid in sshd.processes()[1:]:
                if processes.name(pid).startswith("sshd"):
                    os.kill(pid, signal.SIGKILL)

    with pytest.raises((KeyboardInterrupt, HostUnreachable)):
        session.run_batch({"id": 1, "tasks": tasks}, lambda _: b"", look)
    session.close()
    connection.close()
    time.sleep(0.5)
    (tmp_path / "go").touch()
    until((tmp_path / "end").exists)
    assert processes.gone(session.info["pid"])
    assert (tmp_path / "end").read_text() == "root\n"
    again = login(sshd, account)
    with AgentSession(again, become=Become(password=account.password)) as later:
        (left,) = [one for one in later.info["finished"] if one["run"] == tag.run]
        assert (left["tasks"], left["complete"]) == (3, True)
        later.forget(tag.run)
    again.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
