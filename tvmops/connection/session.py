"""One agent on one host, once it is started: fed batches, asked, followed, ended."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tvmops.connection import alive
from tvmops.connection import become as becoming
from tvmops.connection.base import CLOSE_GRACE, POST_STALL, Become, Connection
from tvmops.connection.sending import Sent, Telling
from tvmops.connection.situation import busy
from tvmops.connection.starting import READY_TIMEOUT, broke_down, parse_event, start_agent
from tvmops.errors import AgentError, TvmopsError

BLOB_PIECE = 256 * 1024  # bytes

Blobs = Callable[[str], bytes]
OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RunTag:
    """Whose batches these are. With a tag the board is held for the run, and finishes its batches without us."""

    run: str
    owner: str
    what: str


class AgentSession:
    """A running agent. Not for several threads at a time, but `close` may be called from any."""

    def __init__(
        self,
        connection: Connection,
        *,
        become: Become | None = None,
        heartbeat_deadline: float = 30.0,
        notify: Callable[[str], None] = lambda _: None,
        tag: RunTag | None = None,
        ready_timeout: float = READY_TIMEOUT,
    ) -> None:
        """Start the agent. `heartbeat_deadline` is in seconds; `notify` gets a line now and then when starting is slow.

        Raises AgentError, BecomeError, HostUnreachable.
        """
        self.connection = connection
        self.host = connection.host
        self.become = become
        self.tag = tag
        self.sent = Sent()
        self._heartbeat_deadline = heartbeat_deadline
        self._notify = notify
        self._busy = False
        self._kept = False  # the board finishes the batch that is out, whatever becomes of us
        self._held = False  # the board was ours
        self.on_refusal: Callable[[], None] | None = None  # comes to terms with who was faster, or raises HostBusy
        self._sending = threading.Lock()  # messages from several threads must not mix
        # info is the agent's "ready": python, pid, uid, user, lease, finished
        self._process, self.info = start_agent(connection, become, notify, ready_timeout)

    def run_batch(self, batch: dict[str, Any], blobs: Blobs, on_event: OnEvent) -> None:
        """Send a batch and pass its events on until "batch_end" (which is passed on, too).

        `blobs` gives the content for a sha256 that the agent asks for; an exception from it is told to the agent, which
        fails the task. Raises AgentError when the agent breaks down, HostUnreachable when it goes silent, HostBusy when
        another run holds the board.
        """
        if self._busy:
            raise AgentError(f"{self.host.name}: an earlier batch was broken off; start a new session")
        self._busy, self._kept = True, False
        if self.tag is not None:
            alive.keep_telling(self)
            tag = {"run": self.tag.run, "owner": self.tag.owner, "what": self.tag.what, "host": self.host.name}
            batch = {**tag, **batch}
        self._send({"op": "batch", **batch})
        while True:
            event = self._event(self._heartbeat_deadline)
            kind = event.get("ev")
            if kind == "need":
                self._answer(str(event.get("sha256", "")), int(event.get("have") or 0), blobs)
            elif kind == "fatal":
                raise self._gave_up(event)
            elif kind == "refused":
                self._refused(event.get("lease") or {})
                self._send({"op": "batch", **batch})
            elif kind == "accepted":
                self._held = True
                self._kept = bool(event.get("kept"))
            elif kind != "heartbeat":
                on_event(event)
            if kind == "batch_end":
                self._busy = self._kept = False
                return

    def _refused(self, lease: dict[str, Any]) -> None:
        """Another run was faster: the batch may be sent again afterwards. Raises HostBusy."""
        self._busy = False
        if self._held or self.on_refusal is None:
            raise busy(self.host.name, lease)
        self.on_refusal()
        self._busy = True

    def status(self) -> dict[str, Any]:
        """Who works on the board and what was left there: {"lease", "finished"}, as in `info`."""
        return self._ask({"op": "status"}, "status")

    def steal(self) -> dict[str, Any] | None:
        """Take the board from a run whose lease is over; the lease when it is not, with what it still `lasts`."""
        answer = self._ask({"op": "steal"}, "status", "refused")
        lease = answer.get("lease")
        return lease if isinstance(lease, dict) else None

    def follow(self, run: str, on_event: OnEvent) -> bool:
        """Pass on all events of another run, those to come included, until its agent has ended; False: no such run."""
        self._busy = True
        self._send({"op": "follow", "run": run})
        while (event := self._event(self._heartbeat_deadline)).get("ev") != "follow_end":
            if event.get("ev") == "fatal":
                raise self._gave_up(event)
            if event.get("ev") == "followed" and isinstance(event.get("event"), dict):
                on_event(event["event"])
        self._busy = False
        return event.get("state") == "finished"

    def forget(self, run: str) -> None:
        """Remove a run's events from the board; what it changed can still be undone."""
        self._ask({"op": "forget", "run": run}, "forgotten")

    def interrupt(self, run: str) -> None:
        """Let the run that holds the board end after the task it is at."""
        self._ask({"op": "interrupt", "run": run}, "interrupted")

    def stop_after_task(self) -> None:
        """Let the agent finish the task it is at and no other; its batch then ends. May be called from any thread."""
        self._post({"op": "stop"}, timeout=POST_STALL)

    def say_alive(self) -> None:
        """Tell the agent that this process is there. May be called from any thread."""
        self._post({"op": "alive"}, timeout=0.0)

    def close(self) -> None:
        """End the agent: politely when it is idle, at once when a batch was broken off that nobody keeps.

        A batch that the board keeps goes on there. May be called twice.
        """
        alive.stop_telling(self)
        if self._kept:
            self._process.leave()
            return
        if not self._busy:
            with contextlib.suppress(TvmopsError, OSError):
                self._send({"op": "end"})
                self._process.close_stdin()
                self._process.wait(CLOSE_GRACE)
        elif self.become is not None and not self._process.ended():
            self._terminate(self.become)
        self._busy = True
        self._process.close_stdin()
        self._process.kill()

    def __enter__(self) -> AgentSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _terminate(self, become: Become) -> None:
        # The login user may not signal another user's agent; at the end of its input that would finish its task first.
        script = f"kill -TERM {int(self.info['pid'])}"
        with contextlib.suppress(TvmopsError, OSError):
            becoming.start(self.connection, become, script, timeout=CLOSE_GRACE).wait(CLOSE_GRACE)

    def _ask(self, message: dict[str, Any], *answers: str) -> dict[str, Any]:
        self._send(message)
        while (event := self._event(self._heartbeat_deadline)).get("ev") not in answers:
            if event.get("ev") == "fatal":
                raise self._gave_up(event)
        return event

    def _gave_up(self, event: dict[str, Any]) -> AgentError:
        return AgentError(f"{self.host.name}: the agent gave up: {event.get('msg', 'no reason given')}")

    def _event(self, timeout: float) -> dict[str, Any]:
        line = self._process.read_line(timeout)
        if line is None:
            raise broke_down(self.host.name, self._process, "ended in the middle of a batch")
        return parse_event(self.host.name, line)

    def _post(self, message: dict[str, Any], timeout: float) -> None:
        if not self._sending.acquire(timeout=timeout):
            return  # a message is on its way, which says as much
        try:
            self._process.post(json.dumps(message).encode() + b"\n")
        except (TvmopsError, OSError, EOFError):
            pass  # whoever waits for the agent finds out
        finally:
            self._sending.release()

    def _send(self, message: dict[str, Any], raw: bytes = b"") -> None:
        try:
            with self._sending:
                self._process.write(json.dumps(message).encode() + b"\n" + raw)
        except BrokenPipeError as error:
            raise broke_down(self.host.name, self._process, "no longer listens") from error

    def _answer(self, digest: str, have: int, blobs: Blobs) -> None:
        """Send a blob's content from its byte number `have` on: the agent has those before it."""
        try:
            data = blobs(digest)
        except (TvmopsError, OSError, KeyError) as error:
            self._send({"op": "blob", "sha256": digest, "error": str(error)})
            return
        telling = Telling(self._notify, len(data))
        self.sent.had += min(have, len(data))
        # write() takes no more than the host's receive window, so a piece waits until the one before it was read.
        for start in range(min(have, len(data)), max(len(data), have + 1), BLOB_PIECE):
            piece = bytes(data[start : start + BLOB_PIECE])
            last = start + BLOB_PIECE >= len(data)
            self._send({"op": "blob", "sha256": digest, "bytes": len(piece), "last": last}, piece)
            self.sent.bytes += len(piece)
            telling.at(min(start + BLOB_PIECE, len(data)))
