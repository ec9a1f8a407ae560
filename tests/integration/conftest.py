"""Real loopback ssh servers for integration tests: `sshd` is one, `make_sshd` makes more with other settings.

`board` is one with an empty home, `dial` connects to it, `controller` runs playbooks on it.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from detached_runs import PYTHON, Controller
from ssh_servers import Sshd, start_sshd

from tvmops.connection import Connection, connect


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


@pytest.fixture
def board(make_sshd: Callable[..., Sshd], tmp_path: Path) -> Sshd:
    """An ssh server whose user has an empty home."""
    (tmp_path / "home").mkdir()
    return make_sshd(SetEnv=f"HOME={tmp_path / 'home'}")


@pytest.fixture
def dial(board: Sshd) -> Iterator[Callable[[], Connection]]:
    """dial() -> a new connection to the board; all are closed after the test."""
    opened: list[Connection] = []

    def make() -> Connection:
        opened.append(connect(board.host(**PYTHON)))
        return opened[-1]

    yield make
    board.signal(signal.SIGCONT)
    for one in opened:
        one.close()


@pytest.fixture
def controller(board: Sshd, tmp_path: Path) -> Controller:
    return Controller(board, tmp_path)
