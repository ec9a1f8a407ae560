"""One board's RPC server, kept alive: proved by a handshake, restarted when dead, never disturbed when busy.

A server serves one client after the other, so silence has two meanings. What tells them apart is on the board: a busy
server has a session process, a dead one (its listener thread is gone, or an idle client blocks it) has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tvmops.connection import Connection, Tunnel
from tvmops.errors import RpcError
from tvmops.rpc import control
from tvmops.rpc.board import PortState, ServerPlace, look
from tvmops.rpc.handshake import handshake
from tvmops.rpc.versions import Release, current_release

ANSWER_SECONDS = 5.0  # for a server that may be alive
AFTER_SESSION_SECONDS = 10.0
START_SECONDS = 90.0  # importing TVM takes 10 s on a slow board
BUSY_SECONDS = 60.0
PAUSE_SECONDS = 0.25
BUSY_PAUSE_SECONDS = 1.0
OnProgress = Callable[[str], None]


def quiet(_text: str) -> None:
    """The `on_progress` that shows nothing."""


@dataclass(frozen=True)
class ServerStatus:
    """What is known of a server: `problem` is empty when it answers. `key` is what it was started with, if known."""

    host: str
    port: int
    problem: str
    busy: bool
    release: Release | None
    running_release: str | None
    pid: int | None
    listening: bool = True
    foreign: bool = False
    key: str | None = None


class BoardServer:
    """The RPC server of one host, through one connection. Not for several threads at once."""

    def __init__(self, connection: Connection, on_progress: OnProgress = quiet) -> None:
        """Raises ConfigError for variables that cannot be used."""
        self.connection = connection
        self.place = ServerPlace.of(connection.host)
        self.restarts = 0
        self._on_progress = on_progress
        self._tunnel: Tunnel | None = None

    @property
    def name(self) -> str:
        """The host's name."""
        return self.connection.host.name

    def port(self) -> int:
        """The local port that leads to the server; the tunnel is opened at the first call. Raises HostUnreachable."""
        if self._tunnel is None:
            self._tunnel = self.connection.forward(self.place.port)
        return self._tunnel.port

    def ensure(self, busy_seconds: float = BUSY_SECONDS) -> int:
        """The local port of a server that has just answered; a dead one is restarted, once.

        Waits `busy_seconds` for another client's session to end. Raises RpcError, BecomeError, HostUnreachable.
        """
        problem = self.problem(ANSWER_SECONDS)
        if problem:
            waited = self._waited_for_session(busy_seconds)
            # Asked twice: a session may have ended between question and look. After a session the server first takes
            # what queued up, and a connection that found the queue full is tried again late.
            problem = self.problem(AFTER_SESSION_SECONDS if waited else ANSWER_SECONDS)
        if problem:
            self._on_progress(f"{self.name}: RPC server: {problem}; restarting it")
            self.restart()
        return self.port()

    def _waited_for_session(self, seconds: float) -> bool:
        """Whether another client's session was there, and has ended within `seconds`."""
        end = time.monotonic() + seconds
        waited = False
        # No handshakes meanwhile: each would stay in the server's queue, which holds two.
        while (state := look(self.connection, self.place)).sessions:
            if time.monotonic() > end:
                raise RpcError(
                    f"{self.name}: the RPC server on port {self.place.port} serves another client "
                    f"(process {state.sessions[0]}), for more than {seconds:.0f} s",
                    f"wait for that session's end, or cut it: tvmops rpc.restart --host {self.name}",
                )
            if not waited:
                self._on_progress(f"{self.name}: the RPC server serves another client; waiting for its end")
            waited = True
            time.sleep(BUSY_PAUSE_SECONDS)
        self._refuse_foreign(state)
        return waited

    def restart(self, deadline: float = START_SECONDS) -> None:
        """Restart the server and wait until it answers, at most `deadline` seconds. Ends a running session.

        Raises RpcError with the end of the server's log, BecomeError, HostUnreachable.
        """
        self._refuse_foreign(look(self.connection, self.place))
        self.restarts += 1
        control.restart(self.connection, self.place)
        end = time.monotonic() + deadline
        while problem := self.problem(ANSWER_SECONDS):
            if time.monotonic() > end:
                words = control.last_words(self.connection, self.place)
                raise RpcError(
                    f"{self.name}: restarted, but after {deadline:.0f} s still {problem}"
                    + (f"\nits log ends:\n{words}" if words else ""),
                    f"provision it again: tvmops provision --host {self.name}",
                )
            time.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        """Stop the server and everything it started. Raises RpcError, BecomeError, HostUnreachable."""
        control.stop(self.connection, self.place)

    def status(self) -> ServerStatus:
        """How the server is, without touching it. Raises HostUnreachable, BecomeError."""
        problem = self.problem(ANSWER_SECONDS)
        state = look(self.connection, self.place)
        try:
            release: Release | None = current_release(self.connection, self.place)
        except RpcError as error:
            release = None
            problem = problem or error.message
        busy = bool(problem and state.sessions)
        if state.foreign:
            problem = _taken(state, self.place.port)
        return ServerStatus(
            host=self.name,
            port=self.place.port,
            problem="" if busy else problem,
            busy=bool(state.sessions),
            release=release,
            running_release=state.release,
            pid=state.pid,
            listening=state.listening,
            foreign=state.foreign,
            key=state.key,
        )

    def close(self) -> None:
        """Close the tunnel. May be called twice."""
        if self._tunnel is not None:
            self._tunnel.close()
            self._tunnel = None

    def problem(self, deadline: float = ANSWER_SECONDS) -> str:
        """Why the server does not answer within `deadline` seconds; empty when it does. Raises HostUnreachable."""
        try:
            handshake(self.port(), deadline=deadline)
        except RpcError as error:
            reason = error.message.partition(": ")[2]
            tunnel_error = self._tunnel.error if self._tunnel is not None else None
            if tunnel_error and "closed the connection" in reason:
                reason = "nothing listens there"
            return f"port {self.place.port}: {reason}"
        return ""

    def _refuse_foreign(self, state: PortState) -> None:
        if state.foreign:
            raise RpcError(
                f"{self.name}: {_taken(state, self.place.port)}",
                "stop that program, or give the host another tvm_rpc_port and provision it",
            )


def _taken(state: PortState, port: int) -> str:
    process = f" (process {state.pid}: {state.command[:120]})" if state.pid else ""
    return f"port {port} is taken by {state.name}{process}"


def ensure_server(connection: Connection, on_progress: OnProgress = quiet) -> int:
    """The port on the board of an RPC server that has just answered a handshake; restarted when it was dead.

    Raises RpcError, BecomeError, HostUnreachable.
    """
    server = BoardServer(connection, on_progress)
    try:
        server.ensure()
        return server.place.port
    finally:
        server.close()
