"""Modules that the controller carries out itself over a host's sessions, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tvmops.playbook.actions import fetch, hosts, pause, raw, reboot, script
from tvmops.playbook.actions.action import Action

if TYPE_CHECKING:
    Carry = Callable[[Action, dict[str, Any]], dict[str, Any]]

ACTIONS: Mapping[str, Carry] = {
    "add_host": hosts.add_host,
    "fetch": fetch.fetch,
    "group_by": hosts.group_by,
    "pause": pause.pause,
    "raw": raw.raw,
    "reboot": reboot.reboot,
    "script": script.script,
    "wait_for_connection": reboot.wait_for_connection,
}

__all__ = ["ACTIONS", "Action"]
