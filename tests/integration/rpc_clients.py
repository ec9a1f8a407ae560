"""Clients of TVM's RPC servers: a real TVM 0.19 in a process of its own, and the first words of one by hand."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

from tvmops.rpc.handshake import MAGIC

CLIENT = Path(__file__).with_name("relay_client.py")


def relay_client(python: Path, action: str, **arguments: object) -> dict[str, Any]:
    """What relay_client.py's action printed; `python` is an interpreter that has TVM 0.19."""
    words = [f"{name}={value}" for name, value in arguments.items()]
    done = subprocess.run([python, CLIENT, action, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def say(port: int, key: bytes) -> socket.socket:
    """A connection to a server here, which has been told this key."""
    peer = socket.create_connection(("127.0.0.1", port), 5)
    peer.sendall(struct.pack("<ii", MAGIC, len(key)) + key)
    return peer
