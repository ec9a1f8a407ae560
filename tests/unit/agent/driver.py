"""Drives a real agent process through its real protocol, as the controller would."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import select
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tvmops.connection.payload import agent_zipapp

PIECE = 256 * 1024
Event = dict[str, Any]


class AgentGone(Exception):
    """The agent closed its output."""


class Driver:
    """One agent process. Use as a context manager; `batch()` returns the results of its tasks."""

    def __init__(
        self,
        cache: Path,
        python: str = sys.executable,
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        deadline: float = 60.0,
    ) -> None:
        data, sha256 = agent_zipapp()
        self.program = cache / f"agent-{sha256}"
        if not self.program.exists():
            zipfile.ZipFile(io.BytesIO(data)).extractall(self.program)
        self.deadline = deadline
        self.events: list[Event] = []
        self.blobs: dict[str, bytes] = {}
        self._buffer = b""
        self._batch_id = 0
        self.process = subprocess.Popen(
            [*prefix, python, "-I", "-S", str(self.program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **(os.environ if env is None else {}),
                "TVMOPS_AGENT_STATE": str(cache.parent / "state"),
                **(env or {}),
            },
        )

    def __enter__(self) -> Driver:
        self.ready = self.wait_for("ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def blob(self, data: bytes) -> dict[str, Any]:
        """Offer content under its sha256 -> the value of a task's `_blob`."""
        name = hashlib.sha256(data).hexdigest()
        self.blobs[name] = data
        return {"sha256": name, "size": len(data)}

    def send(self, message: dict[str, Any], raw: bytes = b"") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n" + raw)
        self.process.stdin.flush()

    def next_event(self) -> Event:
        """The next event that is not a heartbeat. Raises AgentGone, TimeoutError."""
        while True:
            event = json.loads(self._line())
            self.events.append(event)
            if event["ev"] != "heartbeat":
                return event

    def wait_for(self, name: str) -> Event:
        while True:
            event = self.next_event()
            if event["ev"] == name:
                return event

    def start(self, tasks: Sequence[dict[str, Any]], **batch: Any) -> None:
        """Send a batch; tasks need only "module" and "args", ids are given here (1, 2, ...)."""
        self._batch_id += 1
        numbered = [{"id": number, **task} for number, task in enumerate(tasks, 1)]
        self.send({"op": "batch", "id": self._batch_id, "tasks": numbered, **batch})

    def finish(self, on_need: Callable[[str], bytes | None] | None = None) -> list[dict[str, Any]]:
        """Answer needs until the batch ends -> the results of the tasks that ran, in order."""
        results = []
        while True:
            event = self.next_event()
            if event["ev"] == "need":
                data = on_need(event["sha256"]) if on_need else self.blobs.get(event["sha256"])
                self.answer(event["sha256"], data, event.get("have", 0))
            elif event["ev"] == "done":
                results.append(event["result"])
            elif event["ev"] == "batch_end":
                self.stopped_at = event["stopped_at"]
                return results
            assert event["ev"] != "fatal", event

    def answer(self, sha256: str, data: bytes | None, have: int = 0) -> None:
        if data is None:
            self.send({"op": "blob", "sha256": sha256, "error": "no such blob"})
            return
        data = data[have:]
        pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)] or [b""]
        for number, piece in enumerate(pieces, 1):
            self.send({"op": "blob", "sha256": sha256, "bytes": len(piece), "last": number == len(pieces)}, piece)

    def batch(self, tasks: Sequence[dict[str, Any]], **batch: Any) -> list[dict[str, Any]]:
        self.start(tasks, **batch)
        return self.finish()

    def task(self, module: str, args: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Run one task -> its result. `check` and `diff` are the batch's."""
        batch = {key: more.pop(key) for key in ("check", "diff") if key in more}
        return self.batch([{"module": module, "args": args, **more}], **batch)[0]

    def close(self) -> int:
        """End the agent in order -> its exit status. Its standard error is then in `stderr`."""
        assert self.process.stdin and self.process.stdout and self.process.stderr
        if self.process.stdout.closed:
            return self.process.returncode
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.send({"op": "end"})
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            status = self.process.wait(self.deadline)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.stderr = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        end = time.monotonic() + self.deadline
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise TimeoutError(f"no event within {self.deadline} s; the last ones: {self.events[-3:]}")
            data = os.read(descriptor, 65536)
            if not data:
                raise AgentGone(self.process.stderr.read().decode() if self.process.stderr else "")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
