"""The module git with a repository behind a real ssh server: keys, host keys, and refusals instead of questions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from ssh_servers import Sshd, make_key

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def clone(sshd: Sshd, tmp_path: Path) -> Iterator[Ask]:
    """Runs the module for a repository that is reached over ssh, with the server's own known_hosts file."""
    upstream = tmp_path / "upstream"
    for words in (["init", "-q", "-b", "main", str(upstream)], ["-C", str(upstream), "commit", "-q", "--allow-empty"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        more = ["-m", "one"] if "commit" in words else []
        subprocess.run(["git", *identity, *words, *more], check=True)
    with Driver(tmp_path / "cache" / "tvmops") as agent:

        def ask(**args: Any) -> dict[str, Any]:
            known = args.pop("known_hosts", sshd.known_hosts)
            options = f"-F none -o UserKnownHostsFile={known} -o GlobalKnownHostsFile=none"
            repo = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{upstream}"
            given = {"repo": repo, "dest": str(tmp_path / "dest"), "key_file": str(sshd.key), "ssh_opts": options}
            return agent.task("git", {**given, **args})

        yield ask


def test_a_clone_and_its_update(clone: Ask) -> None:
    first = clone()
    assert (first["failed"], first["changed"], first["before"]) == (False, True, None), first
    again = clone()
    assert (again["failed"], again["changed"], again["after"]) == (False, False, first["after"])


def test_a_host_key_that_nobody_knows(clone: Ask, tmp_path: Path) -> None:
    known = tmp_path / "known"
    refused = clone(known_hosts=known)
    assert refused["failed"]
    assert "does not know the server's key" in refused["msg"]
    assert not known.exists()
    assert not clone(known_hosts=known, accept_newhostkey=True)["failed"]
    assert "127.0.0.1" in known.read_text()
    assert not clone(known_hosts=tmp_path / "other", accept_hostkey=True, version="main")["failed"]


def test_keys_that_the_server_does_not_take(clone: Ask, tmp_path: Path) -> None:
    for passphrase in ("", "asked for by nobody"):
        key = make_key(tmp_path / f"key{len(passphrase)}", passphrase=passphrase)
        refused = clone(key_file=str(key))
        assert refused["failed"]
        assert "takes none of the keys" in refused["msg"]
