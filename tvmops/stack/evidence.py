"""What a build really did, from its compile_commands.json: the options compiled in, the third parties it read."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from tvmops.errors import StackError
from tvmops.stack.cmake import is_on
from tvmops.stack.spec import Target

_DEFINITION = re.compile(r"-DTVM_INFO_([A-Z0-9_]+)=(.*)", re.DOTALL)
_THIRD_PARTY = re.compile(r"(?:^|/)3rdparty/([A-Za-z0-9._-]+)")
# Sources of the compiler that the runtime's libraries do not have.
_RUNTIME_SOURCES = re.compile(r"/src/(?:src/)?(?:runtime|support)/|/apps/cpp_rpc/|/3rdparty/")


def read_commands(data: bytes) -> list[dict[str, str]]:
    """The entries of compile_commands.json. Raises StackError."""
    try:
        entries = json.loads(data)
        return [{"file": str(one["file"]), "command": str(one["command"])} for one in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(f"the build's compile_commands.json cannot be read: {error}", "build again") from error


def compiled_options(commands: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The options that libinfo() of the result will name, as its source was really compiled with. Raises StackError."""
    for entry in commands:
        if entry["file"].endswith("/libinfo.cc"):
            words = shlex.split(entry["command"])
            found = [match for word in words if (match := _DEFINITION.match(word))]
            if found:
                return {match[1]: match[2].strip('"') for match in found}
    raise StackError("the build does not say with which options it was made: no libinfo.cc with definitions in it")


def disagreements(asked: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Where the result is not what was asked for, a sentence each; options that libinfo() does not name are skipped."""
    return [
        f"{name} is {given[name] or 'empty'}, asked for was {wanted}"
        for name, wanted in sorted(asked.items())
        if name in given and is_on(wanted) != is_on(given[name])
    ]


def third_parties(commands: Iterable[Mapping[str, str]], target: Target) -> list[str]:
    """The folders of 3rdparty/ that the target's compile commands name, sorted."""
    chosen = [one for one in commands if target == "full" or _RUNTIME_SOURCES.search(one["file"])]
    return sorted({name for one in chosen for name in _THIRD_PARTY.findall(one["command"])})


def facts_of(data: bytes, target: Target) -> tuple[dict[str, str], list[str]]:
    """(compiled_options, third_parties) of a compile_commands.json. Raises StackError."""
    commands: list[Any] = read_commands(data)
    return compiled_options(commands), third_parties(commands, target)
