"""Keys, agents, passphrases and passwords that do not let us in, and what the user is told."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deadlines import at_most
from ssh_servers import Sshd, make_key

from tvmops.connection import connect
from tvmops.errors import AuthenticationError

ASKING = """
import sys
from tvmops.connection import connect
from tvmops.errors import TvmopsError
from tvmops.inventory.model import Host
try:
    print(connect(Host("board", eval(sys.argv[1]))).run("echo in").stdout)
except TvmopsError as error:
    print(error)
"""


def test_wrong_key_says_what_was_offered(sshd: Sshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    with at_most(15), pytest.raises(AuthenticationError, match=rf"refused to let us in; offered: {other}") as info:
        connect(sshd.host(ansible_ssh_private_key_file=str(other)))
    assert f"{sshd.user}@127.0.0.1:{sshd.port}" in info.value.message
    assert "ssh-copy-id" in info.value.hint


def test_missing_and_damaged_key_files(sshd: Sshd, tmp_path: Path) -> None:
    missing, damaged = tmp_path / "missing", tmp_path / "damaged"
    damaged.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(AuthenticationError, match=r"no usable key; .*missing: no such file"):
        connect(sshd.host(ansible_ssh_private_key_file=str(missing)))
    with pytest.raises(AuthenticationError, match=r"damaged: not a usable key"):
        connect(sshd.host(ansible_ssh_private_key_file=str(damaged)))


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
@pytest.mark.parametrize("pem", [False, True], ids=["openssh", "pem"])
def test_encrypted_key_without_its_passphrase(
    sshd: Sshd, tmp_path: Path, kind: str, pem: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "locked"
    form = ["-m", "PEM"] if pem else []
    command = ["ssh-keygen", "-q", "-t", kind, *form, "-N", "secret words", "-f", str(key)]
    subprocess.run(command, check=True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with at_most(15), pytest.raises(AuthenticationError, match=rf"locked: encrypted; .*ssh-add {key}"):
        connect(sshd.host(ansible_ssh_private_key_file=str(key)))


def test_the_agent_opens_an_encrypted_key(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(tmp_path / "locked", passphrase="secret")
    with (sshd.folder / "authorized_keys").open("a") as file:
        file.write(key.with_suffix(".pub").read_text())
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        ask = tmp_path / "ask"
        ask.write_text("#!/bin/sh\necho secret\n")
        ask.chmod(0o700)
        add = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
        for _ in range(100):
            if (tmp_path / "agent").exists():
                break
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", str(key)], check=True, env=add, stdin=subprocess.DEVNULL)
        connection = connect(sshd.host(ansible_ssh_private_key_file=str(key)))
        assert connection.run("echo in").stdout == "in\n"
        connection.close()
    finally:
        agent.kill()
        agent.wait()


def test_a_user_nobody_knows(sshd: Sshd) -> None:
    with at_most(24), pytest.raises(AuthenticationError, match=r"nobody-knows@127.0.0.1"):
        connect(sshd.host(ansible_user="nobody-knows"))


def test_too_many_keys_end_before_the_server_hangs_up(sshd: Sshd, tmp_path: Path) -> None:
    keys = [make_key(tmp_path / f"key{n}") for n in range(8)]
    identities = " ".join(f"-o IdentityFile={key}" for key in keys)
    with pytest.raises(AuthenticationError, match=r"hangs up after too many keys"):
        connect(sshd.host(ansible_ssh_private_key_file=None, ansible_ssh_common_args=sshd.options(identities)))


def test_server_that_takes_only_passwords(make_sshd: Callable[..., Sshd]) -> None:
    server = make_sshd(PubkeyAuthentication="no", PasswordAuthentication="yes")
    with pytest.raises(AuthenticationError, match=r"takes only .*password"):
        connect(server.host())
    with pytest.raises(AuthenticationError, match=r"the password") as info:
        connect(server.host(ansible_password="not-the-password"))
    assert "not-the-password" not in str(info.value)


@pytest.mark.parametrize("answer", ["secret", "wrong"])
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_at_a_terminal_the_passphrase_is_asked_for(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, answer: str
) -> None:
    expected = {"secret": "in", "wrong": "does not open it"}[answer]
    key = make_key(tmp_path / "locked", kind, "secret")
    with (sshd.folder / "authorized_keys").open("a") as file:
        file.write(key.with_suffix(".pub").read_text())
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    controller, terminal = pty.openpty()
    arguments = [sys.executable, "-c", ASKING, repr(sshd.vars(ansible_ssh_private_key_file=str(key)))]
    with subprocess.Popen(
        arguments, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, start_new_session=True, text=True
    ) as asking:
        os.close(terminal)
        shown = b""
        while b"Passphrase for" not in shown:
            shown += os.read(controller, 1000)
        time.sleep(0.2)  # getpass throws away what was typed before it asked
        os.write(controller, answer.encode() + b"\n")
        assert asking.stdout
        assert expected in asking.stdout.read()
    os.close(controller)
