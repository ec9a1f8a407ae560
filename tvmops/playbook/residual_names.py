"""The registered results that expressions for the board read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def names_in(rows: Any) -> set[str]:
    """The registered names that expressions read."""
    if isinstance(rows, Mapping):
        return set().union(*(names_in(one) for one in rows.values()))
    if not isinstance(rows, list) or (rows and rows[0] == "lit"):
        return set()
    own = {rows[1]} if rows and rows[0] == "reg" else set()
    return own.union(*(names_in(one) for one in rows))
