"""Ways to the machines on which tasks of a host are carried out: its own board, and those that it delegates to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from tvmops.connection import Become, Connection


class Session(Protocol):
    """What runs batches on a host: connection.session.AgentSession, or the like."""

    def run_batch(
        self, batch: dict[str, Any], blobs: Callable[[str], bytes], on_event: Callable[[dict[str, Any]], None]
    ) -> None:
        """Run a batch; raises HostUnreachable, AgentError."""


class Sessions(Protocol):
    """Opens a host's sessions when they are needed."""

    def session(self, root: bool, method: str | None = None) -> Session:
        """The session as root (through a become method, None: what the host says), or as the login user."""

    def login_user(self) -> str:
        """The name of the login user."""

    def connection(self) -> Connection:
        """The connection itself."""

    def reset(self) -> None:
        """End sessions and connection; the next use opens them again."""

    def other(self, host: str) -> Sessions:
        """The sessions of another host, which all hosts of the run share."""

    def become(self, user: str, method: str | None = None) -> Become | None:
        """How to become a user there."""

    def is_local(self) -> bool:
        """True when this is the machine that tvmops runs on."""

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """While active, nobody else uses these sessions."""


class Place(NamedTuple):
    """Where a task is carried out: `target` None is the host itself."""

    target: str | None = None
    root: bool = False
    method: str | None = None


class Channels:
    """The sessions that one host's tasks go through. Once one task there became root, everything goes through root."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._as_root: dict[str | None, str | None] = {}

    def as_root(self) -> None:
        """The host's own tasks go through root's session from the first on: some of them will need it."""
        self._as_root.setdefault(None, None)

    def place(self, target: str | None, user: str | None, method: str | None) -> Place:
        """Where a task for this user goes."""
        if user is None:
            return Place(target, target in self._as_root, self._as_root.get(target))
        return Place(target, True, method)

    def chosen(self, place: Place) -> Place:
        """Remember that this place is used."""
        if place.root:
            self._as_root[place.target] = place.method
        return place

    def reset(self) -> None:
        """End the host's own connection; the next use opens it again."""
        with self._sessions.exclusive():
            self._sessions.reset()

    def sessions(self, place: Place) -> Sessions:
        """The sessions of a place's host."""
        return self._sessions if place.target is None else self._sessions.other(place.target)

    @contextlib.contextmanager
    def open(self, place: Place) -> Iterator[tuple[Session, Callable[[], str] | None]]:
        """(session, what gives the login user's name where the session is root's); nobody else uses it meanwhile."""
        sessions = self.sessions(place)
        with sessions.exclusive():
            session = sessions.session(place.root) if place.method is None else sessions.session(True, place.method)
            yield session, sessions.login_user if place.root else None
