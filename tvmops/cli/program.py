"""The command tree: `invoke NAME` inside the checkout, `tvmops NAME` anywhere."""

from __future__ import annotations

import importlib

from invoke.collection import Collection
from invoke.program import Program

import tvmops

# theme -> module; a theme's name is None where its commands stand at the top.
THEMES: dict[str, str | None] = {
    "provision": None,
    "trust": None,
    "facts": None,
    "sweep": None,
    "report": None,
    "demo": None,
    "inventory": "inventory",
    "lab": "lab",
    "stack": "stack",
    "env": "env",
    "rpc": "rpc",
}


def build_namespace() -> Collection:
    """All commands, gathered from the theme modules' COMMANDS lists."""
    root = Collection()
    for module, name in THEMES.items():
        commands = importlib.import_module(f"tvmops.cli.{module}").COMMANDS
        target = root if name is None else Collection(name)
        for item in commands:
            target.add_task(item)
        if name is not None:
            root.add_collection(target)
    return root


class _TvmopsProgram(Program):
    """Invoke's program with this project's name in its help."""

    def __init__(self) -> None:
        super().__init__(name="tvmops", binary="tvmops", namespace=build_namespace(), version=tvmops.__version__)


def main() -> None:
    """Entry point of the `tvmops` console script."""
    _TvmopsProgram().run()


if __name__ == "__main__":
    main()
