"""Which process of this machine is behind a loopback connection, as /proc has it."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Caller:
    """Who has connected. `pid` is None when the process belongs to another user, or to another machine."""

    user: str
    pid: int | None
    program: str


def caller_of(peer: socket.socket) -> Caller:
    """Who is behind this connection."""
    try:
        address, port = peer.getpeername()[:2]
    except OSError:
        return Caller("somebody who has left", None, "")
    inode, uid = _socket_of(address, port, peer.getsockname()[1])
    if not inode:
        return Caller(str(address), None, "")
    pid = _holder(inode)
    return Caller(_name(uid), pid, _program(pid) if pid is not None else "")


def _socket_of(address: str, port: int, own_port: int) -> tuple[str, int]:
    """(inode, user) of the socket at the other end, when that is here; else ("", -1)."""
    wanted = (f"{_hexadecimal(address)}:{port:04X}", f"{own_port:04X}")
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if (fields[1], fields[2].rpartition(":")[2]) == wanted:
                return fields[9], int(fields[7])
    return "", -1


def _hexadecimal(address: str) -> str:
    try:
        return socket.inet_aton(address)[::-1].hex().upper()
    except OSError:
        return ""


def _holder(inode: str) -> int | None:
    link = f"socket:[{inode}]"
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(_target(one) == link for one in folder.iterdir()):
                return int(folder.parent.name)
    return None


def _target(link: Path) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115  a str is compared
    except OSError:
        return ""  # closed meanwhile


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
