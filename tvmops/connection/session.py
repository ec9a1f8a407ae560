"""One agent on one host: started, upgraded or brought its Python as needed, then fed batches.

In the usual case one command finds Python and the unpacked agent and becomes it: the first line that comes back is
already the agent's. Under become the whole command runs through one sudo, and the agent is kept in the become user's
own cache, where the login user cannot change it.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tvmops.connection import become as becoming
from tvmops.connection.base import CLOSE_GRACE, Become, Connection, Process
from tvmops.connection.bootstrap import install_python
from tvmops.connection.installer import launch_script
from tvmops.connection.options import python_interpreter
from tvmops.connection.payload import agent_zipapp
from tvmops.errors import AgentError, HostUnreachable, TvmopsError

PROTOCOL = 2
READY_TIMEOUT = 60.0  # seconds from the start of Python to "ready"; an old board on a worn card is slow
BLOB_PIECE = 256 * 1024  # bytes
SHOWN_STDERR = 15  # lines

Blobs = Callable[[str], bytes]
OnEvent = Callable[[dict[str, Any]], None]


class AgentSession:
    """A running agent. Not for several threads at a time, but `close` may be called from any."""

    def __init__(
        self,
        connection: Connection,
        *,
        become: Become | None = None,
        heartbeat_deadline: float = 30.0,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Start the agent. `heartbeat_deadline` is in seconds; `notify` gets a line now and then when starting is slow.

        Raises AgentError, BecomeError, HostUnreachable.
        """
        self.connection = connection
        self.host = connection.host
        self.become = become
        self.info: dict[str, Any] = {}  # the agent's "ready": python, pid, uid, user
        self._heartbeat_deadline = heartbeat_deadline
        self._notify = notify
        self._busy = False
        self._process: Process = self._start()

    def run_batch(self, batch: dict[str, Any], blobs: Blobs, on_event: OnEvent) -> None:
        """Send a batch and pass its events on until "batch_end" (which is passed on, too).

        `blobs` gives the content for a sha256 that the agent asks for; an exception from it is told to the agent, which
        fails the task. Raises AgentError when the agent breaks down, HostUnreachable when it goes silent.
        """
        if self._busy:
            raise AgentError(f"{self.host.name}: an earlier batch was broken off; start a new session")
        self._busy = True
        self._send({"op": "batch", **batch})
        while True:
            event = self._event(self._heartbeat_deadline)
            kind = event.get("ev")
            if kind == "need":
                self._answer(str(event.get("sha256", "")), blobs)
            elif kind == "fatal":
                raise AgentError(f"{self.host.name}: the agent gave up: {event.get('msg', 'no reason given')}")
            elif kind != "heartbeat":
                on_event(event)
            if kind == "batch_end":
                self._busy = False
                return

    def stop_after_task(self) -> None:
        """Let the agent finish the task it is at and no other; its batch then ends. May be called from any thread."""
        self._process.close_stdin()

    def close(self) -> None:
        """End the agent: politely when it is idle, at once when a batch was broken off. May be called twice."""
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
        line = process.read_line(READY_TIMEOUT)
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

    def _send(self, message: dict[str, Any]) -> None:
        try:
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
