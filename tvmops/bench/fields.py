"""Reading the fields of a sweep file: each helper notes what is wrong with file, line and column, and goes on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tvmops.source import Map, Problems, Seq, did_you_mean


def refuse_unknown(data: Map, known: Sequence[str], what: str, problems: Problems) -> None:
    """A problem for each key that is not in `known`."""
    for key in data:
        if key not in known:
            problems.add(data.keys_at[key], f"unknown {what} '{key}'", did_you_mean(str(key), known))


def text(data: Map, key: str, problems: Problems) -> str:
    """The text under `key`; "" when there is none."""
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        problems.add(data.at(key), f"'{key}' must be text, not {kind_of(value)}")
        return ""
    return value.strip()


def section(data: Map, key: str, known: Sequence[str], problems: Problems) -> Map:
    """The mapping under `key`, with known keys only; an empty one when there is none."""
    found = data.get(key)
    if found is None:
        return Map(data.position)
    if not isinstance(found, Map):
        problems.add(data.at(key), f"'{key}' must be a mapping, not {kind_of(found)}", f"keys: {', '.join(known)}")
        return Map(data.position)
    refuse_unknown(found, known, f"key of '{key}'", problems)
    return found


def whole_number(data: Map, key: str, least: int, problems: Problems) -> bool:
    """Whether the value under `key` is a whole number of at least `least`."""
    value = data[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        problems.add(data.at(key), f"'{key}' must be a whole number of at least {least}, not {value!r}")
        return False
    return True


def seconds(data: Map, key: str, problems: Problems) -> float | None:
    """The number of seconds under `key`; None when there is none or it is wrong."""
    value = data.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        problems.add(data.at(key), f"'{key}' must be a number of seconds above 0")
        return None
    return float(value)


def choices(
    data: Map, key: str, known: Collection[str], default: tuple[str, ...], problems: Problems
) -> tuple[str, ...]:
    """The words under `key`, one or a list, each of them known; `known` empty takes all words."""
    value = data.get(key)
    if value is None:
        return default
    words = list(value) if isinstance(value, Seq) else [value]
    for word in words:
        if not isinstance(word, str):
            problems.add(data.at(key), f"'{key}' must be words, not {kind_of(word)}")
        elif known and word not in known:
            problems.add(data.at(key), f"unknown {key} '{word}'", did_you_mean(word, known))
    if not words:
        problems.add(data.at(key), f"'{key}' must name at least one")
    return tuple(dict.fromkeys(str(word) for word in words)) or default


def plain(value: Any) -> Any:
    """Plain dicts and lists instead of Map and Seq, ready for JSON."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def kind_of(value: object) -> str:
    """What a value is, in words."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", type(None): "nothing"}
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return names.get(type(value), "a date" if hasattr(value, "isoformat") else type(value).__name__)
