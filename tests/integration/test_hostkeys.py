"""Host keys against real servers: strict by default, stored only when asked, replaced only when told to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ssh_servers import Sshd, make_key

from tvmops.connection import connect
from tvmops.connection.hostkeys import scan_host_key, store_host_key
from tvmops.errors import HostKeyError, HostUnreachable
from tvmops.inventory.model import Host


def reach(host: Host) -> None:
    """Connect and run something."""
    connection = connect(host)
    assert connection.run("echo in").stdout == "in\n"
    connection.close()


def fingerprint(path: Path) -> str:
    """What ssh-keygen says about a key."""
    listed = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True)
    return listed.stdout.split()[1]


def test_an_unknown_key_is_refused_and_can_be_trusted(sshd: Sshd) -> None:
    sshd.known_hosts.unlink()
    host = sshd.host()
    shown = fingerprint(sshd.folder / "host_ed25519.pub")
    with pytest.raises(HostKeyError) as info:
        reach(host)
    message = f"board: the host key of 127.0.0.1:{sshd.port} is not known: ssh-ed25519 {shown}"
    assert info.value.message.startswith(message)
    assert str(sshd.known_hosts) in info.value.message
    assert "tvmops trust --host board" in info.value.hint
    key = scan_host_key(host)
    assert (key.type, key.fingerprint, key.address) == ("ssh-ed25519", shown, f"127.0.0.1:{sshd.port}")
    assert store_host_key(host, key) == sshd.known_hosts
    assert sshd.known_hosts.read_text() == f"[127.0.0.1]:{sshd.port} {sshd.host_key()}\n"
    assert sshd.known_hosts.stat().st_mode & 0o777 == 0o600
    reach(host)
    store_host_key(host, key)
    assert len(sshd.known_hosts.read_text().splitlines()) == 1


def test_a_changed_key_shows_both_fingerprints_and_the_line(sshd: Sshd, tmp_path: Path) -> None:
    old = make_key(tmp_path / "old")
    name = f"[127.0.0.1]:{sshd.port}"
    others = f"# a comment\nother.example {sshd.host_key()}"
    public = " ".join(old.with_suffix(".pub").read_text().split()[:2])
    sshd.known_hosts.write_text(f"{others}\nalias,{name} {public}\n")
    host = sshd.host()
    with pytest.raises(HostKeyError) as info:
        reach(host)
    text = info.value.message
    assert "has CHANGED" in text
    assert fingerprint(sshd.folder / "host_ed25519.pub") in text
    assert fingerprint(old) in text
    assert f"{sshd.known_hosts}:3" in text
    assert "trust --host board --replace" in info.value.hint
    key = scan_host_key(host)
    with pytest.raises(HostKeyError, match="has CHANGED"):
        store_host_key(host, key)
    assert public in sshd.known_hosts.read_text()
    store_host_key(host, key, replace=True)
    lines = sshd.known_hosts.read_text().splitlines()
    assert lines == [*others.splitlines(), f"alias {public}", f"{name} {sshd.host_key()}"]
    reach(host)


def test_the_stored_kind_of_key_is_asked_for(sshd: Sshd) -> None:
    for kind in ("ecdsa", "rsa", "ed25519"):
        sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key(kind)}\n")
        reach(sshd.host())


def test_a_key_of_another_kind_is_not_enough(make_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    server = make_sshd(HostKeyAlgorithms="ecdsa-sha2-nistp256")
    with pytest.raises(HostKeyError, match=r"of another kind: it offers ecdsa-sha2-nistp256 .*stored is ssh-ed25519"):
        reach(server.host())


def test_hashed_names(sshd: Sshd) -> None:
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(sshd.known_hosts)], check=True, stderr=subprocess.DEVNULL)
    assert sshd.known_hosts.read_text().startswith("|1|")
    reach(sshd.host())


def test_names_are_stored_hashed_where_ssh_would(sshd: Sshd) -> None:
    config = sshd.folder / "config"
    config.write_text(f"HashKnownHosts yes\nUserKnownHostsFile {sshd.known_hosts}\nGlobalKnownHostsFile none\n")
    sshd.known_hosts.unlink()
    host = sshd.host(ansible_ssh_common_args=f"-F {config}")
    store_host_key(host, scan_host_key(host))
    assert sshd.known_hosts.read_text().startswith("|1|")
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{sshd.port}", "-f", str(sshd.known_hosts)], capture_output=True, check=False
    )
    assert found.returncode == 0
    reach(host)


def test_alias_and_plain_name(sshd: Sshd) -> None:
    sshd.known_hosts.write_text(f"my-board {sshd.host_key()}\n")
    reach(sshd.host(ansible_ssh_common_args=sshd.options("-o HostKeyAlias=my-board")))
    with pytest.raises(HostKeyError, match="is not known"):
        reach(sshd.host())
    sshd.known_hosts.write_text(f"127.0.0.1 {sshd.host_key()}\n")
    reach(sshd.host())


def test_a_plain_name_with_another_key_does_not_contradict_another_port(sshd: Sshd, tmp_path: Path) -> None:
    public = " ".join(make_key(tmp_path / "port22").with_suffix(".pub").read_text().split()[:2])
    sshd.known_hosts.write_text(f"127.0.0.1 {public}\n")
    host = sshd.host()
    with pytest.raises(HostKeyError, match="is not known"):
        reach(host)
    store_host_key(host, scan_host_key(host))
    reach(host)
    assert public in sshd.known_hosts.read_text()


def test_a_revoked_key_is_refused_for_good(sshd: Sshd) -> None:
    with sshd.known_hosts.open("a") as file:
        file.write(f"@revoked * {sshd.host_key()}\n")
    host = sshd.host()
    with pytest.raises(HostKeyError, match=rf"was revoked: ssh-ed25519 SHA256:.*{sshd.known_hosts}:2"):
        reach(host)
    with pytest.raises(HostKeyError, match="was revoked"):
        store_host_key(host, scan_host_key(host), replace=True)


def test_a_certificate_authority_is_named_but_not_used(sshd: Sshd) -> None:
    sshd.known_hosts.write_text(f"@cert-authority * {sshd.host_key()}\n")
    with pytest.raises(HostKeyError, match=r"is not known.*certificate authority"):
        reach(sshd.host())


def test_the_global_file_counts_and_is_never_written(sshd: Sshd, tmp_path: Path) -> None:
    everyone = sshd.folder / "ssh_known_hosts"
    sshd.known_hosts.rename(everyone)
    arguments = sshd.options(f"-o GlobalKnownHostsFile={everyone}").replace("-o GlobalKnownHostsFile=none", "")
    host = sshd.host(ansible_ssh_common_args=arguments)
    reach(host)
    public = " ".join(make_key(tmp_path / "old").with_suffix(".pub").read_text().split()[:2])
    everyone.write_text(f"[127.0.0.1]:{sshd.port} {public}\n")
    with pytest.raises(HostKeyError, match=rf"stored for the whole machine: {everyone}:1"):
        store_host_key(host, scan_host_key(host), replace=True)


def test_a_line_for_many_machines_is_left_alone(sshd: Sshd, tmp_path: Path) -> None:
    public = " ".join(make_key(tmp_path / "old").with_suffix(".pub").read_text().split()[:2])
    sshd.known_hosts.write_text(f"[127.0.0.*]:* {public}\n")
    host = sshd.host()
    with pytest.raises(HostKeyError, match="covers other machines too"):
        store_host_key(host, scan_host_key(host), replace=True)
    assert sshd.known_hosts.read_text() == f"[127.0.0.*]:* {public}\n"


def test_nowhere_to_store(sshd: Sshd) -> None:
    arguments = "-F none -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=none"
    host = sshd.host(ansible_ssh_common_args=arguments)
    with pytest.raises(HostKeyError, match="names no file"):
        store_host_key(host, scan_host_key(host))


def test_a_file_without_a_final_newline_keeps_its_last_line(sshd: Sshd) -> None:
    sshd.known_hosts.write_text(f"other {sshd.host_key()}")
    host = sshd.host()
    store_host_key(host, scan_host_key(host))
    assert len(sshd.known_hosts.read_text().splitlines()) == 2
    reach(host)


def test_scanning_a_machine_that_is_not_there(sshd: Sshd) -> None:
    sshd.stop()
    with pytest.raises(HostUnreachable, match="refused"):
        scan_host_key(sshd.host())
