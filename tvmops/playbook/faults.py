"""What can go wrong while text is worked out, with the place that caused it."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from tvmops.errors import ConfigError
from tvmops.source import Position


class TemplateFault(ConfigError):
    """A template or condition cannot be worked out. `problem` is the message without its position."""

    def __init__(self, position: Position | None, problem: str, hint: str = "") -> None:
        super().__init__(f"{position}: {problem}" if position else problem, hint)
        self.position = position
        self.problem = problem


class UndefinedFault(TemplateFault):
    """A variable, key or attribute that nobody has defined."""


class Pending(Exception):
    """Not a fault: the value of `name` is something the board has yet to say."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@lru_cache(maxsize=256)
def _lines(path: str) -> tuple[str, ...]:
    try:
        return tuple(Path(path).read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return ()


def locate(position: Position, needle: str, line_offset: int = 0, reach: int = 60, part: bool = False) -> Position:
    """Where `needle` stands in the user's file at or after `position`; `position` itself when it is not found.

    `line_offset` skips lines of a multi-line text that are known to come before it. `part`: the name may
    follow a dot.
    """
    if not needle:
        return position
    before = (r"(?<!\w)" if part else r"(?<![\w.])") if needle[0].isalnum() or needle[0] == "_" else ""
    after = r"(?!\w)" if needle[-1].isalnum() or needle[-1] == "_" else ""
    word = re.compile(before + re.escape(needle) + after)
    lines = _lines(position.path)
    first = position.line - 1
    for number in range(first + line_offset, min(len(lines), first + line_offset + reach)):
        found = word.search(lines[number], position.column - 1 if number == first else 0)
        if found:
            return Position(position.path, number + 1, found.start() + 1)
    return position
