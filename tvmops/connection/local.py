"""The machine tvmops runs on, as a host: the same contract without a network."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import subprocess
import threading
import time
from types import TracebackType

from tvmops.connection.base import CLOSE_GRACE, KILL_GRACE, Deadline
from tvmops.connection.process import ShellFiles, StreamProcess
from tvmops.inventory.model import Host

RELEASE_POLL = 0.1  # seconds between looks of a reader at whether its process was released


class LocalProcess(StreamProcess):
    """A child in a session of its own, so that all its descendants can be ended together.

    One thread may release it while others read and write: a descriptor is closed only when nobody uses it, because its
    number may be another file's at once.
    """

    def __init__(self, host: Host, command: str) -> None:
        super().__init__(host, command)
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(
            ["/bin/sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, bufsize=0
        )
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self._stdin = self._child.stdin
        os.set_blocking(self._stdin.fileno(), False)
        self._readers = selectors.DefaultSelector()
        self._open_streams = 2
        self._left = False
        self._released = False
        self._reading, self._feeding = threading.Lock(), threading.Lock()
        for stream, buffer in ((self._child.stdout, self._out), (self._child.stderr, self._err)):
            self._readers.register(stream, selectors.EVENT_READ, buffer)

    def _fill(self, timeout: float) -> bool:
        deadline = Deadline(timeout)
        while not self._streams_ended():
            with self._reading:
                if self._streams_ended() or self._move(min(deadline.left(), RELEASE_POLL)):
                    return True
            if deadline.passed():
                return False
        return self._wait_exit(deadline.left())

    def _move(self, timeout: float) -> bool:
        news = False
        for key, _ in self._readers.select(timeout):
            data = os.read(key.fd, 65536)
            news = True
            if data:
                key.data.extend(data)
            else:
                self._readers.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                self._open_streams -= 1
        if not self._open_streams:
            self._readers.close()
        return news

    def _wait_exit(self, timeout: float) -> bool:
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _send(self, data: memoryview, timeout: float) -> int:
        with self._feeding:
            if self._stdin.closed:
                raise BrokenPipeError("stdin is closed")
            with contextlib.suppress(BlockingIOError):
                return os.write(self._stdin.fileno(), data)
            waiting = select.poll()
            waiting.register(self._stdin, select.POLLOUT)
        # It may be waiting for its own output to be read: then that is what happens next, unless another thread reads.
        if self._reading.acquire(blocking=False):
            try:
                for key in () if self._streams_ended() else self._readers.get_map().values():
                    waiting.register(key.fd, select.POLLIN)
            finally:
                self._reading.release()
        waiting.poll(timeout * 1000)
        return 0

    def _streams_ended(self) -> bool:
        return self._released or self._open_streams == 0

    def _exit_status(self) -> int | None:
        return self._child.poll()

    def _check_alive(self) -> None:
        """The way to a child cannot get lost."""

    def close_stdin(self) -> None:
        """End of input."""
        with self._feeding, contextlib.suppress(OSError):
            self._stdin.close()

    def kill(self) -> None:
        """End the whole group: SIGTERM, a moment to end what it started in groups of its own, SIGKILL."""
        self.close_stdin()
        # Once nothing of the group is left its number may become another's.
        if self.running():
            for number, grace in ((signal.SIGTERM, KILL_GRACE), (signal.SIGKILL, 0.0)):
                with contextlib.suppress(OSError):
                    os.killpg(self._child.pid, number)
                self._await_group(grace)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(CLOSE_GRACE)

    def leave(self) -> None:
        """Close its streams; it goes on in its own process group."""
        self._left = True
        self.release()

    def _await_group(self, seconds: float) -> None:
        # The child stays a zombie, its process id its own, until the group was dealt with.
        deadline = Deadline(seconds)
        ended = os.WEXITED | os.WNOWAIT | os.WNOHANG
        with contextlib.suppress(ChildProcessError):
            while not deadline.passed() and os.waitid(os.P_PID, self._child.pid, ended) is None:
                time.sleep(0.005)

    def running(self) -> bool:
        """Whether it, or something it left behind on its output, still lives."""
        return not self._left and (self._child.poll() is None or self._open_streams > 0)

    def release(self) -> None:
        """Close what is still open of its streams."""
        self.close_stdin()
        self._released = True
        with self._reading:
            for stream in (self._child.stdout, self._child.stderr):
                if stream is not None and not stream.closed:
                    stream.close()
            self._readers.close()


class LocalTunnel:
    """The port itself: nothing needs to be tunnelled."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.error: str | None = None

    def close(self) -> None:
        """Nothing to stop."""

    def __enter__(self) -> LocalTunnel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalConnection(ShellFiles):
    """Commands run as the user who runs tvmops."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._processes: list[LocalProcess] = []
        self._lock = threading.Lock()

    def open(self, command: str) -> LocalProcess:
        """Start `command` with /bin/sh in a process group of its own."""
        process = LocalProcess(self.host, command)
        with self._lock:
            self._processes = [one for one in self._processes if one.running()] + [process]
        return process

    def forward(self, remote_port: int) -> LocalTunnel:
        """The port itself."""
        return LocalTunnel(remote_port)

    def close(self) -> None:
        """End what still runs."""
        with self._lock:
            processes, self._processes = self._processes, []
        for process in processes:
            if process.running():
                process.kill()
            process.release()
