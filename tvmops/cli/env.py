"""The commands `env.create` and `env.lock`: the Python environments in which stacks compile."""

from __future__ import annotations

import sys
from typing import Any

from tvmops.cli.common import command


@command(
    iterable=["extra"],
    help={
        "stack": "name of a stack: a file in stacks/ without its .yml",
        "extra": "a further set of packages of the stack, e.g. torch; may be given more than once",
        "quiet": "print only the interpreter's path",
    },
)
def create(ctx: Any, stack: str = "relax-0.27", extra: list[str] | None = None, quiet: bool = False) -> None:
    """Make (or find) a stack's compiling environment and print its interpreter's path."""
    from tvmops.stack.environment import ensure_environment
    from tvmops.stack.spec import load_stack

    def show(text: str) -> None:
        if not quiet and text.startswith(("making", "waiting", "Collecting", "Installing", "no lock")):
            print(text.split(" (from ", maxsplit=1)[0], file=sys.stderr)

    print(ensure_environment(load_stack(stack), tuple(extra or ()), show))


@command(
    help={
        "stack": "name of a stack: a file in stacks/ without its .yml",
        "python": "a Python to resolve with, if not the one that runs tvmops",
    },
)
def lock(ctx: Any, stack: str, python: str = "") -> None:
    """Write stacks/<stack>.lock: every package of its environments by SHA-256, for one Python and this machine."""
    from tvmops.stack.locking import make_lock
    from tvmops.stack.spec import load_stack

    def show(text: str) -> None:
        if text.startswith(("resolving", "ERROR")):
            print(text, file=sys.stderr)

    print(make_lock(load_stack(stack), python or sys.executable, show))


COMMANDS = [create, lock]
