"""Modules that the controller carries out itself over a host's sessions, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvmops.playbook.alone import Alone
    from tvmops.playbook.prepare import Step


class Action:
    """What a controller module may use: the host's sessions, the task's keywords, and a way to be shown."""

    def __init__(self, alone: Alone, step: Step) -> None:
        self.alone = alone
        self.step = step


ACTIONS: Mapping[str, Callable[[Action, dict[str, Any]], dict[str, Any]]] = {}
