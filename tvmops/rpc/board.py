"""What one needs to know of a host to handle its RPC server: port, folder, Python, and how to become root there."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmops.connection import CommandResult, Connection, become_settings
from tvmops.connection import become as becoming
from tvmops.connection.options import boolean, python_interpreter
from tvmops.errors import ConfigError, HostUnreachable, RpcError
from tvmops.inventory import Host
from tvmops.paths import project_root

DEFAULT_PORT = 9090
DEFAULT_PREFIX = "/opt/tvmops"
UNIT = "tvm-rpc-server.service"
SHORT_SECONDS = 30.0
INSPECTOR = Path("playbooks/files/rpc_port.py")
WORD = re.compile(r"[A-Za-z0-9_./+-]*")  # as playbooks/tasks/service-check.yml wants keys


@dataclass(frozen=True)
class ServerPlace:
    """Where a host's RPC server is and who owns it. `unprivileged`: no systemd unit, everything is the login user's.

    `key` is what its clients have to ask for; with a `tracker` it serves those only whom that sends.
    """

    port: int
    prefix: str
    python: str
    unprivileged: bool
    key: str = ""
    tracker: str = ""

    @staticmethod
    def of(host: Host) -> ServerPlace:
        """The place that the host's variables say. Raises ConfigError."""
        port = host.vars.get("tvm_rpc_port", DEFAULT_PORT)
        if not str(port).isdigit() or not 0 < int(port) < 65535:
            where = host.origins.get("tvm_rpc_port", host.name)
            raise ConfigError(f"{where}: tvm_rpc_port: {port!r} is no port number", "give a number from 1 to 65534")
        key = str(host.vars.get("tvm_rpc_key") or "")
        if not WORD.fullmatch(key):
            where = host.origins.get("tvm_rpc_key", host.name)
            raise ConfigError(f"{where}: tvm_rpc_key: {key!r} is no word", "letters, digits and _./+- make a key")
        prefix = str(host.vars.get("tvmops_prefix") or DEFAULT_PREFIX).rstrip("/")
        python = python_interpreter(host) or "python3"
        return ServerPlace(
            int(port),
            prefix,
            python,
            boolean(host, "tvmops_unprivileged", False),
            key=key,
            tracker=str(host.vars.get("tvm_rpc_tracker") or ""),
        )


@dataclass(frozen=True)
class PortState:
    """Who listens on the RPC port. `sessions` are the processes that serve a client at this moment."""

    pid: int | None
    name: str
    command: str
    listening: bool
    tvm: bool
    release: str | None
    sessions: tuple[int, ...]

    @property
    def foreign(self) -> bool:
        """Whether another program than TVM's RPC server has the port."""
        return self.listening and not self.tvm

    @property
    def key(self) -> str | None:
        """The key that the server was started with; None when its command line is not known."""
        if not self.tvm or not self.command:
            return None
        found = re.search(r"--key[= ](\S+)", self.command)
        return found[1] if found else ""


def run_as_owner(
    connection: Connection, place: ServerPlace, script: str, *, stdin: bytes = b"", timeout: float = SHORT_SECONDS
) -> CommandResult:
    """Run a shell script as the user that owns the server: root, or the login user on an unprivileged host.

    Raises BecomeError, HostUnreachable when it lasts more than `timeout` seconds.
    """
    become = None if place.unprivileged else become_settings(connection.host, become=True)
    process = becoming.start(connection, become, script)
    try:
        if stdin:
            process.write(stdin)
        process.close_stdin()
        lines = []
        while (line := process.read_line(timeout)) is not None:
            lines.append(line.decode("utf-8", "replace"))
        return CommandResult(process.wait(timeout), "\n".join(lines), process.stderr_text())
    except HostUnreachable:
        process.kill()
        raise


def look(connection: Connection, place: ServerPlace) -> PortState:
    """Who has the RPC port, seen from inside the board. Raises RpcError when the board cannot be looked at."""
    source = (project_root() / INSPECTOR).read_bytes()
    script = f"{shlex.quote(place.python)} - state {place.port}"
    done = run_as_owner(connection, place, script, stdin=source)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise RpcError(
            f"{connection.host.name}: cannot look at port {place.port}: {' '.join(reason) or done.rc}",
            f"does {place.python} work there?",
        ) from None
    listener = found["listener"] or {}
    return PortState(
        pid=listener.get("pid"),
        name=str(listener.get("name") or "a program of another user"),
        command=str(listener.get("command") or ""),
        listening=found["listener"] is not None,
        tvm=bool(listener.get("tvm")),
        release=listener.get("release"),
        sessions=tuple(found["sessions"]),
    )
