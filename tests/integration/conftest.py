"""Real loopback ssh servers for integration tests: `sshd` is one, `make_sshd` makes more with other settings."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ssh_servers import Sshd, start_sshd


@pytest.fixture
def make_sshd() -> Iterator[Callable[..., Sshd]]:
    """make_sshd(**lines of sshd_config) -> Sshd. All are stopped and removed after the test."""
    servers: list[Sshd] = []

    def make(**settings: str) -> Sshd:
        # Not tmp_path: other users cannot read below pytest's folder.
        folder = Path(tempfile.mkdtemp(prefix="tvmops-sshd-"))
        folder.chmod(0o755)
        servers.append(start_sshd(folder, **settings))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()
        shutil.rmtree(server.folder)


@pytest.fixture
def sshd(make_sshd: Callable[..., Sshd]) -> Sshd:
    """One ssh server; `sshd.host()` is a Host that reaches it."""
    return make_sshd()
