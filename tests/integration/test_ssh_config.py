"""tvmops ssh-config, read back by OpenSSH itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INVENTORY = """
all:
  hosts:
    plain: {ansible_host: 192.168.1.6, ansible_user: nvidia, ansible_password: s3cret, ansible_become_password: s3cret}
    full:
      ansible_host: board.example
      ansible_port: 2222
      ansible_user: pi
      ansible_ssh_private_key_file: "~/keys/a key"
      ansible_ssh_common_args: >-
        -o UserKnownHostsFile=/etc/lab/known -o HostKeyAlias=board -o IdentitiesOnly=yes -o ConnectTimeout=7
    far: {ansible_host: 10.9.9.9, ansible_ssh_common_args: "-J admin@gate:2200,inner"}
    proxied: {ansible_ssh_common_args: "-o ProxyCommand='nc -X 5 %h %p'"}
    quoted: {ansible_host: 10.0.0.2, ansible_ssh_private_key_file: "~/ada's/key"}
    alias: {}
    here: {ansible_connection: local}
    "odd*name": {}
"""
USER_CONFIG = """
Include {include}
Host alias
  HostName 172.16.0.9
  Port 2022
Host gate
  HostName gate.example
Host 10.9.*
  ProxyJump elsewhere
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    (tmp_path / ".ssh" / "config").write_text(USER_CONFIG.format(include=tmp_path / "out.conf"))
    return tmp_path


def ssh_config(home: Path, *arguments: str, rc: int = 0) -> str:
    environment = {**os.environ, "HOME": str(home), "TVMOPS_STATE": str(home / "state")}
    argv = [sys.executable, "-m", "tvmops", "ssh-config", "-i", str(home / "hosts.yml"), *arguments]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stdout + done.stderr


def seen_by_ssh(file: Path, host: str) -> dict[str, str]:
    done = subprocess.run(["ssh", "-G", "-F", str(file), host], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_openssh_reads_what_is_meant(home: Path) -> None:
    file = home / "out.conf"
    told = ssh_config(home, "--output", str(file))
    assert f"Include {file}" in told
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert "s3cret" not in text
    assert "# here is this machine." in text
    assert "# 'odd*name' cannot be a name for ssh." in text
    plain = seen_by_ssh(file, "plain")
    assert (plain["hostname"], plain["user"], plain["port"]) == ("192.168.1.6", "nvidia", "22")
    assert plain["stricthostkeychecking"] == "true"
    full = seen_by_ssh(file, "full")
    assert (full["hostname"], full["user"], full["port"]) == ("board.example", "pi", "2222")
    assert full["identityfile"] == f"{home}/keys/a key"
    assert seen_by_ssh(file, "quoted")["identityfile"] == f"{home}/ada's/key"
    assert (full["userknownhostsfile"], full["hostkeyalias"]) == ("/etc/lab/known", "board")
    assert (full["identitiesonly"], full["connecttimeout"]) == ("yes", "7")
    assert seen_by_ssh(file, "proxied")["proxycommand"].startswith("nc -X 5 proxied 22")
    # What ~/.ssh/config says of a host is in it, too.
    alias = seen_by_ssh(file, "alias")
    assert (alias["hostname"], alias["port"]) == ("172.16.0.9", "2022")


def test_jump_hosts_have_blocks_of_their_own(home: Path) -> None:
    file = home / "out.conf"
    ssh_config(home, "--output", str(file), "--host", "far")
    far = seen_by_ssh(file, "far")
    assert (far["hostname"], far["proxyjump"]) == ("10.9.9.9", "far-via-inner")
    assert seen_by_ssh(file, "far-via-inner")["proxyjump"] == "far-via-gate"
    # The inventory's way counts, not that of ~/.ssh/config.
    gate = seen_by_ssh(file, "far-via-gate")
    assert (gate["hostname"], gate["user"], gate["port"]) == ("gate.example", "admin", "2200")
    assert "proxyjump" not in gate


def test_what_it_wrote_before_is_not_read_again(home: Path) -> None:
    file = home / "out.conf"
    ssh_config(home, "--output", str(file))
    (home / "hosts.yml").write_text(INVENTORY.replace("      ansible_port: 2222\n", ""))
    ssh_config(home, "--output", str(file))
    assert seen_by_ssh(file, "full")["port"] == "22"
    assert ssh_config(home, "--host", "plain").count("\nHost ") == 1


def test_where_it_cannot_be_written(home: Path) -> None:
    assert "No such file or directory" in ssh_config(home, "--output", str(home / "none" / "x"), rc=5)
    assert "is a folder" in ssh_config(home, "--output", str(home), rc=5)
    assert sorted(path.name for path in home.iterdir()) == [".ssh", "hosts.yml"]
