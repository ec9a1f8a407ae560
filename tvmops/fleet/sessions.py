"""A host's connection and agent sessions, opened when they are first needed."""

from __future__ import annotations

import contextlib
import os
import pwd
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tvmops.errors import Interrupted, TvmopsError
from tvmops.inventory.model import Host

if TYPE_CHECKING:
    from tvmops.connection import Connection
    from tvmops.connection.session import AgentSession

CONNECT_DEADLINE = 15.0  # seconds
HEARTBEAT_DEADLINE = 30.0  # seconds


class HostSessions:
    """One connection, at most one session as the login user and one as root."""

    def __init__(
        self, host: Host, become_password: str | None = None, notify: Callable[[str], None] = lambda _line: None
    ) -> None:
        self.host = host
        self._password = become_password
        self._notify = notify
        self._lock = threading.Lock()
        self._closed = False
        self._connection: Connection | None = None
        self._sessions: dict[bool, AgentSession] = {}
        self._login_user: str | None = None

    def connection(self) -> Connection:
        """The connection. Raises HostUnreachable and its kin."""
        if self._connection is None:
            from tvmops.connection import connect

            opened = connect(self.host, CONNECT_DEADLINE)
            with self._lock:
                self._connection = opened
            self._end_if_closed()
        assert self._connection is not None
        return self._connection

    def session(self, root: bool) -> AgentSession:
        """The agent session as root, or as the login user. Raises AgentError, BecomeError, HostUnreachable."""
        if root not in self._sessions:
            from tvmops.connection import become_settings
            from tvmops.connection.session import AgentSession

            become = None
            if root:
                become = become_settings(self.host, become=True, password=self._password)
                become = replace(become, user="root") if become else None
            started = AgentSession(
                self.connection(), become=become, heartbeat_deadline=HEARTBEAT_DEADLINE, notify=self._notify
            )
            with self._lock:
                self._sessions[root] = started
            self._end_if_closed()
        return self._sessions[root]

    def login_user(self) -> str:
        """The login user's name, as the inventory says or the host itself."""
        if self._login_user is None:
            given = self.host.vars.get("ansible_user")
            if str(self.host.vars.get("ansible_connection", "ssh")) == "local":
                given = pwd.getpwuid(os.geteuid()).pw_name
            self._login_user = str(given) if given else self.connection().run("id -un").stdout.strip()
        return self._login_user

    def _end_if_closed(self) -> None:
        if self._closed:
            self.close()
            raise Interrupted(f"{self.host.name}: interrupted")

    def stop_after_task(self) -> None:
        """Let the host finish the task it is at and begin no other. May be called from any thread."""
        with self._lock:
            self._closed = True
            sessions = list(self._sessions.values())
        for one in sessions:
            with contextlib.suppress(TvmopsError, OSError, EOFError):
                one.stop_after_task()

    def close(self) -> None:
        """End the sessions and the connection, and with them a task that still runs."""
        with self._lock:
            self._closed = True
            sessions, self._sessions = list(self._sessions.values()), {}
            connection, self._connection = self._connection, None
        closers = [one.close for one in sessions] + ([connection.close] if connection else [])
        for close in closers:
            with contextlib.suppress(TvmopsError, OSError, EOFError):
                close()
