"""Ansible's INI inventory: `[group]`, `[group:vars]`, `[group:children]`, and hosts as `name key=value ...`."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.inventory.builder import Builder
from tvmops.inventory.ranges import expand
from tvmops.source import Position, Problems, did_you_mean

KINDS = ("hosts", "vars", "children")
YAML_SUFFIXES = (".yml", ".yaml", ".json")
INI_SUFFIXES = (".ini", ".cfg")
_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$")
_GROUP = re.compile(r"([^\s:\]]+)\s*(?:#.*)?$")
_YAML_START = re.compile(r"---|\{|-\s|[^\s=]+:(?:\s|$)")
_RANGE = r"\[[^\]]*\]"
_PORT = re.compile(rf"(?:\[(?P<bracketed>.+)\]|(?P<plain>(?:[^:\[\]]|{_RANGE})*)):(?P<port>[0-9]+)$")


def is_ini(path: Path) -> bool:
    """Whether the file is meant as INI: by its suffix, or else its first line. Raises ConfigError when unreadable."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror}", "check the path and its permissions") from error
    first = next((line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;"), "")
    if path.suffix in INI_SUFFIXES or _SECTION.match(first):
        return True
    return bool(first) and path.suffix not in YAML_SUFFIXES and not _YAML_START.match(first)


def read(path: Path, builder: Builder) -> None:
    """Add the file's groups and hosts. Raises ConfigError(s) with file:line:column, all faults at once."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8") from error
    _Reader(path, builder).read(text)


class _Reader:
    """One pass over the lines; what refers to groups is checked at the end, because they may be declared later."""

    def __init__(self, path: Path, builder: Builder) -> None:
        self._path = path
        self._builder = builder
        self._problems = Problems()
        self._group = "ungrouped"
        self._kind = "hosts"
        self._declared = set(builder.groups)
        self._vars_sections: dict[str, Position] = {}
        self._children: list[tuple[str, str, Position]] = []

    def read(self, text: str) -> None:
        """Read everything. Raises ConfigError(s)."""
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.strip()
            if not line or line[0] in "#;":
                continue
            at = Position(str(self._path), number, len(raw) - len(raw.lstrip()) + 1)
            if line.startswith("[") and (_SECTION.match(line) or line.endswith("]")):
                self._section(line, at)
            else:
                READERS[self._kind](self, line, at)
        self._finish()
        self._problems.raise_if_any()

    def _section(self, line: str, at: Position) -> None:
        match = _SECTION.match(line)
        if match is None:
            self._problems.add(at, f"'{line}' is not a section", "write [group], [group:vars] or [group:children]")
            return
        self._group, self._kind = match[1], match[2] or "hosts"
        if self._kind not in KINDS:
            self._problems.add(at, f"a section cannot be of the kind '{self._kind}'", did_you_mean(self._kind, KINDS))
            self._kind = "hosts"
        if self._kind == "vars":
            self._vars_sections.setdefault(self._group, at)
        else:
            self._declared.add(self._group)
        self._builder.group(self._group, at)

    def _host(self, line: str, at: Position) -> None:
        try:
            pattern, *words = shlex.split(line, comments=True)
            names, port = _hosts(pattern)
        except ValueError as error:
            self._problems.add(at, f"'{line}': {error}", "a line is: host name=value name='some text' ...")
            return
        variables: dict[str, Any] = {} if port is None else {"ansible_port": port}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                self._problems.add(at, f"'{word}' is not name=value", "put quotes around values with spaces")
                continue
            variables[name] = parse_value(value)
        for name in names:
            self._builder.add_host(self._group, name)
            for key, one in variables.items():
                self._builder.host_variables(name).set(key, one, f"{at.path}:{at.line}")

    def _variable(self, line: str, at: Position) -> None:
        name, equals, value = line.partition("=")
        if not equals:
            self._problems.add(at, f"'{line}' is not name=value", f"[{self._group}:vars] holds one variable a line")
            return
        variables = self._builder.group(self._group).variables
        variables.set(name.strip(), parse_value(value.strip()), f"{at.path}:{at.line}")

    def _child(self, line: str, at: Position) -> None:
        match = _GROUP.match(line)
        if match is None:
            self._problems.add(
                at, f"'{line}' is not a group's name", f"[{self._group}:children] holds one group a line"
            )
            return
        self._children.append((self._group, match[1], at))

    def _finish(self) -> None:
        for name, at in self._vars_sections.items():
            if name not in self._declared:
                self._problems.add(at, f"there is no group '{name}'", did_you_mean(name, self._declared))
        for parent, child, at in self._children:
            if child not in self._declared:
                self._problems.add(at, f"there is no group '{child}'", did_you_mean(child, self._declared))
            elif not self._builder.add_child(parent, child):
                self._problems.add(at, f"group '{child}' would be its own ancestor", "take it out of one of the two")


READERS = {"hosts": _Reader._host, "vars": _Reader._variable, "children": _Reader._child}


def _hosts(pattern: str) -> tuple[list[str], int | None]:
    """The hosts that a pattern names, and the port after it. Raises ValueError."""
    match = _PORT.match(pattern)
    if match is None and pattern.endswith(":"):
        raise ValueError("a port must follow the ':'")
    if match is None:
        return expand(pattern) if not _bare_ipv6(pattern) else [pattern], None
    name = match["bracketed"] or match["plain"]
    return expand(name) if not _bare_ipv6(name) else [name], int(match["port"])


def _bare_ipv6(name: str) -> bool:
    return name.count(":") > 1 and "[" not in name


def parse_value(text: str) -> Any:
    """The value that Ansible reads there: a Python literal where the text is one, otherwise the text itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return _plain(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple, set)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is ...:
        return "..."
    return str(value) if isinstance(value, complex) else value
