"""What a config.cmake sets, read back."""

from __future__ import annotations

from tvmops.stack.cmake import parse_cmake


def read_config(text: str) -> dict[str, str]:
    """The options that a rendered config.cmake sets."""
    calls = (one for one in parse_cmake(text) if one.name == "set" and len(one.arguments) == 2)
    return {one.arguments[0]: one.arguments[1] for one in calls}
