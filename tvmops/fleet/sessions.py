"""Hosts' connections and agent sessions, opened when they are first needed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tvmops.connection.sending import Sent
from tvmops.errors import ConfigError, Interrupted, TvmopsError
from tvmops.inventory.model import Host
from tvmops.user import user_name

if TYPE_CHECKING:
    from tvmops.connection import Become, Connection
    from tvmops.connection.deadlines import Deadlines
    from tvmops.connection.session import AgentSession, RunTag
    from tvmops.fleet.lost import Manners


class HostSessions:
    """One connection, at most one session as the login user and one as root for each become method.

    `others` gives the sessions of another host of the run, for tasks that are delegated to it.
    """

    def __init__(
        self,
        host: Host,
        become_password: str | None = None,
        notify: Callable[[str], None] = lambda _line: None,
        tag: RunTag | None = None,
    ) -> None:
        self.host = host
        self.others: Callable[[str], HostSessions] | None = None
        self.tag = tag  # whose run it is: the board is held for it
        self.manners: Manners | None = None
        self.tell = notify  # gets what is worth more than a passing line
        self._used = threading.RLock()
        self._password = become_password
        self._notify = notify
        self._lock = threading.Lock()
        self._closed = False
        self._connection: Connection | None = None
        self._sessions: dict[tuple[bool, str | None], AgentSession] = {}
        self._login_user: str | None = None
        self._sent = Sent()  # by sessions that have ended

    def connection(self) -> Connection:
        """The connection. Raises HostUnreachable and its kin."""
        if self._connection is None:
            from tvmops.connection import connect

            opened = connect(self.host, self._deadlines().connect)
            with self._lock:
                self._connection = opened
            self._end_if_closed()
        assert self._connection is not None
        return self._connection

    def session(self, root: bool, method: str | None = None) -> AgentSession:
        """The agent session as root, or as the login user. `method` None: as the host's variables say, or sudo.

        Raises AgentError, BecomeError, ConfigError, HostBusy, HostUnreachable.
        """
        if (root, method) not in self._sessions:
            from tvmops.connection.session import AgentSession
            from tvmops.fleet.lost import Manners, Meeting

            limits = self._deadlines()
            become = self.become("root", method) if root else None
            started = AgentSession(
                self.connection(),
                become=become,
                heartbeat_deadline=limits.silence,
                ready_timeout=limits.ready,
                notify=self._notify,
                tag=self.tag,
            )
            if started.tag is not None:
                meeting = Meeting(started, self.manners or Manners(), self.tell, self._check_open)
                try:
                    meeting.settle(started.info)
                except BaseException:
                    started.close()
                    raise
                # Another run may take the board before our first batch comes.
                started.on_refusal = lambda: meeting.settle(started.status())
            with self._lock:
                self._sessions[root, method] = started
            self._end_if_closed()
        return self._sessions[root, method]

    def other(self, host: str) -> HostSessions:
        """The sessions of another host."""
        if self.others is None:
            raise ConfigError(f"{self.host.name}: there is no way to '{host}' from here")
        return self.others(host)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """While active, no other thread uses these sessions."""
        with self._used:
            yield

    def reset(self) -> None:
        """End the sessions and the connection; the next use opens them again."""
        self._end_all()

    @property
    def sent(self) -> Sent:
        """What all sessions have sent so far, those that have ended included."""
        with self._lock:
            every = [self._sent, *(one.sent for one in self._sessions.values())]
        return Sent(sum(one.bytes for one in every), sum(one.had for one in every))

    def become(self, user: str, method: str | None = None) -> Become | None:
        """How to become a user there. Raises ConfigError."""
        from tvmops.connection import become_settings

        found = become_settings(self.host, become=True, user=user, password=self._password, method=method)
        return replace(found, user=user) if found else None

    def is_local(self) -> bool:
        """True when this is the machine that tvmops runs on."""
        return str(self.host.vars.get("ansible_connection", "ssh")) == "local"

    def login_user(self) -> str:
        """The login user's name, as the inventory says or the host itself."""
        if self._login_user is None:
            given = self.host.vars.get("ansible_user")
            if self.is_local():
                given = user_name()
            self._login_user = str(given) if given else self.connection().run("id -un").stdout.strip()
        return self._login_user

    def _deadlines(self) -> Deadlines:
        from tvmops.connection.deadlines import deadlines

        return deadlines(self.host, self.manners.timeout if self.manners else None)

    def _end_if_closed(self) -> None:
        if self._closed:
            self.close()
            self._check_open()

    def _check_open(self) -> None:
        if self._closed:
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
        self._end_all()

    def _end_all(self) -> None:
        so_far = self.sent
        with self._lock:
            self._sent = so_far
            sessions, self._sessions = list(self._sessions.values()), {}
            connection, self._connection = self._connection, None
        closers = [one.close for one in sessions] + ([connection.close] if connection else [])
        for close in closers:
            with contextlib.suppress(TvmopsError, OSError, EOFError):
                close()
