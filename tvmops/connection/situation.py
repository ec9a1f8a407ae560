"""What an agent says about other runs on its board, in words."""

from __future__ import annotations

import time
from typing import Any

from tvmops.errors import HostBusy


def busy(host: str, lease: dict[str, Any]) -> HostBusy:
    """The error for a host that another run holds; it says whose, since when, at what, and what to do."""
    if lease.get("lasts") == 0:
        return HostBusy(
            f"{host}: held by {whose(lease)}, whose agent there hangs",
            "take the board from it: --steal",
        )
    return HostBusy(f"{host}: busy with {whose(lease)}", f"wait for it: --wait; watch it: tvmops attach --host {host}")


def whose(lease: dict[str, Any]) -> str:
    """Owner, playbook, age and running task of the run that holds a board."""
    text = f"{lease.get('owner') or 'somebody'}'s run of {lease.get('what') or 'a playbook'}"
    since, age = lease.get("since"), lease.get("age")
    if isinstance(since, (int, float)) and isinstance(age, (int, float)):
        text += f" (since {clock_time(since)}, {duration(age)} ago)"
    return f"{text}, at '{lease['task']}'" if lease.get("task") else text


def clock_time(seconds: float) -> str:
    """A time of the board's clock, with the date when that is another than today's."""
    try:
        then = time.localtime(seconds)
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
    same_day = time.strftime("%Y%m%d", then) == time.strftime("%Y%m%d")
    return time.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M", then)


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length or (unit == "minute" and seconds >= length):
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    count = int(seconds)
    return f"{count} second{'' if count == 1 else 's'}"
