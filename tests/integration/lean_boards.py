"""Boards without root whose release has the lean RPC server: what is on them, their variables, an inventory of them."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
from pathlib import Path
from typing import Any

from ssh_servers import Sshd

from tvmops.paths import project_root

LEAN = project_root() / "playbooks" / "files" / "lean"
KEY = "00112233445566aa"
STACK = "relay-0.19"


def tvm_library(python: Path) -> Path:
    """The runtime library of the TVM that this interpreter has, as its wheel brings it."""
    (found,) = python.parents[1].glob("lib/python3*/site-packages/tvm/libtvm_runtime.so")
    return found


def make_lean_prefix(prefix: Path, library: Path) -> Path:
    """A prefix whose current release has the lean server."""
    release = prefix / "releases" / KEY
    shutil.copytree(LEAN, release / "libexec", ignore=shutil.ignore_patterns("__pycache__"))
    (release / "lib").mkdir()
    shutil.copy(library, release / "lib")
    manifest = {"server": "lean", "options": {"USE_RPC": "ON", "USE_SORT": "ON", "USE_CUDA": "OFF"}, "files": {}}
    (release / "manifest.json").write_text(json.dumps(manifest))
    (release / "VERSION").write_text(f"stack={STACK}\ntvm=0.19.0\narch=x86_64\nkey={KEY}\n")
    (prefix / "current").symlink_to(f"releases/{KEY}")
    return prefix


def fixed_port() -> int:
    """A free loopback port that the kernel gives to nobody who asks for any: boards share this machine with tunnels."""
    (first, _) = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    while True:
        port = random.randrange(10000, int(first))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def board_variables(prefix: Path, sshd: Sshd | None = None, **more: Any) -> dict[str, Any]:
    """How a board is reached (here, or through ssh), where its release is, a port of its own."""
    reached = sshd.vars() if sshd is not None else {"ansible_connection": "local"}
    own = {"tvmops_unprivileged": True, "tvmops_prefix": str(prefix), "tvm_rpc_port": fixed_port()}
    return {**reached, **own, **more}


def write_inventory(path: Path, boards: dict[str, dict[str, Any]], group: str = "shelf") -> Path:
    """An inventory with these hosts in one group."""
    path.write_text(json.dumps({"all": {"children": {group: {"hosts": boards}}}}))
    return path
