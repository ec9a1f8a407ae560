"""What arrives on a channel is seen, whatever Paramiko's signals do."""

from __future__ import annotations

from typing import Any

import paramiko
import pytest

from tvmops.connection import ssh
from tvmops.connection.ssh import SshProcess
from tvmops.inventory import Host


class LosesSignals(paramiko.Channel):
    """stdout gets a line while stderr is emptied, and its signal is lost: two threads set and clear it at once."""

    def recv_stderr(self, nbytes: int) -> bytes:
        data = super().recv_stderr(nbytes)
        self.in_buffer.feed(b"ready\n")
        self._pipe.clear()
        return data


def test_a_line_whose_signal_was_lost_is_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for the next byte, for ever if there is none."""

    def no_start(*_: Any) -> None:
        """The command runs already."""

    monkeypatch.setattr(ssh, "_start", no_start)
    channel = LosesSignals(1)
    process = SshProcess(Host("board"), "echo ready", paramiko.Transport.__new__(paramiko.Transport), channel, print)
    channel.in_stderr_buffer.feed(b"tvmops-pid 4711\n")
    assert process.read_line(0.2) == b"ready"
