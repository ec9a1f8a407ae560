"""What the child processes of the tuning tests run instead of TVM: trials say what happens to them.

A trial's data is "KIND" or "KIND SECONDS"; a board whose key is the path of a file is dead while that file exists.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


class InstantiationError(Exception):
    """As TVM's."""


class NoSession(Exception):
    """As running.py's."""


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Writes an artifact that says what running it does."""
    kind = request["data"].split()[0]
    if kind == "invalid":
        raise InstantiationError("knob 3 contradicts knob 4")
    if kind == "refused":
        raise RuntimeError("the compiler refuses")
    if kind == "builder_crash":
        os.abort()
    if kind == "builder_hang":
        time.sleep(600)
    path = Path(request["folder"]) / f"{os.getpid()}-{time.monotonic_ns()}"
    path.write_text(request["data"])
    return {"artifact": str(path), "args": [], "entry": None}


def run(request: dict[str, Any]) -> list[float]:
    """Does it."""
    board = request["rpc"]
    if board and Path(board["key"]).exists():
        raise NoSession("nothing listens there")
    kind, *seconds = Path(request["artifact"]).read_text().split()
    if kind == "crash":
        os.abort()
    if kind == "hang":
        time.sleep(600)
    if kind == "fails":
        raise RuntimeError("CUDA: out of registers")
    if kind == "kills" and board:
        Path(board["key"]).touch()
        os.abort()
    return [float(seconds[0])] * request["repeat"]


def probe(request: dict[str, Any]) -> bool:
    """Dead boards do not answer."""
    if Path(request["rpc"]["key"]).exists():
        raise NoSession("connection refused")
    return True
