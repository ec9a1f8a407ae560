"""What is known of gateways from outside: their files in the state folder, and whether they live.

A gateway holds the lock on its own file for as long as it lives, so the kernel says which are alive.
"""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tvmops.board_locks import take
from tvmops.errors import RpcError
from tvmops.paths import state_dir

SCHEMA = 1
PROCESS_MARK = b"tvmops.rpc.gateway"


def folder() -> Path:
    """Where the files of all gateways are."""
    return state_dir() / "rpc"


def log_path(name: str) -> Path:
    """A gateway's log."""
    return folder() / f"{name}.log"


@dataclass(frozen=True)
class GatewayState:
    """A living gateway as it last described itself. `boards`: name -> LaneState's fields; `tracker`: where, problem."""

    name: str
    pid: int
    since: str
    address: str
    tracker_port: int
    tracker: dict[str, Any]
    boards: dict[str, dict[str, Any]]


def hold(name: str) -> IO[str] | None:
    """This process becomes the gateway of this name, until the file is closed; None when another one is."""
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (folder() / f"{name}.lock").open("a+", encoding="utf-8")
    if take(file, fcntl.LOCK_EX):
        forget(name)  # what a dead one left
        return file
    file.close()
    return None


def write_state(state: GatewayState) -> None:
    """For the gateway: describe it anew, whole or not at all."""
    path = _state_path(state.name)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"schema": SCHEMA, **vars(state)}, indent=1), encoding="utf-8")
    part.replace(path)


def forget(name: str) -> None:
    """Remove the description."""
    _state_path(name).unlink(missing_ok=True)


def alive(name: str) -> bool:
    """Whether there is a gateway of this name."""
    try:
        with (folder() / f"{name}.lock").open("r", encoding="utf-8") as file:
            return not take(file, fcntl.LOCK_SH)
    except OSError:
        return False


def gateway(name: str) -> GatewayState | None:
    """The living gateway of this name, if there is one that has described itself. Raises RpcError."""
    if not alive(name):
        return None
    try:
        found: dict[str, Any] = json.loads(_state_path(name).read_text(encoding="utf-8"))
    except OSError:
        return None  # it begins, or ends
    except ValueError as error:
        raise RpcError(f"{_state_path(name)}: cannot be read ({error})", "end that gateway: tvmops rpc.down") from None
    if found.pop("schema", None) != SCHEMA:
        raise RpcError(f"{_state_path(name)}: written by another version of tvmops", "end it with that version")
    return GatewayState(**found)


def gateways() -> list[GatewayState]:
    """All that live, by name; files of dead ones are removed. Raises RpcError."""
    found = []
    for path in sorted(folder().glob("*.json")) if folder().is_dir() else []:
        name = path.name.removesuffix(".json")
        state = gateway(name)
        if state is not None:
            found.append(state)
        elif (lock := hold(name)) is not None:  # it cannot begin while we remove what a dead one left
            lock.close()
    return found


def is_gateway(pid: int) -> bool:
    """Whether this process is a gateway's, and not another that got its number."""
    try:
        return PROCESS_MARK in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _state_path(name: str) -> Path:
    return folder() / f"{name}.json"
