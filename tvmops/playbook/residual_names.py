"""The registered results that expressions for the board read."""

from __future__ import annotations

from typing import Any

from tvmops.agent import expression

_names_in: Any = expression.names_in


def names_in(rows: Any) -> set[str]:
    """The registered names that expressions read, by the board's own rule."""
    found: set[str] = _names_in(rows)
    return found
