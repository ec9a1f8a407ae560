"""One board behind a gateway: kept alive, offered in the tracker, and given to one client at a time.

The lane listens for the board's clients on this machine. It knows a client by the match key that the tracker gave it,
takes the board's lease, opens a session with the board's server under the board's own key, and carries bytes until
the session ends or has lasted too long.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tvmops.board_locks import holder, lease_of, open_lock, sign, take
from tvmops.connection import connect
from tvmops.errors import HostUnreachable, RpcError, TvmopsError
from tvmops.rpc.condition import BUSY, FREE, UNREACHABLE, VERSION_MISMATCH
from tvmops.rpc.greeting import accept, client_key, read_greeting, refuse
from tvmops.rpc.handshake import PROBE_KEY, Answer, knock
from tvmops.rpc.peers import Caller, caller_of
from tvmops.rpc.pipe import End, carry
from tvmops.rpc.plan import BoardPlan
from tvmops.rpc.server import AFTER_SESSION_SECONDS, BoardServer
from tvmops.rpc.tracker import PERIOD, Address, Entry
from tvmops.rpc.versions import check_release, current_release

RETRY_SECONDS = 10.0  # until a board that could not be used is tried again
PROBE_SECONDS = 15.0  # between looks at a board that nobody uses
OPEN_SECONDS = 10.0  # for the board's server to let a client in
CUT_SECONDS = 3.0  # beyond a session's time: the board's server may end it first, and says why
POLL_SECONDS = 0.1
WAITING_CLIENTS = 16
STARTING, DOWN = "starting", "down"  # beside the words of condition.py


class Stopped(Exception):
    """The gateway ends."""


class _WrongVersion(RpcError):
    """The board carries another TVM than its stack says."""


@dataclass(frozen=True)
class LaneState:
    """How a board is, for others to read. `port` is where its clients come, `text` says more about the state."""

    key: str
    port: int
    state: str = STARTING
    text: str = ""
    sessions: int = 0
    restarts: int = 0


class Lane:
    """Serves one board in a thread of its own, until stopped."""

    def __init__(
        self,
        plan: BoardPlan,
        listen: str,
        tracker: Callable[[], Address | None],
        *,
        session_seconds: float,
        report: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        """Listens at once. Raises OSError."""
        self.name = plan.host.name
        self._plan, self._session_seconds = plan, session_seconds
        self._report, self._say = report, log
        self._listener = socket.create_server((listen, 0), backlog=WAITING_CLIENTS)
        port = self._listener.getsockname()[1]
        self.state = LaneState(plan.key, port)
        self._entry = Entry(tracker, plan.key, (listen, port))
        self._wake, self._waker = socket.socketpair()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lane {self.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Cut what runs and end; does not wait."""
        self._stopping.set()
        self._waker.send(b".")

    def join(self, seconds: float) -> None:
        """Wait for its end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._serve()
            except Stopped:
                return
            except TvmopsError as error:
                self._entry.withdraw()
                self._note(_state_of(error), error.message)
            except Exception as error:  # one board's trouble must not end the others' gateway
                self._entry.withdraw()
                self._note(DOWN, f"{type(error).__name__}: {error}")
            self._stopping.wait(RETRY_SECONDS)

    def _serve(self) -> None:
        """Over one connection to the board, until it breaks."""
        connection = connect(self._plan.host)
        server = BoardServer(connection, self._say)
        try:
            with self._held("waking its RPC server"):
                self._check(server)
                server.ensure()
            while True:
                self._serve_one(server, self._next_client(server))
        finally:
            self._entry.withdraw()
            server.close()
            connection.close()

    def _check(self, server: BoardServer) -> None:
        release = current_release(server.connection, server.place)
        if self._plan.version:
            try:
                check_release(self.name, release, self._plan.stack, self._plan.version)
            except RpcError as error:
                raise _WrongVersion(error.message, error.hint) from None

    # -- waiting -------------------------------------------------------------------------------------------

    def _next_client(self, server: BoardServer) -> tuple[socket.socket, float]:
        """The next client with the right match key, and how long it may stay. Offers the board meanwhile."""
        self._entry.renew()
        probed = time.monotonic()
        look = 0.0
        while True:
            if time.monotonic() >= look:
                look = time.monotonic() + PERIOD
                free = self._offer()
                if free and time.monotonic() - probed > PROBE_SECONDS:
                    self._probe(server)
                    probed = time.monotonic()
            came = self._wait_for_client(look - time.monotonic())
            if self._stopping.is_set():
                raise Stopped
            if came and (client := self._admitted()):
                return client

    def _wait_for_client(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        ready = poll.poll(max(0.0, seconds) * 1000 + 1)
        return any(descriptor == self._listener.fileno() for descriptor, _ in ready)

    def _offer(self) -> bool:
        """Offer the board when nobody holds it, else take the offer back; whether it is free."""
        lease = lease_of(self.name)
        self._entry.keep(lease is None)
        if lease is None:
            self._note(FREE, self._entry.problem and f"not in the tracker: {self._entry.problem}")
        else:
            self._note(BUSY, f"held by {lease}")
        return lease is None

    def _probe(self, server: BoardServer) -> None:
        """Restart a dead server before a client comes. Raises RpcError, HostUnreachable when it cannot be used."""
        self._check(server)
        if server.problem():
            self._entry.withdraw()
            with self._held("restarting its RPC server"):
                self._settle(server, cut=False)

    def _admitted(self) -> tuple[socket.socket, float] | None:
        client, _ = self._listener.accept()
        try:
            greeting = read_greeting(client)
            if not self._entry.matchkey or greeting.key != self._entry.matchkey:
                refuse(client)
                raise RpcError(f"asks for '{greeting.key}', which the tracker did not give it")
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (RpcError, OSError) as error:
            client.close()
            if PROBE_KEY.removeprefix("client:") not in str(error):
                self._say(f"{self.name}: a client {error}")
            return None
        return client, min(greeting.seconds or self._session_seconds, self._session_seconds)

    # -- a session -----------------------------------------------------------------------------------------

    def _serve_one(self, server: BoardServer, admitted: tuple[socket.socket, float]) -> None:
        client, seconds = admitted
        caller = caller_of(client)
        purpose = f"RPC session{f' ({caller.program})' if caller.program else ''}"
        try:
            with client, self._held(purpose, client=client, caller=caller, seconds=seconds):
                self._session(server, client, caller, seconds)
        except _ClientLeft:
            self._say(f"{self.name}: a client left before its session began")

    def _session(self, server: BoardServer, client: socket.socket, caller: Caller, seconds: float) -> None:
        """From the first byte to a server that is ready for the next client. The lease is held."""
        who = f"{caller.user} (pid {caller.pid} {caller.program})" if caller.pid else caller.user
        self._note(BUSY, f"held by {lease_of(self.name)}")
        board, started = self._let_in(server, client, seconds)
        with board:
            self._say(f"{self.name}: session of {who} begins, {seconds:g} s at most")
            self._change(replace(self.state, sessions=self.state.sessions + 1))
            end = carry(client, board, seconds + CUT_SECONDS, self._wake)
        lasted = time.monotonic() - started
        over = End.EXPIRED if lasted >= seconds and end is End.BOARD else end
        self._say(f"{self.name}: session of {who} ended after {lasted:.1f} s: {over.value}")
        client.close()
        if end is End.STOPPED:
            raise Stopped
        self._settle(server, cut=end in (End.EXPIRED, End.HUNG))

    def _let_in(self, server: BoardServer, client: socket.socket, seconds: float) -> tuple[socket.socket, float]:
        """The board's side of a session whose client was told that it may begin, and when the board was asked.

        Raises RpcError, HostUnreachable, _ClientLeft.
        """
        key = client_key(server.place.key, seconds)
        asked = time.monotonic()  # the board counts from a moment after this
        try:
            board, answer, own = knock(server.port(), key=key, deadline=OPEN_SECONDS)
        except RpcError as error:
            self._say(f"{self.name}: {error.message}; looking after its RPC server")
            self._settle(server, cut=False)
            asked = time.monotonic()
            board, answer, own = knock(server.port(), key=key, deadline=OPEN_SECONDS)
        try:
            if answer is not Answer.ACCEPTED:
                raise RpcError(
                    f"{self.name}: its RPC server does not know the key '{server.place.key}' (tvm_rpc_key)",
                    f"bring it: tvmops playbook playbooks/rpc-server.yml --host {self.name}",
                )
            accept(client, own)
        except OSError as error:
            board.close()
            raise _ClientLeft from error
        except BaseException:
            board.close()
            raise
        return board, asked

    def _settle(self, server: BoardServer, *, cut: bool) -> None:
        """While the lease is held: restart a server that is dead, or that hangs in a session that was `cut`."""
        before = server.restarts
        if not cut:
            server.ensure()
        elif problem := server.problem(AFTER_SESSION_SECONDS):
            # The session that it still has is the one that was cut.
            self._say(f"{self.name}: RPC server: {problem}; restarting it")
            server.restart()
        if server.restarts > before:
            self._change(replace(self.state, restarts=self.state.restarts + 1))

    @contextlib.contextmanager
    def _held(
        self,
        purpose: str,
        *,
        client: socket.socket | None = None,
        caller: Caller | None = None,
        seconds: float | None = None,
    ) -> Iterator[None]:
        """The board's lease, waited for until the client leaves. Raises Stopped, _ClientLeft."""
        with open_lock(self.name) as file:
            while not take(file, fcntl.LOCK_EX):
                self._note(BUSY, f"held by {holder(file)}")
                if self._stopping.wait(POLL_SECONDS):
                    raise Stopped
                if client is not None and _has_left(client):
                    raise _ClientLeft
            user, pid = (caller.user, caller.pid) if caller else ("", None)
            sign(file, purpose, user=user, pid=pid, seconds=seconds)
            try:
                yield
            finally:
                file.truncate(0)

    def _note(self, state: str, text: str = "") -> None:
        self._change(replace(self.state, state=state, text=text))

    def _change(self, changed: LaneState) -> None:
        if changed == self.state:
            return
        if changed.state != self.state.state and changed.state not in (FREE, BUSY):
            self._say(f"{self.name}: {changed.state}: {changed.text}")
        self.state = changed
        self._report()


class _ClientLeft(Exception):
    """The client did not wait."""


def _has_left(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))


def _state_of(error: TvmopsError) -> str:
    if isinstance(error, HostUnreachable):
        return UNREACHABLE
    return VERSION_MISMATCH if isinstance(error, _WrongVersion) else DOWN
