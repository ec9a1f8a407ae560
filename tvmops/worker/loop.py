"""The worker's loop: job directories on stdin, one answer per job on the status descriptor."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, Dict, List

from .backends import BACKENDS, load_backend
from .jobs import run_job

PARENT_CHECK_SECONDS = 1.0


class Status:
    """Writes JSON lines to the controller. No child process inherits the descriptor: a crash must read as an EOF."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor

    def send(self, event: Dict[str, Any]) -> None:
        """One line, in one write."""
        os.write(self._descriptor, (json.dumps(event) + "\n").encode("utf-8"))


def main(arguments: List[str]) -> int:
    """Runs jobs until stdin ends. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="worker", description="Runs tvmops jobs inside a stack's environment.")
    parser.add_argument("--status-fd", type=int, required=True, help="file descriptor for the answers")
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="relax", help="the stack's API generation")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    status = Status(options.status_fd)
    requests = take_stdin()
    backend = load_backend(options.backend)
    status.send({"event": "ready", "versions": backend.versions()})
    for line in iter(requests.readline, b""):
        if line.strip():
            serve(line, backend, status)
    return 0


def serve(line: bytes, backend: Any, status: Status) -> None:
    """Runs the job that a request names."""
    try:
        directory = Path(json.loads(line.decode("utf-8"))["job_dir"])
    except (ValueError, KeyError, TypeError) as error:
        status.send({"event": "error", "message": f"not a request: {line[:200]!r}: {error}"})
        return
    name = str(directory)
    ok = run_job(directory, backend, lambda: status.send({"event": "done", "job_dir": name, "ok": False}))
    status.send({"event": "done", "job_dir": name, "ok": ok})


def take_stdin() -> BinaryIO:
    """stdin for this process alone; children (pip, linkers) get an empty one."""
    own = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return os.fdopen(own, "rb", buffering=0)


def end_with_parent() -> None:
    """Ends this process soon after its parent is gone, however the parent ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
