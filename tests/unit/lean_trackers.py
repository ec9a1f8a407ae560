"""The lean server's tracker in a process of its own, and what connects to it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import Any

import wire

from tvmops.paths import project_root

LEAN = project_root() / "playbooks" / "files" / "lean"


def soon(seconds: float = 2.0) -> float:
    return time.monotonic() + seconds


class Tracker:
    """A tracker in a process of its own."""

    def __init__(self, port: int, files: int = 1024) -> None:
        self.port, self.files = port, files
        self.start()

    def start(self) -> None:
        argv = [sys.executable, "-I", str(LEAN / "rpc_tracker.py"), "--port", str(self.port)]
        limited = ["sh", "-c", f'ulimit -n {self.files}; exec "$@"', "sh", *argv]
        self.process = subprocess.Popen(limited, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert "waits on" in self.process.stdout.readline()

    def peer(self) -> Peer:
        return Peer(self.port)

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)
        assert self.process.returncode == 0


class Peer:
    """What connects to a tracker."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.sendall(wire.number(wire.TRACKER_MAGIC))
        assert wire.receive_number(self.socket, soon()) == wire.TRACKER_MAGIC

    def say(self, *message: Any) -> None:
        self.socket.settimeout(5)
        wire.send_json(self.socket, list(message))

    def hear(self, seconds: float = 5.0) -> Any:
        return wire.receive_json(self.socket, soon(seconds))

    def ask(self, *message: Any) -> Any:
        self.say(*message)
        return self.hear()

    def silent(self) -> bool:
        try:
            self.hear(0.2)
        except (TimeoutError, wire.WireError):
            return True
        return False
