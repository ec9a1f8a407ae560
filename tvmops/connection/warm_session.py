"""One ssh session in the keeper, and what decides whether it is the one that a command wants."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import astuple
from pathlib import Path

import paramiko
from paramiko.ssh_exception import ChannelException, SSHException

from tvmops.connection.options import SshOptions
from tvmops.connection.settings import Settings, settle
from tvmops.connection.ssh import SshConnection
from tvmops.errors import HostUnreachable, TvmopsError
from tvmops.inventory.model import Host

IDLE_TIMEOUT = 2.0  # seconds between looks of Paramiko's reading thread at what it should do; 0.1 by itself


def identity_of(options: SshOptions) -> tuple[Settings, str]:
    """The settings with ssh_config read, and a name for them and for the files they lead to. Raises ConfigError."""
    settings = settle(options)
    parts = [repr(astuple(settings)), *(_state(path) for hop in (*settings.jumps, settings) for path in _files(hop))]
    return settings, hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _files(settings: Settings) -> list[Path]:
    keys = [Path(name) for name in settings.identity_files]
    return [*keys, *settings.user_known_hosts, *settings.global_known_hosts]


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return f"{path} -"
    return f"{path} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"


class KeptConnection(SshConnection):
    """A session that is lent out again and again."""

    def __init__(self, settings: Settings, deadline: float) -> None:
        super().__init__(Host(settings.name), deadline, settings)
        self._spare: paramiko.Channel | None = None
        with contextlib.suppress(AttributeError):
            self._transport.sock.settimeout(IDLE_TIMEOUT)

    def answers(self, seconds: float) -> bool:
        """Whether the host opens a channel within `seconds`; the next command gets that channel."""
        if not self._transport.is_active():
            return False
        try:
            self._spare = super()._channel(seconds, seconds)
        except TvmopsError:
            return False
        return True

    def _channel(self, timeout: float = 0.0, patience: float = 5.0) -> paramiko.Channel:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and not spare.closed:
            return spare
        return super()._channel(timeout, patience)

    def channel_to(self, port: int, timeout: float) -> paramiko.Channel:
        """A channel to a port of the host's loopback. Raises HostUnreachable."""
        try:
            return self._transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=timeout)
        except (SSHException, EOFError, OSError) as error:
            reason = error.text if isinstance(error, ChannelException) else str(error)
            raise HostUnreachable(reason or "refused") from error

    def end_running(self) -> bool:
        """End what a command left running; True when nothing was, and the session may be used again."""
        with self._lock:
            running = [process for process in self._processes if process.running()]
            self._processes = []
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()
        if running and self._transport.is_active():
            self._end(running)
            for process in running:
                process.release()
        return not running and self._transport.is_active()

    def cut(self) -> None:
        """End the session as a lost connection would: nothing on the host is told to end."""
        self._closed = True
        self._session.close()
