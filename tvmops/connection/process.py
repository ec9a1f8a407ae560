"""What local and remote processes share: line buffering, deadlines, writing without deadlock, files through `cat`."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import time
from abc import ABC, abstractmethod

from tvmops.connection.base import POST_STALL, SEND_STALL, CommandResult, Deadline, unreachable
from tvmops.errors import TvmopsError
from tvmops.inventory.model import Host

PIECE = 32768  # bytes handed to the transport at a time


class StreamProcess(ABC):
    """A process seen through three streams. Subclasses move bytes; this class waits, splits and gives up in time."""

    def __init__(self, host: Host, command: str) -> None:
        self.host = host
        self.command = command
        self._out = bytearray()
        self._err = bytearray()
        self._scanned = 0  # how much of _out is known to hold no newline

    @abstractmethod
    def _fill(self, timeout: float) -> bool:
        """Move what has arrived into _out and _err, waiting at most `timeout` s; True when something came or ended."""

    @abstractmethod
    def _send(self, data: memoryview, timeout: float) -> int:
        """Send some of `data`; the bytes taken within `timeout` s. Raises BrokenPipeError when none ever will be."""

    @abstractmethod
    def _streams_ended(self) -> bool: ...

    @abstractmethod
    def _exit_status(self) -> int | None: ...

    @abstractmethod
    def close_stdin(self) -> None:
        """End of input."""

    @abstractmethod
    def kill(self) -> None:
        """End it and its process group now. Never raises."""

    @abstractmethod
    def leave(self) -> None:
        """Let it run on without us. Never raises."""

    @abstractmethod
    def _check_alive(self) -> None:
        """Raise HostUnreachable when the way to the process is gone."""

    def write(self, data: bytes) -> None:
        """Send all of `data` to stdin; output that arrives meanwhile is kept, so neither side can block the other."""
        self._write(data, None)

    def post(self, data: bytes) -> None:
        """Send a short message without looking at the output, so that any thread may do it."""
        view = memoryview(data)
        deadline = Deadline(POST_STALL)
        while view:
            view = view[self._send(view, 0.05) :]
            if view and deadline.passed():
                raise unreachable(self.host, f"took no input for {POST_STALL:.0f} s")

    def _write(self, data: bytes, deadline: Deadline | None) -> None:
        view = memoryview(data)
        last = time.monotonic()
        while view:
            sent = self._send(view[:PIECE], 0.05)
            view = view[sent:]
            if sent:
                last = time.monotonic()
                continue
            self._fill(0.0)
            self._check_alive()
            stalled = time.monotonic() - last > SEND_STALL
            if stalled or (deadline is not None and deadline.passed()):
                raise unreachable(self.host, f"went silent: took no input for {time.monotonic() - last:.0f} s")

    def take_line(self) -> bytes | None:
        """A complete line that has already arrived, or the unfinished last one at the end; else None."""
        newline = self._out.find(b"\n", self._scanned)
        if newline >= 0:
            line = bytes(self._out[:newline])
            del self._out[: newline + 1]
            self._scanned = 0
            return line
        self._scanned = len(self._out)
        if self._out and self._streams_ended():
            rest = bytes(self._out)
            self._out.clear()
            self._scanned = 0
            return rest
        return None

    def ended(self) -> bool:
        """Whether the streams have ended and stdout was read to its end."""
        return self._streams_ended() and not self._out

    def wait_output(self, timeout: float) -> bool:
        """Wait until something arrives or ends; False when `timeout` seconds passed without."""
        return self._fill(timeout)

    def read_line(self, timeout: float) -> bytes | None:
        """The next line of stdout; None at the end. Raises HostUnreachable after `timeout` seconds without a byte."""
        while True:
            line = self.take_line()
            if line is not None:
                return line
            if self.ended():
                self._check_alive()
                return None
            if not self._fill(timeout) and not self._streams_ended():
                raise unreachable(
                    self.host,
                    f"went silent: nothing arrived for {timeout:.0f} s",
                    "the board may hang or the network may be down; log in by hand to see",
                )

    def take_output(self) -> tuple[bytes, bytes]:
        """All that has arrived of stdout and stderr since the last call, for who passes it on."""
        taken = bytes(self._out), bytes(self._err)
        self._out.clear()
        self._err.clear()
        self._scanned = 0
        return taken

    def stderr_text(self) -> str:
        """What has come on stderr so far."""
        return self._err.decode("utf-8", "replace")

    def wait(self, timeout: float) -> int:
        """The exit status; output that arrives meanwhile is kept."""
        deadline = Deadline(timeout)
        while True:
            status = self._exit_status()
            if status is not None and self._streams_ended():
                return status
            if deadline.passed():
                raise unreachable(self.host, f"`{shorten(self.command)}` did not finish within {timeout:.0f} s")
            self._fill(deadline.left())
            if self._exit_status() is None and self._streams_ended():
                self._check_alive()

    def communicate(self, stdin: bytes, timeout: float) -> tuple[int, bytes, bytes]:
        """Feed `stdin`, collect both outputs, wait for the end: (rc, stdout, stderr). Kills it when time is up."""
        deadline = Deadline(timeout)
        try:
            # A program may end without reading all of its input.
            with contextlib.suppress(BrokenPipeError):
                self._write(stdin, deadline)
            self.close_stdin()
            rc = self.wait(deadline.left())
        except BaseException as error:
            self.kill()
            if deadline.passed() and isinstance(error, TvmopsError):
                text = f"`{shorten(self.command)}` did not finish within {timeout:.0f} s"
                raise unreachable(self.host, text) from error
            raise
        return rc, bytes(self._out), bytes(self._err)


def shorten(command: str, limit: int = 80) -> str:
    """A command for a message: one line, not too long."""
    line = " ".join(command.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def shell_path(path: str) -> str:
    """`path` quoted for sh; a leading ~/ means the login user's home."""
    return '"$HOME"/' + shlex.quote(path[2:]) if path.startswith("~/") else shlex.quote(path)


class ShellFiles(ABC):
    """`run`, `put` and `get` on top of `open`, for any host that has a POSIX shell."""

    host: Host

    @abstractmethod
    def open(self, command: str) -> StreamProcess:
        """Start a command."""

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 60.0) -> CommandResult:
        """Run a command to its end."""
        rc, out, err = self.open(command).communicate(stdin, timeout)
        return CommandResult(rc, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def put(self, data: bytes, remote: str, mode: int = 0o600) -> None:
        """Write a file atomically through `cat`, so that a board without sftp-server will do.

        Size and, where the board has sha256sum, content are compared before the rename: a connection that
        dies half-way looks like the end of the file to `cat`.
        """
        target = shell_path(remote)
        digest = hashlib.sha256(data).hexdigest()
        script = (
            f"umask 077; new={target}.tvmops-$$; trap 'rm -f \"$new\"' EXIT; "
            f'cat > "$new" || exit 1; '
            f'[ "$(wc -c < "$new")" -eq {len(data)} ] || {{ echo "cut short" >&2; exit 1; }}; '
            f'if command -v sha256sum > /dev/null 2>&1; then case "$(sha256sum < "$new")" in {digest}*) ;; '
            f'*) echo "arrived damaged" >&2; exit 1;; esac; fi; '
            f'chmod {mode:o} "$new" && mv -f "$new" {target}'
        )
        # A slow board gets a second per 64 KiB on top of the minute.
        rc, _, err = self.open(script).communicate(data, 60.0 + len(data) / 65536)
        if rc != 0:
            raise TvmopsError(f"{self.host.name}: cannot write {remote}: {_reason(err, rc)}")

    def get(self, remote: str) -> bytes:
        """A file's content. Raises TvmopsError when it cannot be read."""
        rc, out, err = self.open(f"exec cat < {shell_path(remote)}").communicate(b"", 600.0)
        if rc != 0:
            raise TvmopsError(f"{self.host.name}: cannot read {remote}: {_reason(err, rc)}")
        return out


def _reason(stderr: bytes, rc: int) -> str:
    return stderr.decode("utf-8", "replace").strip() or f"exit status {rc}"
