"""Locks that sweeps and shipments take on boards: flocks on files in the state folder, freed by the kernel when their
holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import IO, Any

from tvmops.paths import state_dir
from tvmops.user import user_name


def lock_folder() -> Path:
    """Where the lock files are."""
    return state_dir() / "leases"


def open_lock(name: str) -> IO[str]:
    """The lock file of a host (or of this machine's processor), still to be taken."""
    path = lock_folder() / name.replace("/", "_")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+", encoding="utf-8")


def take(file: IO[str], mode: int) -> bool:
    """Take the lock (fcntl.LOCK_EX or LOCK_SH) if nobody is in the way; it goes with the open file."""
    try:
        fcntl.flock(file.fileno(), mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sign(file: IO[str], purpose: str) -> None:
    """Write down who holds the lock and what for."""
    file.truncate(0)
    file.write(json.dumps(_self(purpose)))
    file.flush()


def holder(file: IO[str]) -> str:
    """Who holds the lock, for people."""
    try:
        found = json.loads(Path(file.name).read_text(encoding="utf-8"))
        return f"{found['purpose']} of {found['user']} (pid {found['pid']} on {found['on']}, since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another sweep"


def _self(purpose: str) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "user": user_name(),
        "on": socket.gethostname(),
        "purpose": purpose,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
