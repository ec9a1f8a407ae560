"""Playbooks' variables and templates over the facts of recorded boards: what a template would write on such a board."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvmops.agent import facts
from tvmops.agent.facts.board import Board
from tvmops.paths import project_root
from tvmops.playbook.engine import plain
from tvmops.playbook.files import render_file
from tvmops.playbook.variables import Known, Scope, Written
from tvmops.source import load_yaml

BOARDS = Path(__file__).parent / "agent" / "boards"
MACHINES = {
    "jetson-nano": ("aarch64", 64),
    "rpi3b": ("armv7l", 32),
    "rk3288": ("armv7l", 32),
    "pynq-z1": ("armv7l", 32),
    "nuc": ("x86_64", 64),
    "server": ("x86_64", 64),
}


def facts_of(board: str, **changes: Any) -> dict[str, Any]:
    """The facts of a recorded board, `ansible_` and all, with changes."""
    machine, bits = MACHINES[board]
    return {**facts.gather(Board(str(BOARDS / board), machine, bits)), **changes}


class Texts:
    """What playbooks' variables and templates say about a board with these facts and host variables."""

    def __init__(self, found: Mapping[str, Any], variables: Mapping[str, Any] | None = None, *names: str) -> None:
        files = [load_yaml(project_root() / "playbooks" / "vars" / f"{name}.yml") for name in ("names", *names)]
        self.results: dict[str, Any] = {}
        layers = [Known(self.results), *map(Written, files), Written(variables or {}), Known(dict(found))]
        self._layers = layers

    def value(self, name: str) -> Any:
        return json.loads(json.dumps(plain(self._scope()[name])))

    def render(self, template: str, **more: Any) -> str:
        scope = Scope([Known(more), *self._layers])
        return render_file(project_root() / "templates" / template, scope, {})

    def _scope(self) -> Scope:
        return Scope(self._layers)
