"""Starts the agent of a host: upgraded, or brought its Python, as needed.

In the usual case one command finds Python and the unpacked agent and becomes it: the first line that comes back is
already the agent's. Under become the whole command runs through one sudo, and the agent is kept in the become user's
own cache, where the login user cannot change it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from tvmops.connection import become as becoming
from tvmops.connection.base import CLOSE_GRACE, Become, Connection, Process
from tvmops.connection.bootstrap import install_python
from tvmops.connection.installer import launch_script
from tvmops.connection.options import python_interpreter
from tvmops.connection.payload import agent_zipapp
from tvmops.errors import AgentError, HostUnreachable, TvmopsError
from tvmops.inventory import Host

PROTOCOL = 2
READY_TIMEOUT = 60.0  # seconds from the start of Python to "ready"; an old board on a worn card is slow
SHOWN_STDERR = 15  # lines

_COMPLAINTS = {
    "tvmops:old-python": (
        "its Python is {}; the agent needs 3.5 or later",
        "install a newer Python there and name it: ansible_python_interpreter",
    ),
    "tvmops:damaged": ("the agent arrived damaged", "try again; if it happens again, check the board's memory"),
    "tvmops:no-place": (
        "there is no place for the agent: {}",
        "free some space, or make one of these folders writable for the user who logs in",
    ),
}


def start_agent(
    connection: Connection, become: Become | None, notify: Callable[[str], None], ready_timeout: float
) -> tuple[Process, dict[str, Any]]:
    """The agent's process and its "ready", at most `ready_timeout` seconds after each sign of life.

    Raises AgentError, BecomeError, HostUnreachable.
    """
    host = connection.host
    payload, digest = agent_zipapp()
    script = launch_script(digest, len(payload), python_interpreter(host))
    installed = False
    while True:
        process = becoming.start(connection, become, script)
        try:
            ready = _await_ready(host, process, payload, notify, ready_timeout)
        except BaseException:
            process.kill()
            raise
        if isinstance(ready, dict):
            return process, ready
        process.kill()
        if installed:
            raise AgentError(f"{host.name}: {ready}, although apt-get has just installed python3")
        installed = True
        notify(f"{ready}; installing python3")
        install_python(connection, become, ready, notify)


def parse_event(host: str, line: bytes) -> dict[str, Any]:
    """A line of the agent's. Raises AgentError for what is none."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise AgentError(f"{host}: the agent broke the protocol with {line[:120]!r}")
    return event


def broke_down(host: str, process: Process, what: str) -> TvmopsError:
    """The error that tells how the agent's process ended."""
    try:
        rc = process.wait(CLOSE_GRACE)
    except HostUnreachable as error:
        return error
    lines = process.stderr_text().strip().splitlines()[-SHOWN_STDERR:]
    shown = "".join(f"\n    {line}" for line in lines)
    return AgentError(f"{host}: the agent {what} (exit status {rc}){':' + shown if shown else ''}")


def _await_ready(
    host: Host, process: Process, payload: bytes, notify: Callable[[str], None], timeout: float
) -> dict[str, Any] | str:
    """The agent's "ready"; or what is missing and can be installed."""
    while True:
        line = process.read_line(timeout)
        if line is None:
            raise broke_down(host.name, process, "did not start")
        if line.startswith(b"{"):
            event = parse_event(host.name, line)
            if event.get("ev") == "fatal":
                raise AgentError(f"{host.name}: the agent cannot start: {event.get('msg', '')}")
            if event.get("ev") == "ready":
                return _checked(host, event)
            continue
        word, _, rest = line.decode("utf-8", "replace").partition(" ")
        if word == "tvmops:need-agent":
            notify("sending the agent")
            with contextlib.suppress(BrokenPipeError):  # what it says instead comes next
                process.write(payload)
        elif word in ("tvmops:need-python", "tvmops:no-module"):
            return _missing(host, word, rest)
        elif word in _COMPLAINTS:
            message, hint = _COMPLAINTS[word]
            raise AgentError(f"{host.name}: {message.format(rest)}", hint)


def _checked(host: Host, ready: dict[str, Any]) -> dict[str, Any]:
    if ready.get("protocol") != PROTOCOL:
        raise AgentError(f"{host.name}: the agent speaks protocol {ready.get('protocol')}, not {PROTOCOL}")
    return ready


def _missing(host: Host, word: str, rest: str) -> str:
    given = python_interpreter(host)
    if given not in (None, "python3", "/usr/bin/python3"):
        what = "there is no such program" if word == "tvmops:need-python" else f"its library is incomplete: {rest}"
        raise AgentError(
            f"{host.name}: ansible_python_interpreter: {given}: {what}",
            "correct the variable, or remove it to let tvmops find or install python3",
        )
    return "python3 is missing" if word == "tvmops:need-python" else f"python3 is incomplete ({rest})"
