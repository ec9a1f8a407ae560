"""One agent on one host: started, upgraded or brought its Python as needed, then fed batches.

In the usual case one command finds Python and the unpacked agent and becomes it: the first line that comes back is
already the agent's. Under become the whole command runs through one sudo, and the agent is kept in the become user's
own cache, where the login user cannot change it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tvmops.connection import alive
from tvmops.connection import become as becoming
from tvmops.connection.base import CLOSE_GRACE, POST_STALL, Become, Connection, Process
from tvmops.connection.bootstrap import install_python
from tvmops.connection.installer import launch_script
from tvmops.connection.options import python_interpreter
from tvmops.connection.payload import agent_zipapp
from tvmops.connection.situation import busy
from tvmops.errors import AgentError, HostUnreachable, TvmopsError

PROTOCOL = 2
READY_TIMEOUT = 60.0  # seconds from the start of Python to "ready"; an old board on a worn card is slow
BLOB_PIECE = 256 * 1024  # bytes
SHOWN_STDERR = 15  # lines

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
        self.info: dict[str, Any] = {}  # the agent's "ready": python, pid, uid, user, lease, finished
        self.tag = tag
        self._ready_timeout = ready_timeout
        self._heartbeat_deadline = heartbeat_deadline
        self._notify = notify
        self._busy = False
        self._kept = False  # the board finishes the batch that is out, whatever becomes of us
        self._sending = threading.Lock()  # messages from several threads must not mix
        self._process: Process = self._start()

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
                self._answer(str(event.get("sha256", "")), blobs)
            elif kind == "fatal":
                raise self._gave_up(event)
            elif kind == "refused":
                self._busy = False
                raise busy(self.host.name, event.get("lease") or {})
            elif kind == "accepted":
                self._kept = bool(event.get("kept"))
            elif kind != "heartbeat":
                on_event(event)
            if kind == "batch_end":
                self._busy = self._kept = False
                return

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

    def _start(self) -> Process:
        payload, digest = agent_zipapp()
        script = launch_script(digest, len(payload), python_interpreter(self.host))
        installed = False
        while True:
            process = becoming.start(self.connection, self.become, script)
            try:
                missing = self._await_ready(process, payload)
            except BaseException:
                process.kill()
                raise
            if not missing:
                return process
            process.kill()
            if installed:
                raise AgentError(f"{self.host.name}: {missing}, although apt-get has just installed python3")
            installed = True
            self._notify(f"{missing}; installing python3")
            install_python(self.connection, self.become, missing, self._notify)

    def _await_ready(self, process: Process, payload: bytes) -> str:
        """Empty once the agent is ready; else what is missing and can be installed."""
        while True:
            line = self._read_start(process)
            if line.startswith(b"{"):
                event = self._parse(line)
                if event.get("ev") == "fatal":
                    raise AgentError(f"{self.host.name}: the agent cannot start: {event.get('msg', '')}")
                if event.get("ev") == "ready":
                    return self._greet(event)
                continue
            word, _, rest = line.decode("utf-8", "replace").partition(" ")
            if word == "tvmops:need-agent":
                self._notify("sending the agent")
                with contextlib.suppress(BrokenPipeError):  # what it says instead comes next
                    process.write(payload)
            elif word in ("tvmops:need-python", "tvmops:no-module"):
                return self._missing(word, rest)
            elif word in _COMPLAINTS:
                message, hint = _COMPLAINTS[word]
                raise AgentError(f"{self.host.name}: {message.format(rest)}", hint)

    def _missing(self, word: str, rest: str) -> str:
        given = python_interpreter(self.host)
        if given not in (None, "python3", "/usr/bin/python3"):
            what = "there is no such program" if word == "tvmops:need-python" else f"its library is incomplete: {rest}"
            raise AgentError(
                f"{self.host.name}: ansible_python_interpreter: {given}: {what}",
                "correct the variable, or remove it to let tvmops find or install python3",
            )
        return "python3 is missing" if word == "tvmops:need-python" else f"python3 is incomplete ({rest})"

    def _greet(self, event: dict[str, Any]) -> str:
        if event.get("protocol") != PROTOCOL:
            raise AgentError(f"{self.host.name}: the agent speaks protocol {event.get('protocol')}, not {PROTOCOL}")
        self.info = event
        return ""

    def _read_start(self, process: Process) -> bytes:
        line = process.read_line(self._ready_timeout)
        if line is None:
            raise self._broke_down(process, "did not start")
        return line

    def _event(self, timeout: float) -> dict[str, Any]:
        line = self._process.read_line(timeout)
        if line is None:
            raise self._broke_down(self._process, "ended in the middle of a batch")
        return self._parse(line)

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise AgentError(f"{self.host.name}: the agent broke the protocol with {line[:120]!r}")
        return event

    def _post(self, message: dict[str, Any], timeout: float) -> None:
        if not self._sending.acquire(timeout=timeout):
            return  # a message is on its way, which says as much
        try:
            self._process.post(json.dumps(message).encode() + b"\n")
        except (TvmopsError, OSError, EOFError):
            pass  # whoever waits for the agent finds out
        finally:
            self._sending.release()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            with self._sending:
                self._process.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError as error:
            raise self._broke_down(self._process, "no longer listens") from error

    def _answer(self, digest: str, blobs: Blobs) -> None:
        try:
            data = blobs(digest)
        except (TvmopsError, OSError, KeyError) as error:
            self._send({"op": "blob", "sha256": digest, "error": str(error)})
            return
        # write() takes no more than the host's receive window, so a piece waits until the one before it was read.
        for start in range(0, max(len(data), 1), BLOB_PIECE):
            piece = base64.b64encode(data[start : start + BLOB_PIECE]).decode("ascii")
            last = start + BLOB_PIECE >= len(data)
            self._send({"op": "blob", "sha256": digest, "data": piece, "last": last})

    def _broke_down(self, process: Process, what: str) -> TvmopsError:
        try:
            rc = process.wait(CLOSE_GRACE)
        except HostUnreachable as error:
            return error
        lines = process.stderr_text().strip().splitlines()[-SHOWN_STDERR:]
        shown = "".join(f"\n    {line}" for line in lines)
        return AgentError(f"{self.host.name}: the agent {what} (exit status {rc}){':' + shown if shown else ''}")


_COMPLAINTS = {
    "tvmops:old-python": (
        "its Python is {}; the agent needs 3.5 or later",
        "install a newer Python there and name it: ansible_python_interpreter",
    ),
    "tvmops:damaged": ("the agent arrived damaged", "try again; if it happens again, check the board's memory"),
    "tvmops:no-place": (
        "there is no place for the agent: {}",
        "free some space, or make one of these folders writable for the user who logs in",
    ),
}
