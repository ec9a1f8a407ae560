"""Starts a real worker and speaks its protocol: job directories in, one JSON line per event out."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WORKER = Path(__file__).resolve().parent.parent / "tvmops" / "worker"


class WorkerProcess:
    """A worker. Every wait has a deadline; `close` leaves nothing behind."""

    def __init__(self, backend: str, python: str = sys.executable, cwd: Path | None = None) -> None:
        read_end, write_end = os.pipe()
        self._status = read_end
        self._buffer = b""
        self.process = subprocess.Popen(
            [python, str(WORKER), "--status-fd", str(write_end), "--backend", backend],
            stdin=subprocess.PIPE,
            pass_fds=[write_end],
            start_new_session=True,
            cwd=cwd,
        )
        os.close(write_end)
        self.ready = self.event(60.0)

    def event(self, timeout: float = 60.0) -> dict[str, Any] | None:
        """The next event; None when the worker has ended."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self._status], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"the worker was silent for {timeout} s"
            data = os.read(self._status, 65536)
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        event = json.loads(line)
        assert isinstance(event, dict)
        return event

    def send(self, directory: Path) -> None:
        """Ask for a job."""
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps({"job_dir": str(directory)}) + "\n").encode())
        self.process.stdin.flush()

    def run(self, directory: Path, timeout: float = 120.0) -> dict[str, Any]:
        """Run a job to its end; its result."""
        self.send(directory)
        event = self.event(timeout)
        assert event is not None, f"the worker crashed: {(directory / 'log.txt').read_text()}"
        result = json.loads((directory / "result.json").read_text())
        assert event == {"event": "done", "job_dir": str(directory), "ok": result["ok"]}
        assert isinstance(result, dict)
        return result

    def stop(self) -> int:
        """Close its stdin and wait; the exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(60.0)

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10.0)
        if self.process.stdin is not None:
            self.process.stdin.close()
        os.close(self._status)


def make_job(directory: Path, cache: Path, kind: str, workload: dict[str, Any], **settings: Any) -> Path:
    """A job directory with its job.json."""
    directory.mkdir(parents=True)
    document = {
        "schema": 1,
        "kind": kind,
        "key": directory.name,
        "stack": "test",
        "workload": workload,
        "cache_dir": str(cache),
        **settings,
    }
    (directory / "job.json").write_text(json.dumps(document), encoding="utf-8")
    return directory
