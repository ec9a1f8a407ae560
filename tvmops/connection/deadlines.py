"""How long a host may take for what: the inventory's word, else the command line's, else the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvmops.connection.options import first
from tvmops.errors import ConfigError
from tvmops.inventory.model import Host

CONNECT = 15.0  # seconds until a command can be started: address, socket, banner, host key, authentication, all jumps
READY = 60.0  # seconds from the start of Python to the agent's first word; an old board on a worn card is slow
SILENCE = 30.0  # seconds without a word from an agent, which says something every five
LEAST_SILENCE = 6.0


@dataclass(frozen=True)
class Deadlines:
    """All in seconds."""

    connect: float = CONNECT
    ready: float = READY
    silence: float = SILENCE


def deadlines(host: Host, connect: float | None = None) -> Deadlines:
    """A host's deadlines; `connect` is --timeout. Raises ConfigError."""
    return Deadlines(
        connect=_seconds(host, connect or CONNECT, 0.1, "ansible_ssh_timeout", "ansible_timeout"),
        ready=_seconds(host, READY, 1.0, "tvmops_ready_timeout"),
        silence=_seconds(host, SILENCE, LEAST_SILENCE, "tvmops_silence_timeout"),
    )


def _seconds(host: Host, default: float, least: float, *names: str) -> float:
    value: Any = first(host, *names)
    if value is None:
        return default
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = -1.0
    if not least <= seconds < 86400.5:
        name = next(name for name in names if host.vars.get(name) is not None)
        origin = getattr(host, "origins", {}).get(name)
        raise ConfigError(
            f"{f'{origin}: ' if origin else ''}{host.name}: {name}: '{value}' is not a time",
            f"seconds, from {least:g} to 86400",
        )
    return seconds
