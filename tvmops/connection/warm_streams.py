"""In the keeper: bytes between a command's Unix connection and a channel of the ssh session."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from typing import Any

from paramiko.ssh_exception import SSHException

from tvmops.connection import warm_wire as wire
from tvmops.connection.process import PIECE
from tvmops.connection.ssh import SshProcess
from tvmops.errors import TvmopsError

HELD = 4 * PIECE  # bytes of input that may wait for the host's window
WINDOW_WAIT = 50  # milliseconds between looks at a window that is full
STATUS_WAIT = 0.02  # seconds between looks for an exit status that follows the end of output
RAW_PIECE = 65536


class _Gone(Exception):
    """The command has ended, or said that it is done with this process."""


class _Carrier:
    """One process's streams, moved by one thread."""

    def __init__(self, connection: socket.socket, process: SshProcess) -> None:
        self._connection = connection
        self._process = process
        self._frames = wire.Frames()
        self._input = bytearray()
        self._input_ends = False
        self._told_end = False

    def run(self) -> None:
        """Until the exit status was told. Raises _Gone."""
        news = self._process.descriptor()
        while not self._told_status():
            poll = select.poll()
            poll.register(self._connection, select.POLLIN if len(self._input) < HELD else 0)
            if not self._told_end:
                poll.register(news, select.POLLIN)
            events = poll.poll(WINDOW_WAIT if self._input else int(STATUS_WAIT * 1000) if self._told_end else None)
            if any(descriptor == self._connection.fileno() for descriptor, _ in events):
                self._take_frames()
            self._send_input()
            if not self._told_end:
                self._process._fill(0.0)
                self._tell_output()

    def _take_frames(self) -> None:
        data = self._connection.recv(262144)
        if not data:
            raise _Gone
        for kind, body in self._frames.feed(data):
            if kind == wire.STDIN:
                self._input += body
            elif kind == wire.END_INPUT:
                self._input_ends = True
            elif kind == wire.KILL:
                self._process.kill()
                self._connection.sendall(wire.framed(wire.STATUS, b"-9"))
                raise _Gone
            elif kind == wire.LEAVE:
                self._process.leave()
                raise _Gone

    def _send_input(self) -> None:
        try:
            while self._input:
                sent = self._process._send(memoryview(bytes(self._input[:PIECE])), 0.0)
                if sent == 0:
                    return
                del self._input[:sent]
        except BrokenPipeError:
            self._input.clear()
            self._connection.sendall(wire.framed(wire.DEAF))
        if self._input_ends:
            self._input_ends = False
            self._process.close_stdin()

    def _tell_output(self) -> None:
        for kind, data in zip((wire.STDOUT, wire.STDERR), self._process.take_output(), strict=True):
            for start in range(0, len(data), RAW_PIECE):
                self._connection.sendall(wire.framed(kind, data[start : start + RAW_PIECE]))
        if self._process._streams_ended():
            self._connection.sendall(wire.framed(wire.ENDED))
            self._told_end = True

    def _told_status(self) -> bool:
        if not self._told_end:
            return False
        status = self._process._exit_status()
        if status is None:
            self._process._check_alive()
            return False
        self._connection.sendall(wire.framed(wire.STATUS, str(status).encode()))
        return True


def carry(connection: socket.socket, process: SshProcess) -> None:
    """Move bytes until the process has ended or its command has gone."""
    try:
        _Carrier(connection, process).run()
    except (_Gone, OSError):
        pass  # whoever holds the session decides what becomes of the process
    except TvmopsError as error:
        with contextlib.suppress(OSError):
            connection.sendall(wire.framed(wire.LOST, json.dumps(wire.described(error)).encode()))


def carry_raw(connection: socket.socket, channel: Any) -> None:
    """Move bytes both ways until both sides have ended; closes the channel."""

    def back() -> None:
        with contextlib.suppress(OSError, SSHException, EOFError):
            while data := channel.recv(RAW_PIECE):
                connection.sendall(data)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR if channel.closed else socket.SHUT_WR)

    thread = threading.Thread(target=back, daemon=True)
    thread.start()
    try:
        with contextlib.suppress(OSError, SSHException, EOFError):
            while data := connection.recv(RAW_PIECE):
                channel.sendall(data)
        with contextlib.suppress(OSError, SSHException, EOFError):
            channel.shutdown_write()
        thread.join()
    finally:
        with contextlib.suppress(OSError, SSHException, EOFError):
            channel.close()
