"""Restarting a board's RPC server: a systemd unit, or a process group of the login user where there is no root."""

from __future__ import annotations

import shlex
from pathlib import Path

from tvmops.connection import CommandResult, Connection
from tvmops.errors import RpcError
from tvmops.paths import project_root
from tvmops.rpc.board import SHORT_SECONDS, UNIT, ServerPlace, run_as_owner

RESTART_SECONDS = 60.0
SHOWN_LINES = 8
DETACHED = Path("playbooks/files/rpc_detached.py")


def restart(connection: Connection, place: ServerPlace) -> None:
    """Stop what is left of the server, all of its processes, and start it. Does not wait for it to answer.

    Raises RpcError, BecomeError, HostUnreachable.
    """
    if place.unprivileged:
        done = _detached(connection, place, f"start {shlex.quote(place.prefix)} {place.port} {shlex.quote(place.key)}")
    else:
        # reset-failed: a unit that failed often must not wait for its rate limit.
        script = f"systemctl reset-failed {UNIT} 2>/dev/null; systemctl restart {UNIT}"
        done = run_as_owner(connection, place, script, timeout=RESTART_SECONDS)
    if done.rc != 0:
        raise RpcError(
            f"{connection.host.name}: the RPC server cannot be restarted: {_reason(done)}",
            f"provision it: tvmops provision --host {connection.host.name}",
        )


def stop(connection: Connection, place: ServerPlace) -> None:
    """Stop the server and everything it started. Raises RpcError, BecomeError, HostUnreachable."""
    if place.unprivileged:
        done = _detached(connection, place, f"stop {shlex.quote(place.prefix)}")
    else:
        done = run_as_owner(connection, place, f"systemctl stop {UNIT}", timeout=RESTART_SECONDS)
    if done.rc != 0:
        raise RpcError(f"{connection.host.name}: the RPC server cannot be stopped: {_reason(done)}")


def last_words(connection: Connection, place: ServerPlace) -> str:
    """The end of the server's log; empty when there is none."""
    if place.unprivileged:
        script = f"tail -n {SHOWN_LINES} {shlex.quote(place.prefix + '/run/server.log')}"
    else:
        script = f"journalctl -q -u {UNIT} -n {SHOWN_LINES} -o cat --no-pager"
    return run_as_owner(connection, place, script, timeout=SHORT_SECONDS).stdout.strip()


def _detached(connection: Connection, place: ServerPlace, arguments: str) -> CommandResult:
    source = (project_root() / DETACHED).read_bytes()
    script = f"{shlex.quote(place.python)} - {arguments}"
    return run_as_owner(connection, place, script, stdin=source, timeout=RESTART_SECONDS)


def _reason(done: CommandResult) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit status {done.rc}"
