"""Locks: every package of a stack's compiling environment by SHA-256, those that pins bring along included.

`stacks/<name>.lock` has a section for each Python and machine that it was made with ("[py3.11-x86_64]"), and in it a
line for each package: name==version, its SHA-256 ("-" where it has none), and the extras that need it ("base" if all).
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvmops.errors import ConfigError
from tvmops.stack.spec import Stack

BASE = "base"
NO_HASH = "-"
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+) (?P<sha256>-|[0-9a-f]{64}) (?P<extras>\S+)")
_SECTION = re.compile(r"\[(\S+)\]")
HEADER = """\
# Packages of the compiling environment of stack {stack}, by SHA-256. Made by: tvmops env.lock --stack {stack}
"""


@dataclass(frozen=True)
class Locked:
    """One package; `extras` are those that need it, or "base"."""

    name: str
    version: str
    sha256: str
    extras: tuple[str, ...]

    def line(self) -> str:
        """As the lock file has it."""
        return f"{self.name}=={self.version} {self.sha256} {','.join(self.extras)}"

    def requirement(self) -> str:
        """As pip's --require-hashes wants it."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


Lock = dict[str, list[Locked]]


def lock_path(stack: Stack) -> Path:
    """Beside the stack's file."""
    return Path(stack.path).with_suffix(".lock")


def section_name(python: str | None = None) -> str:
    """The section of Python `python` ("3.11"; default: this one) on this machine."""
    return f"py{python or f'{sys.version_info[0]}.{sys.version_info[1]}'}-{platform.machine()}"


def read_lock(path: Path) -> Lock:
    """The lock file's sections; none when there is no such file. Raises ConfigError with file and line."""
    if not path.is_file():
        return {}
    lock: Lock = {}
    section: list[Locked] | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if header := _SECTION.fullmatch(text):
            section = lock.setdefault(header[1], [])
            continue
        found = _LINE.fullmatch(text)
        if found is None or section is None:
            raise ConfigError(
                f"{path}:{number}: not a line of a lock file: {text}", f"make it anew: tvmops env.lock {path.stem}"
            )
        section.append(Locked(found["name"], found["version"], found["sha256"], tuple(found["extras"].split(","))))
    return lock


def locked_packages(stack: Stack, extras: Sequence[str]) -> list[Locked]:
    """What an environment with `extras` gets, for this Python and machine; empty when that is not locked.

    Raises ConfigError, also for a lock that is older than the stack's pins.
    """
    path = lock_path(stack)
    section = read_lock(path).get(section_name(), [])
    wanted = {BASE, *extras}
    found = [one for one in section if wanted & set(one.extras)]
    versions = {normal_name(one.name): one.version for one in section}
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for pin in stack.pins(python, tuple(extras)) if section else ():
        if versions.get(normal_name(pin.name)) != pin.version:
            raise ConfigError(
                f"{path}: the stack pins {pin}, the lock has {versions.get(normal_name(pin.name), 'none')}",
                f"make it anew: tvmops env.lock --stack {stack.name}",
            )
    return found


def write_lock(path: Path, lock: Mapping[str, Sequence[Locked]], stack: str) -> None:
    """Replaces the file."""
    lines = [HEADER.format(stack=stack).rstrip()]
    for name, section in sorted(lock.items()):
        lines += ["", f"[{name}]", *(one.line() for one in section)]
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fresh.replace(path)


def normal_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
