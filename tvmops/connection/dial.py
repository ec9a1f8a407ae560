"""Opening an ssh session: socket, jump hosts, handshake, host key, authentication; all within one deadline."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import time
from collections.abc import Iterator
from typing import Any, cast

import fabric
import paramiko
from paramiko.config import SSHConfig
from paramiko.ssh_exception import ChannelException, IncompatiblePeer, SSHException

from tvmops.connection import hostkeys
from tvmops.connection.auth import Authenticator
from tvmops.connection.base import Deadline
from tvmops.connection.settings import Settings
from tvmops.connection.sockets import ProxyCommand, StallGuard, tcp
from tvmops.errors import HostUnreachable, TvmopsError

ATTEMPTS = 4  # for a server that hangs up before it says anything: sshd does that to whom MaxStartups leaves no room
RETRY_PAUSE = 0.4  # seconds, times a random factor: many boards may wait behind one jump host

# Without a handler Python would print Paramiko's log lines, tracebacks included, to stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Session:
    """An authenticated ssh session with everything it stands on: jump sessions and the proxy process."""

    def __init__(self) -> None:
        self._layers: list[Any] = []
        self._transport: paramiko.Transport | None = None
        self.proxy: ProxyCommand | None = None

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
            layer = self._layers.pop()
            for step in (_hang_up, _close):
                with contextlib.suppress(Exception):  # nothing that fails while closing helps anyone
                    step(layer)


def _hang_up(layer: Any) -> None:
    """End the session's input: the thread that reads it looks only now and then whether it should end."""
    transport = layer if isinstance(layer, paramiko.Transport) else layer.get_transport()
    transport.sock.shutdown(socket.SHUT_RDWR)


def _close(layer: Any) -> None:
    layer.close()


def dial(settings: Settings, seconds: float) -> Session:
    """A session with the machine, through its jump hosts. Raises HostUnreachable and its kinds within `seconds`."""
    deadline = Deadline(min(seconds, settings.connect_timeout or seconds))
    for attempt in range(1, ATTEMPTS + 1):
        session = Session()
        try:
            _through_jumps(session, settings, deadline)
            _open(session, settings, deadline)
        except BaseException as error:
            session.close()
            pause = attempt * RETRY_PAUSE * random.uniform(0.5, 1.5)  # noqa: S311  spreads load, guards nothing
            if not _hung_up_at_once(error) or attempt == ATTEMPTS or deadline.left() < 2 * pause:
                raise
            time.sleep(pause)
        else:
            return session
    raise AssertionError("unreachable")


def _hung_up_at_once(error: BaseException | None) -> bool:
    """Whether the server closed the connection before its first line."""
    while error is not None:
        if isinstance(error, SSHException) and "banner" in str(error):
            return True
        error = error.__cause__
    return False


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
    transport = paramiko.Transport(cast(Any, StallGuard(sock)))  # a socket's methods are all it needs
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
        session.proxy = ProxyCommand(settings.proxy_command)
        session.add(session.proxy)
        return session.proxy.socket
    return tcp(settings, deadline)


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
