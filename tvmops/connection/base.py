"""The contract between tvmops and a host: run commands, move small files, open tunnels, whatever lies between."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from tvmops.errors import HostUnreachable
from tvmops.inventory.model import Host

SEND_STALL = 30.0  # seconds without a byte taken by the other side before a write gives up
POST_STALL = 1.0  # the same for a short message that does not matter much
CLOSE_GRACE = 2.0  # seconds that closing may spend on ending what still runs
KILL_GRACE = 1.5  # seconds of these that a process has between SIGTERM and SIGKILL: an agent ends its programs first


@dataclass(frozen=True)
class CommandResult:
    """What a finished command left. `rc` is negative when a signal ended it."""

    rc: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Become:
    """Run as `user` by way of `method`, sudo or su. `exe` and `flags` replace the program's path and its own flags."""

    user: str = "root"
    method: str = "sudo"
    password: str | None = field(default=None, repr=False)
    exe: str | None = None
    flags: str | None = None


class Deadline:
    """A point in time that several waits share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left() <= 0.0


class Process(Protocol):
    """A running command on a host. Used by one thread at a time; `kill` may come from any thread."""

    def write(self, data: bytes) -> None:
        """Send to its stdin. Raises HostUnreachable when nothing is taken for SEND_STALL seconds."""

    def post(self, data: bytes) -> None:
        """Send a short message, from any thread. Raises HostUnreachable when it is not taken within POST_STALL s."""

    def close_stdin(self) -> None:
        """End of input."""

    def read_line(self, timeout: float) -> bytes | None:
        """The next line of stdout without its newline; None at the end. HostUnreachable after `timeout` silent s."""

    def wait_output(self, timeout: float) -> bool:
        """Wait until either output stream has news or ends; False when `timeout` seconds passed without."""

    def take_line(self) -> bytes | None:
        """A complete line of stdout that has already arrived, else None. Does not wait."""

    def ended(self) -> bool:
        """Whether both output streams have ended and everything of stdout was read."""

    def stderr_text(self) -> str:
        """What has come on stderr so far."""

    def wait(self, timeout: float) -> int:
        """Its exit status. Raises HostUnreachable when it still runs after `timeout` seconds."""

    def kill(self) -> None:
        """End it and its process group now. Never raises."""

    def leave(self) -> None:
        """Let it run on without us: its input ends, and its output is lost. Never raises."""


class Tunnel(Protocol):
    """A loopback port on this machine that leads to a port of the host."""

    port: int
    error: str | None  # why the last connection through it failed

    def close(self) -> None:
        """Stop listening and cut what runs through it."""

    def __enter__(self) -> Tunnel: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Connection(Protocol):
    """An open way to one host. `run`, `open`, `put`, `get` and `forward` may be used from several threads."""

    host: Host

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 60.0) -> CommandResult:
        """Run `command` with /bin/sh to its end. Raises HostUnreachable when it lasts more than `timeout` seconds."""

    def open(self, command: str) -> Process:
        """Start `command` with /bin/sh in a process group of its own."""

    def put(self, data: bytes, remote: str, mode: int = 0o600) -> None:
        """Write a file atomically. A path that begins with ~/ is in the login user's home."""

    def get(self, remote: str) -> bytes:
        """A file's content."""

    def forward(self, remote_port: int) -> Tunnel:
        """A tunnel to 127.0.0.1:`remote_port` on the host. Nothing is sent there until someone connects."""

    def close(self) -> None:
        """End everything started through this connection, then the connection. May be called twice."""


def unreachable(host: Host, what: str, hint: str = "") -> HostUnreachable:
    """A HostUnreachable whose message begins with the host's name."""
    return HostUnreachable(f"{host.name}: {what}", hint)
