"""Opening an ssh session: socket, jump hosts, handshake, host key, authentication; all within one deadline."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any

import fabric
import paramiko
from paramiko.config import SSHConfig
from paramiko.ssh_exception import ChannelException, IncompatiblePeer, SSHException

from tvmops.connection import hostkeys
from tvmops.connection.auth import Authenticator
from tvmops.connection.base import Deadline
from tvmops.connection.settings import Settings
from tvmops.errors import HostUnreachable, TvmopsError

FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
UNACKNOWLEDGED_MS = 30_000  # the kernel gives up on a peer that acknowledges nothing for so long

# Without a handler Python would print Paramiko's log lines, tracebacks included, to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Session:
    """An authenticated ssh session with everything it stands on: jump sessions and the proxy process."""

    def __init__(self) -> None:
        self._layers: list[Any] = []
        self._transport: paramiko.Transport | None = None
        self.proxy: _ProxyCommand | None = None

    @property
    def transport(self) -> paramiko.Transport:
        """The transport to the last machine of the way."""
        assert self._transport is not None
        return self._transport

    def reached(self, transport: paramiko.Transport) -> None:
        """The way now leads to this transport's machine."""
        self._transport = transport
        self.proxy = None

    def is_open(self) -> bool:
        """Whether any machine of the way was reached yet."""
        return self._transport is not None

    def add(self, layer: Any) -> None:
        """Something to close with the session."""
        self._layers.append(layer)

    def close(self) -> None:
        """Close the layers, the innermost first."""
        while self._layers:
            with contextlib.suppress(Exception):  # nothing that fails while closing helps anyone
                self._layers.pop().close()


def dial(settings: Settings, seconds: float) -> Session:
    """A session with the machine, through its jump hosts. Raises HostUnreachable and its kinds within `seconds`."""
    deadline = Deadline(min(seconds, settings.connect_timeout or seconds))
    session = Session()
    try:
        _through_jumps(session, settings, deadline)
        _open(session, settings, deadline)
    except BaseException:
        session.close()
        raise
    return session


def fetch_host_key(settings: Settings, seconds: float) -> tuple[str, bytes]:
    """(type, blob) of the key that the machine shows, without logging in there."""
    deadline = Deadline(min(seconds, settings.connect_timeout or seconds))
    session = Session()
    try:
        _through_jumps(session, settings, deadline)
        transport = _transport(_connect(session, settings, deadline), settings, deadline)
        session.add(transport)
        with _explained(session, settings, deadline):
            transport.start_client(timeout=deadline.left())
            key = transport.get_remote_server_key()
        return key.get_name(), bytes(key.asbytes())
    finally:
        session.close()


def _through_jumps(session: Session, settings: Settings, deadline: Deadline) -> None:
    for jump in settings.jumps:
        try:
            _open(session, jump, deadline)
        except TvmopsError as error:
            if error.message.startswith(f"{settings.name}: "):
                raise
            raise type(error)(f"{settings.name}: jump host {error.message}", error.hint) from error


def _open(session: Session, settings: Settings, deadline: Deadline) -> None:
    """One machine of the way: its session becomes the one that the next is reached through."""
    sock = _connect(session, settings, deadline)
    left = max(0.1, deadline.left())
    connection = fabric.Connection(
        settings.hostname,
        user=settings.user,
        port=settings.port,
        gateway=False,  # jump hosts are this module's work, with their keys checked
        connect_timeout=None,
        config=fabric.Config(ssh_config=SSHConfig(), lazy=True),
        connect_kwargs={
            "sock": sock,
            "transport_factory": lambda channel, **_: _transport(channel, settings, deadline),
            "auth_strategy": Authenticator(settings, deadline),
            "timeout": left,
            "channel_timeout": left,
        },
    )
    # Fabric would accept unknown keys.
    connection.client.set_missing_host_key_policy(_Strict(settings))
    session.add(connection.client)
    with _explained(session, settings, deadline):
        connection.open()
    transport = connection.client.get_transport()
    transport.set_keepalive(settings.keepalive)
    session.reached(transport)


class _Strict(paramiko.MissingHostKeyPolicy):
    """No key is missing or present to Paramiko: each is compared here."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Accept the key by returning. Raises HostKeyError."""
        hostkeys.check(self.settings, key.get_name(), bytes(key.asbytes()))


def _transport(sock: Any, settings: Settings, deadline: Deadline) -> paramiko.Transport:
    transport = paramiko.Transport(sock)
    left = max(0.1, deadline.left())
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = left
    options = transport.get_security_options()
    options.key_types = hostkeys.prefer(hostkeys.known(settings), options.key_types)
    return transport


def _connect(session: Session, settings: Settings, deadline: Deadline) -> Any:
    if session.is_open():
        with _explained(session, settings, deadline):
            return session.transport.open_channel(
                "direct-tcpip", (settings.hostname, settings.port), ("", 0), timeout=max(0.1, deadline.left())
            )
    if settings.proxy_command is not None:
        session.proxy = _ProxyCommand(settings.proxy_command)
        session.add(session.proxy)
        return session.proxy.socket
    return _tcp(settings, deadline)


@contextlib.contextmanager
def _explained(session: Session, settings: Settings, deadline: Deadline) -> Iterator[None]:
    """Turn what Paramiko and sockets raise into a HostUnreachable that says what happened where."""
    try:
        yield
    except (SSHException, EOFError, OSError) as error:
        where = f"{settings.name}: {settings.address}"
        proxy = session.proxy
        if isinstance(error, ChannelException):
            text = f"{where} cannot be reached from its jump host: {error.text or 'refused'} (code {error.code})"
            raise HostUnreachable(text, "is it switched on, and does the jump host allow TCP forwarding?") from error
        if isinstance(error, IncompatiblePeer):
            raise HostUnreachable(f"{where}: {error}", "the machine's sshd is too old or configured oddly") from error
        if proxy is not None and (proxy.complaint() or not deadline.passed()):
            text = f"{where}: ProxyCommand `{proxy.command}` failed: {proxy.complaint() or _text(error)}"
            raise HostUnreachable(text, "try that command by hand") from error
        if deadline.passed():
            text = f"{where} accepted the connection, then went silent (waited {deadline.seconds:.0f} s)"
            raise HostUnreachable(text, "the machine may be overloaded or hang, or no ssh server listens") from error
        if "banner" in str(error) or "protocol version" in str(error):
            text = f"{where} does not answer as an ssh server"
            raise HostUnreachable(text, "is that the right port? sshd may also be refusing new connections") from error
        raise HostUnreachable(f"{where}: the ssh handshake failed: {_text(error)}") from error


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _tcp(settings: Settings, deadline: Deadline) -> socket.socket:
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


class _ProxyCommand:
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
