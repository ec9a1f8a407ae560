"""The `sources` of a stack file: where a source tree comes from, and the hash or commit that pins it."""

from __future__ import annotations

import re
from typing import Any

from tvmops.source import Map, Problems, did_you_mean

# For each kind its fields, and what a field is when it is left out (None: it must be given).
FIELDS: dict[str, dict[str, Any]] = {
    "git": {"url": None, "ref": None, "commit": None, "complete": True, "into": ""},
    "archive": {"url": None, "sha256": None, "strip": 1, "complete": True, "into": ""},
    "wheel": {"pin": None, "sha256": None, "python": "3.11", "root": "", "overlay": "", "complete": False},
}
_SHAPES: dict[str, tuple[re.Pattern[str], str]] = {
    "url": (re.compile(r"^[a-z][a-z0-9+]*://\S+$|^/\S*$"), "a URL, or a path that begins with /"),
    "ref": (re.compile(r"^refs/\S+$"), "a whole name like refs/tags/v0.19.0: v0.19.0 alone is a tag and a branch"),
    "commit": (re.compile(r"^[0-9a-f]{40}$"), "a commit's 40 hex digits"),
    "sha256": (re.compile(r"^[0-9a-f]{64}$"), "a SHA-256 of 64 hex digits"),
    "pin": (re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.+!_-]*$"), "an exact pin like name==1.0"),
    "python": (re.compile(r"^\d+\.\d+$"), "a Python like '3.11', in quotes"),
    "root": (re.compile(r"^(?!/)(?!.*\.\.)\S+$"), "a folder inside the wheel"),
    "overlay": (re.compile(r"^(?!/)(?!.*\.\.)\S+$"), "a folder beside the stack file"),
    "into": (re.compile(r"^(?!/)(?!.*\.\.)\S+$"), "a folder of the source tree"),
}


def read_sources(document: Map, problems: Problems) -> dict[str, dict[str, Any]]:
    """The stack's sources by name, first the default, every field filled in; what is wrong is added to `problems`."""
    sources = document.get("sources")
    if sources is None:
        return {}
    if not isinstance(sources, Map) or not sources:
        problems.add(document.at("sources"), "'sources' must name at least one source", "e.g. upstream: {kind: git, …}")
        return {}
    found = {str(name): _source(sources, name, problems) for name in sources}
    if found and next(iter(found.values())).get("into"):
        problems.add(sources.position, "the first source is the default, so it cannot be a part of another one")
    return found


def _source(sources: Map, name: Any, problems: Problems) -> dict[str, Any]:
    given = sources[name]
    kind = given.get("kind") if isinstance(given, Map) else None
    if not isinstance(given, Map) or not isinstance(kind, str) or kind not in FIELDS:
        kinds = ", ".join(FIELDS)
        hint = (did_you_mean(kind, FIELDS) if isinstance(kind, str) else "") or f"kinds: {kinds}"
        problems.add(sources.at(name), f"source '{name}' has no known kind", hint)
        return {}
    fields = FIELDS[kind]
    for key in given:
        if key != "kind" and key not in fields:
            problems.add(given.keys_at[key], f"a {kind} source has no '{key}'", did_you_mean(str(key), fields))
    for key, default in fields.items():
        if default is None and key not in given:
            problems.add(given.position, f"source '{name}' lacks '{key}'", f"it is {_SHAPES[key][1]}")
        elif key in given:
            _check(given, key, default, problems)
    return {"kind": kind, **{key: given.get(key, default) for key, default in fields.items()}}


def _check(given: Map, key: str, default: Any, problems: Problems) -> None:
    value = given[key]
    if isinstance(default, bool):
        if not isinstance(value, bool):
            problems.add(given.at(key), f"'{key}' is yes or no, not {value!r}")
    elif isinstance(default, int):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 9:
            problems.add(given.at(key), f"'{key}' is the number of leading folders to drop, not {value!r}")
    elif not isinstance(value, str) or not _SHAPES[key][0].match(value):
        problems.add(given.at(key), f"{value!r} is no '{key}'", f"it is {_SHAPES[key][1]}")
