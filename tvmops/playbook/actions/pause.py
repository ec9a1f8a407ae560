"""pause: wait for a while, or for the Enter key."""

from __future__ import annotations

import datetime
import select
import sys
import time
from typing import Any

from tvmops.playbook.actions.action import Action

POLL = 0.2  # seconds between looks at whether the run is being stopped


def pause(action: Action, args: dict[str, Any]) -> dict[str, Any]:
    """Wait; without a time, for a line from the terminal, where there is one."""
    clean = action.arguments(args)
    seconds = clean["seconds"] if clean["minutes"] is None else clean["minutes"] * 60
    begun, started = datetime.datetime.now(), time.monotonic()
    typed = ""
    if clean["prompt"] is not None or seconds is None:
        action.say(str(clean["prompt"] or "press Enter to go on"))
    if seconds is not None:
        action.wait(max(0.0, float(seconds)))
    elif sys.stdin is not None and sys.stdin.isatty():
        typed = _line(action, echo=clean["echo"])
    unit, length = ("minutes", 60.0) if clean["minutes"] is not None else ("seconds", 1.0)
    passed = time.monotonic() - started
    return {
        "changed": False, "delta": int(passed), "echo": clean["echo"], "rc": 0, "user_input": typed, "stderr": "",
        "start": str(begun), "stop": str(datetime.datetime.now()),
        "stdout": f"Paused for {round(passed / length, 2)} {unit}",
    }  # fmt: skip


def _line(action: Action, *, echo: bool) -> str:
    if not echo:
        import getpass

        return getpass.getpass("")
    while not action.stopping():
        if select.select([sys.stdin], [], [], POLL)[0]:
            return sys.stdin.readline().rstrip("\n")
    return ""
