"""The ways that bytes take to an ssh server: TCP, a proxy command, a channel of a jump host's session."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from typing import IO, Any

from paramiko.ssh_exception import SSHException

from tvmops.connection.base import SEND_STALL, Deadline
from tvmops.connection.settings import Settings
from tvmops.errors import HostUnreachable

FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
QUICK_ACK: int = getattr(socket, "TCP_QUICKACK", 0)
UNACKNOWLEDGED_MS = 30_000  # the kernel gives up on a peer that acknowledges nothing for so long


class StallGuard:
    """A socket, or a channel that is used as one, which fails once nothing was taken for SEND_STALL seconds.

    Paramiko tries for ever to send to a machine that has stopped reading, and holds a lock while it does.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._stalled_since: float | None = None

    def send(self, data: bytes) -> int:
        """As socket.send. Raises ConnectionError when the other side has been stuck for too long."""
        try:
            sent = int(self._inner.send(data))
        except TimeoutError:
            now = time.monotonic()
            self._stalled_since = self._stalled_since or now
            if now - self._stalled_since > SEND_STALL:
                raise ConnectionError(f"nothing was taken for {SEND_STALL:.0f} s") from None
            raise
        self._stalled_since = None
        return sent

    def recv(self, size: int) -> bytes:
        """As socket.recv. What comes is acknowledged at once: sshd holds small packets back until the last one was."""
        data: bytes = self._inner.recv(size)
        if QUICK_ACK and isinstance(self._inner, socket.socket) and self._inner.family in FAMILIES.values():
            self._inner.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)  # holds until the kernel thinks otherwise
        return data

    def close(self) -> None:
        """As socket.close. The session that a channel belongs to may be gone already."""
        with contextlib.suppress(OSError, EOFError, SSHException):
            self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def tcp(settings: Settings, deadline: Deadline) -> socket.socket:
    addresses = _addresses(settings, deadline)
    failures: list[str] = []
    for index, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
        # An address that swallows packets must leave time for the others.
        sock.settimeout(max(0.1, deadline.left() / (len(addresses) - index)))
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            reason = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
            failures.append(f"{address[0]}: {reason}")
            continue
        return sock
    refused = all("refused" in failure for failure in failures)
    hint = (
        "is sshd running there, on that port? (ansible_port)" if refused else "is it switched on and on this network?"
    )
    waited = f" within {deadline.seconds:.0f} s" if deadline.passed() else ""
    raise HostUnreachable(
        f"{settings.name}: cannot connect to {settings.address}{waited} ({'; '.join(failures)})", hint
    )


def _addresses(settings: Settings, deadline: Deadline) -> list[tuple[socket.AddressFamily, Any]]:
    family = FAMILIES.get(settings.address_family, socket.AF_UNSPEC)
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(settings.hostname, settings.port, family, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    if _is_literal(settings.hostname):
        look_up()
    else:
        # A resolver cannot be interrupted, but it can be left behind.
        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        thread.join(deadline.left())
    if not found or isinstance(found[0], Exception):
        reason = getattr(found[0], "strerror", None) or str(found[0]) if found else "the name server does not answer"
        raise HostUnreachable(
            f"{settings.name}: cannot resolve the name '{settings.hostname}': {reason}",
            "check the spelling, or give an address: ansible_host",
        )
    return [(entry[0], entry[4]) for entry in found]


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class ProxyCommand:
    """A command whose standard streams are the way to the machine, as a real socket."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.socket, far = socket.socketpair()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the session
        with far:
            self._child = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=far.fileno(),
                stdout=far.fileno(),
                stderr=self._errors,
                start_new_session=True,
            )

    def complaint(self) -> str:
        """The last line that the command wrote to stderr."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """End the command and what it started."""
        self.socket.close()
        with contextlib.suppress(OSError):
            os.killpg(self._child.pid, signal.SIGTERM)
        try:
            self._child.wait(1.0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait(1.0)
        self._errors.close()
