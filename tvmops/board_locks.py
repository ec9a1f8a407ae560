"""Leases: locks that sweeps, shipments and RPC sessions take on boards, one holder per board at a time.

They are flocks on files in the state folder, freed by the kernel when their holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tvmops.paths import state_dir
from tvmops.user import user_name

LOOK_SECONDS = 0.01  # more than a look at a lock lasts


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
    for last in (False, True):
        try:
            fcntl.flock(file.fileno(), mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if last:
                return False
            time.sleep(LOOK_SECONDS)  # it may only have been looked at (lease_of)
        else:
            return True
    raise AssertionError("unreachable")


@dataclass(frozen=True)
class Lease:
    """Who holds a board. `since` and `until` are local times; `until` is empty where nothing ends it but its holder."""

    host: str
    purpose: str
    user: str
    pid: int | None
    on: str
    since: str
    until: str = ""

    def __str__(self) -> str:
        end = f", until {self.until}" if self.until else ""
        return f"{self.purpose} of {self.user} (pid {self.pid} on {self.on}, since {self.since}{end})"


def sign(file: IO[str], purpose: str, *, user: str = "", pid: int | None = None, seconds: float | None = None) -> None:
    """Write down who holds the lock and what for: this process, or the one it holds it for; for `seconds` at most."""
    now = time.time()
    document = {
        "pid": pid or os.getpid(),
        "user": user or user_name(),
        "on": socket.gethostname(),
        "purpose": purpose,
        "since": _local(now),
        "until": _local(now + seconds) if seconds is not None else "",
    }
    file.truncate(0)
    file.write(json.dumps(document))
    file.flush()


def holder(file: IO[str]) -> str:
    """Who holds the lock, for people."""
    path = Path(file.name)
    return str(_read(path) or "another sweep")


def lease_of(name: str) -> Lease | None:
    """Who holds a host at this moment; None when nobody does. What a dead holder left is nobody's."""
    return _look(lock_folder() / name.replace("/", "_"))


def leases() -> list[Lease]:
    """All that are held on this machine, by host."""
    if not lock_folder().is_dir():
        return []
    found = (_look(path) for path in sorted(lock_folder().iterdir()))
    return [lease for lease in found if lease is not None]


def _look(path: Path) -> Lease | None:
    try:
        with path.open("r", encoding="utf-8") as file:
            # Shared, so that two who look are not in each other's way.
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path) or Lease(path.name, "a job", "unknown", None, socket.gethostname(), "unknown")
    except OSError:
        pass  # never held
    return None


def _read(path: Path) -> Lease | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Lease(
            path.name,
            str(found["purpose"]),
            str(found["user"]),
            int(found["pid"]),
            str(found["on"]),
            str(found["since"]),
            str(found.get("until", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _local(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
