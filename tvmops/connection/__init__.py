"""Ways to reach a host. `connect` is all that most callers need; nothing heavy is imported before it is called."""

from __future__ import annotations

from tvmops.connection.base import Become, CommandResult, Connection, Process, Tunnel
from tvmops.connection.options import become_settings, connection_kind, warm_seconds
from tvmops.inventory.model import Host

__all__ = ["Become", "CommandResult", "Connection", "Process", "Tunnel", "become_settings", "connect"]


def connect(host: Host, deadline: float = 15.0) -> Connection:
    """An open connection to `host`, within `deadline` seconds.

    Raises ConfigError for variables that cannot be used, HostUnreachable, AuthenticationError and HostKeyError.
    """
    if connection_kind(host) == "local":
        from tvmops.connection.local import LocalConnection

        return LocalConnection(host)
    seconds = warm_seconds(host)
    if seconds > 0:
        from tvmops.connection.warm import connect_warm

        return connect_warm(host, deadline, seconds)
    from tvmops.connection.ssh import SshConnection

    return SshConnection(host, deadline)
