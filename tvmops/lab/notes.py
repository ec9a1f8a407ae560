"""What is wrong with a board at present, for `lab.ps` and for undoing it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

ENDS = {
    "up": {"down"},
    "unhang": {"hang"},
    "cut": {"hang"},
    "powerloss": {"hang"},
    "poweron": {"cut", "powerloss", "down", "hang"},
}
MOMENTARY = {"up", "unhang", "killsshd", "clear", "poweron"}


def active(folder: Path) -> dict[str, list[str]]:
    """The faults that the board in `folder` has now, with their arguments."""
    try:
        faults = json.loads((folder / "faults.json").read_text())
    except (OSError, ValueError):
        return {}
    return {str(kind): [str(word) for word in args] for kind, args in faults.items()}


def note(folder: Path, kind: str, args: Sequence[str] = ()) -> None:
    """Remember a fault, or that it has ended."""
    faults = {} if kind == "clear" else active(folder)
    for ended in ENDS.get(kind, ()):
        faults.pop(ended, None)
    if kind not in MOMENTARY:
        faults[kind] = list(args)
    (folder / "faults.json").write_text(json.dumps(faults) + "\n")
