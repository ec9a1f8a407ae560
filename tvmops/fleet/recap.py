"""How a run ended, over all hosts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.errors import HostBusy, HostUnreachable, Interrupted, TaskFailed
from tvmops.playbook.events import HostRecap


@dataclass
class Recap:
    """All hosts' recaps in inventory order.

    `exit_code`: 0, 2 (a task failed), 4 (a host unreachable), 16 (hosts busy and nothing else wrong), 130.
    """

    hosts: dict[str, HostRecap] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0
    folder: Path | None = None
    sent: dict[str, int] = field(default_factory=dict)  # bytes of content, by host

    @property
    def exit_code(self) -> int:
        """The command's exit status; unreachable hosts weigh more than failed ones, as in Ansible."""
        if self.interrupted:
            return Interrupted.exit_code
        spoiled = [one for one in self.hosts.values() if one.spoiled]
        if any(one.unreachable for one in spoiled):
            return HostUnreachable.exit_code
        codes = {one.exit_code for one in spoiled if one.failed}
        if codes == {HostBusy.exit_code}:
            return HostBusy.exit_code
        if codes or any(one.stopped for one in self.hosts.values()):
            return TaskFailed.exit_code
        return 0

    @property
    def ok(self) -> bool:
        """True when every host got to the end."""
        return self.exit_code == 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "event": "recap",
            "hosts": {name: counts(one) for name, one in self.hosts.items()},
            "exit_code": self.exit_code,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "sent": self.sent,
            "record": str(self.folder) if self.folder else None,
        }


COUNTS = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored")


def counts(recap: HostRecap) -> dict[str, int]:
    """The numbers of one host in Ansible's order."""
    return {name: getattr(recap, name) for name in COUNTS}


def recap_lines(recaps: Iterable[HostRecap], width: int | None = None) -> list[str]:
    """Ansible's PLAY RECAP; a shorter form of it where that is wider than `width` columns."""
    every = list(recaps)
    lines = [
        f"{one.host:<26} : " + " ".join(f"{name}={number!s:<4}" for name, number in counts(one).items())
        for one in every
    ]
    if width is None or all(len(line.rstrip()) <= width for line in lines):
        return lines
    longest = max(len(one.host) for one in every)
    return [f"{one.host:<{longest}} : {_short_counts(one)}" for one in every]


def _short_counts(recap: HostRecap) -> str:
    shown = ((name, number) for name, number in counts(recap).items() if number or name not in ("rescued", "ignored"))
    return " ".join(f"{name}={number}" for name, number in shown)
