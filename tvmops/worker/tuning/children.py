"""Child processes that do one trial's work: what crashes, hangs or leaks there costs one trial, never the worker."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

WORKER = Path(__file__).resolve().parents[1]
START_SECONDS = 180.0  # importing TVM on a busy machine


class ChildError(Exception):
    """The function raised: `kind` is the exception's name."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class ChildTimeout(Exception):
    """It took longer than it might; the process was killed."""


class ChildDied(Exception):
    """The process ended in the middle of a call (a crash, or no memory)."""


class Child:
    """One process that has loaded `module`; started at the first call, and again after it was killed."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: Optional["subprocess.Popen[bytes]"] = None

    def call(self, function: str, argument: Any, seconds: float) -> Any:
        """What the module's function returns for a plain value. Raises ChildError, ChildTimeout, ChildDied."""
        process = self._started()
        try:
            data = pickle.dumps({"function": function, "argument": argument})
            assert process.stdin is not None
            process.stdin.write(struct.pack("<Q", len(data)) + data)
            process.stdin.flush()
            answer = self._answer(process, seconds)
        except (BrokenPipeError, EOFError):
            raise ChildDied(self._ending()) from None
        except ChildTimeout:
            self.kill()
            raise
        if answer[0] == "error":
            raise ChildError(answer[1], answer[2])
        return answer[1]

    def start(self) -> None:
        """Starts it without waiting, so that several come up at once."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("child.py")), str(WORKER), self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self._ready = False

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is not None:
            self.kill()
        self.start()
        assert self._process is not None
        if not self._ready:
            try:
                self._answer(self._process, START_SECONDS)
            except EOFError:
                raise ChildDied(self._ending()) from None
            except ChildTimeout:
                self.kill()
                raise
            self._ready = True
        return self._process

    def _answer(self, process: "subprocess.Popen[bytes]", seconds: float) -> Any:
        assert process.stdout is not None
        deadline = time.monotonic() + seconds
        descriptor = process.stdout.fileno()
        head = _read(descriptor, 8, deadline)
        data = _read(descriptor, struct.unpack("<Q", head)[0], deadline)
        return pickle.loads(data)  # noqa: S301  from our own child

    def _ending(self) -> str:
        process = self._process
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert process is not None
            process.wait(5)
        status = process.returncode if process is not None else None
        self.kill()
        if status is not None and status < 0:
            return f"ended by signal {-status} ({signal.Signals(-status).name})"
        return f"ended with exit status {status}"

    def kill(self) -> None:
        """Ends it with all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _read(descriptor: int, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise ChildTimeout
        block = os.read(descriptor, min(size - len(data), 1 << 20))
        if not block:
            raise EOFError
        data += block
    return bytes(data)
