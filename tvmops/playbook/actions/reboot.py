"""reboot and wait_for_connection: until the board can be reached again."""

from __future__ import annotations

import time
from typing import Any

from tvmops.errors import AgentError, HostKeyError, HostUnreachable
from tvmops.playbook.actions.action import Action

PAUSE = 1.0  # seconds between attempts to reach a board that restarts


def wait_for_connection(action: Action, args: dict[str, Any]) -> dict[str, Any]:
    """Try to reach the board until it answers."""
    clean = action.arguments(args)
    started = time.monotonic()
    if action.conduct.check:
        return {"changed": False, "elapsed": 0}
    action.wait(clean["delay"])
    problem = _reached(action, started + clean["timeout"], clean["sleep"], lambda: action.ask("ping", {}))
    elapsed = int(time.monotonic() - started)
    if problem:
        return {"changed": False, "failed": True, "elapsed": elapsed, "msg": f"timed out waiting for it: {problem}"}
    return {"changed": False, "elapsed": elapsed}


def reboot(action: Action, args: dict[str, Any]) -> dict[str, Any]:
    """Restart the board; it is back when it says that this is another boot."""
    clean = action.arguments(args)
    started = time.monotonic()
    if action.sessions.is_local():
        return {"changed": False, "elapsed": 0, "rebooted": False, "failed": True,
                "msg": "this would restart the machine that tvmops runs on"}  # fmt: skip
    if action.conduct.check:
        return {"changed": True, "elapsed": 0, "rebooted": True}
    asked = {key: clean[key] for key in ("reboot_command", "boot_time_command", "search_paths", "msg")}
    asked = {key: value for key, value in asked.items() if value is not None}
    before = action.ask("_boot", {"action": "reboot", "pre_reboot_delay": clean["pre_reboot_delay"], **asked})
    if before.get("failed"):
        return {**before, "rebooted": False, "elapsed": int(time.monotonic() - started)}
    action.say("restarting")
    look = {"boot_time_command": clean["boot_time_command"]} if clean["boot_time_command"] is not None else {}
    end = time.monotonic() + clean["reboot_timeout"]

    def is_new() -> dict[str, Any]:
        now = action.ask("_boot", {"action": "look", "test_command": clean["test_command"], **look})
        if now.get("failed"):
            return now
        if now["boot"] == before["boot"]:
            return {"failed": True, "msg": "it has not restarted yet"}
        test = now.get("test") or {"rc": 0}
        return {"failed": test["rc"] != 0, "msg": f"the test command '{clean['test_command']}' fails"}

    problem = _reached(action, end, PAUSE, is_new)
    elapsed = int(time.monotonic() - started)
    if problem:
        message = f"it is not back after {clean['reboot_timeout']} s: {problem}"
        return {"changed": True, "failed": True, "rebooted": False, "elapsed": elapsed, "msg": message}
    action.wait(clean["post_reboot_delay"])
    return {"changed": True, "rebooted": True, "elapsed": int(time.monotonic() - started)}


def _reached(action: Action, end: float, pause: float, ask: Any) -> str:
    """Ask over fresh connections until there is a good answer; why there was none when the time is up."""
    while True:
        action.sessions.reset()
        problem = ""
        try:
            answer = ask()
            if not answer.get("failed"):
                return ""
            problem = str(answer.get("msg") or "no answer")
        except HostKeyError:
            raise
        except (HostUnreachable, AgentError) as error:
            # A board that comes up refuses logins for a while, too.
            problem = error.message
        if time.monotonic() + pause >= end:
            return problem
        action.say(problem)
        action.wait(pause)
