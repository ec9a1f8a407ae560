"""Reading stack files, complaining, with positions, about everything wrong in one at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.source import Map, Position, Problems, Seq, did_you_mean, load_yaml
from tvmops.stack.source_specs import read_sources
from tvmops.stack.spec import FileRules, Pin, Stack
from tvmops.stack.versions import release

APIS = ("relax", "relay")
ARCHITECTURES = ("x86_64", "aarch64", "armv7l")  # what boards are: names that `uname -m` prints
SERVERS = ("python", "lean", "cpp")
TARGETS = ("runtime", "full")
REQUIRED = ("name", "api", "version", "python", "boards")
OF_WHEELS = ("runtime", "files")  # a stack that is built from sources needs none
OF_SOURCES = ("tag", "options")
KEYS = (
    *REQUIRED,
    *OF_WHEELS,
    *OF_SOURCES,
    "sources",
    "server",
    "tophub",
    "board_packages",
    "compile",
    "extras",
    "baseline",
)

_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][A-Za-z0-9.+!_-]*)"
    r"(?:\s*;\s*python_version\s*(?P<op><|>=)\s*[\"'](?P<limit>\d+\.\d+)[\"'])?$"
)
_RANGE = re.compile(r"^>=(\d+\.\d+),\s*<(\d+\.\d+)$")
_TAG = re.compile(r"^v\d+(\.\d+)+$")
_OPTION = re.compile(r"^[A-Z][A-Z0-9_]*$")
_TOPHUB = re.compile(r"^[a-z0-9_]+_v\d+\.\d+\.log$")
_PACKAGE = re.compile(r"^[a-z0-9][a-z0-9.+-]+$")


def stack_from(path: Path) -> Stack:
    """The stack in the file `path`. Raises ConfigError (ConfigErrors for several faults)."""
    document = load_yaml(path)
    if not isinstance(document, Map):
        raise ConfigError(f"{path}:1:1: a stack file is a mapping with the keys {', '.join(REQUIRED)}")
    return _Reader(path, document).stack()


class _Reader:
    """Checks one stack file; complaints gather in `problems`."""

    def __init__(self, path: Path, document: Map) -> None:
        self.path = path
        self.document = document
        self.problems = Problems()

    def stack(self) -> Stack:
        self._known_keys(self.document, KEYS, "stack")
        self._required_keys()
        python_min, python_below = self._python()
        architectures, glibc = self._boards()
        options, places = self._options()
        stack = Stack(
            name=self._text("name"),
            api=self._api(),
            version=self._text("version"),
            python_min=python_min,
            python_below=python_below,
            architectures=architectures,
            glibc=glibc,
            runtime=self._pins(self.document, "runtime"),
            rules=self._rules(),
            compile=self._pins(self.document, "compile"),
            extras=self._extras(),
            baseline=self._pins(self.document, "baseline"),
            path=str(self.path),
            tag=self._tag(),
            sources=read_sources(self.document, self.problems),
            options=options,
            places=places,
            server=self._server(),
            tophub=self._names("tophub", _TOPHUB, "a tophub file", "write it like arm_cpu_v0.08.log"),
            board_packages=self._names("board_packages", _PACKAGE, "a package of apt", "write its name alone"),
        )
        if stack.name and stack.name != self.path.stem:
            self.problems.add(
                self.document.at("name"),
                f"name '{stack.name}' differs from the file's name '{self.path.stem}'",
                "a stack is found by its file's name: make them equal",
            )
        self.problems.raise_if_any()
        return stack

    def _known_keys(self, mapping: Map, known: tuple[str, ...], what: str) -> None:
        for key in mapping:
            if key not in known:
                self.problems.add(mapping.keys_at[key], f"unknown {what} key '{key}'", did_you_mean(str(key), known))

    def _required_keys(self) -> None:
        if "sources" in self.document:
            needed, why = (*REQUIRED, *OF_SOURCES), "a stack built from sources needs"
        else:
            needed, why = (*REQUIRED, *OF_WHEELS), "a stack needs 'sources', or"
        for key in needed:
            if key not in self.document:
                self.problems.add(self.document.position, f"'{key}' is missing", f"{why} {', '.join(needed)}")

    def _tag(self) -> str:
        tag = self._text("tag")
        if tag and not _TAG.match(tag):
            self.problems.add(self.document.at("tag"), f"'{tag}' is not a release tag", "write it like v0.19.0")
        elif tag:
            try:
                release(tag)
            except ConfigError as error:
                self.problems.add(self.document.at("tag"), error.message, error.hint)
        return tag

    def _names(self, key: str, pattern: re.Pattern[str], what: str, hint: str) -> tuple[str, ...]:
        items = self._sequence(self.document, key)
        for index, item in enumerate(items):
            if not isinstance(item, str) or not pattern.match(item):
                self.problems.add(items.items_at[index], f"'{item}' is not {what}", hint)
        return tuple(str(item) for item in items)

    def _server(self) -> str:
        server = self._text("server") or "python"
        if server not in SERVERS:
            self.problems.add(self.document.at("server"), f"unknown server '{server}'", did_you_mean(server, SERVERS))
        return server

    def _options(self) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        places: dict[str, str] = {}
        targets = self._mapping(self.document, "options", "'runtime' and 'full'")
        self._known_keys(targets, TARGETS, "options")
        for target in targets:
            options = self._mapping(targets, target, "options of config.cmake")
            found[str(target)] = {}
            for name in options:
                place = options.keys_at[name]
                value = option_value(options[name])
                if not isinstance(name, str) or not _OPTION.match(name):
                    self.problems.add(place, f"'{name}' is no option of config.cmake", "write it like USE_RPC: ON")
                elif value is None:
                    self.problems.add(
                        options.at(name), f"{options[name]!r} is no value of an option", "ON, OFF or text"
                    )
                else:
                    found[str(target)][name] = value
                    places[f"{target}.{name}"] = str(place)
        return found, places

    def _mapping(self, mapping: Map, key: str, what: str) -> Map:
        value = mapping.get(key)
        if isinstance(value, Map):
            return value
        if value is not None:
            self.problems.add(mapping.at(key), f"'{key}' must be a mapping of {what}", "write 'name: value' lines")
        return Map(mapping.at(key))

    def _text(self, key: str) -> str:
        value = self.document.get(key, "")
        if isinstance(value, str):
            return value
        self.problems.add(self.document.at(key), f"'{key}' must be text, not {value!r}", "put it in quotes")
        return ""

    def _api(self) -> str:
        api = self._text("api")
        if api and api not in APIS:
            self.problems.add(self.document.at("api"), f"unknown api '{api}'", did_you_mean(api, APIS))
        return api

    def _python(self) -> tuple[str, str]:
        text = self._text("python")
        match = _RANGE.match(text)
        if match:
            return match.group(1), match.group(2)
        if text:
            self.problems.add(
                self.document.at("python"), f"'{text}' is no Python range", "write it like '>=3.10,<3.14'"
            )
        return "0.0", "0.0"

    def _boards(self) -> tuple[tuple[str, ...], str]:
        boards = self.document.get("boards")
        if boards is None:
            return (), ""
        if not isinstance(boards, Map):
            self.problems.add(self.document.at("boards"), "'boards' must have 'architectures' and 'glibc'")
            return (), ""
        self._known_keys(boards, ("architectures", "glibc"), "boards")
        for key in ("architectures", "glibc"):
            if key not in boards:
                self.problems.add(boards.position, f"'{key}' is missing in 'boards'")
        names = self._sequence(boards, "architectures")
        for index, name in enumerate(names):
            if name not in ARCHITECTURES:
                position = names.items_at[index]
                self.problems.add(position, f"unknown architecture '{name}'", did_you_mean(str(name), ARCHITECTURES))
        glibc = boards.get("glibc", "")
        if not isinstance(glibc, str):
            self.problems.add(boards.at("glibc"), f"'glibc' must be text, not {glibc!r}", "put it in quotes")
        return tuple(str(name) for name in names), str(glibc)

    def _sequence(self, mapping: Map, key: str) -> Seq:
        value: Any = mapping.get(key)
        if isinstance(value, Seq):
            return value
        if value is not None:
            self.problems.add(mapping.at(key), f"'{key}' must be a list", "one '- item' a line")
        return Seq(mapping.at(key))

    def _pins(self, mapping: Map, key: str) -> tuple[Pin, ...]:
        items = self._sequence(mapping, key)
        found = [self._pin(item, items.items_at[index]) for index, item in enumerate(items)]
        return tuple(pin for pin in found if pin is not None)

    def _pin(self, item: object, position: Position) -> Pin | None:
        match = _PIN.match(item) if isinstance(item, str) else None
        if match is None:
            self.problems.add(
                position,
                f"'{item}' is not an exact pin",
                "write name==version, with '; python_version >= \"3.11\"' behind it where it depends on Python",
            )
            return None
        marker = (match["op"], match["limit"]) if match["op"] else None
        return Pin(match["name"], match["version"], marker)

    def _extras(self) -> dict[str, tuple[Pin, ...]]:
        extras = self.document.get("extras")
        if extras is None:
            return {}
        if not isinstance(extras, Map):
            self.problems.add(self.document.at("extras"), "'extras' must map names to lists of pins")
            return {}
        return {str(name): self._pins(extras, name) for name in extras}

    def _rules(self) -> FileRules:
        files = self.document.get("files")
        if files is None:
            return FileRules(())
        if not isinstance(files, Map):
            self.problems.add(self.document.at("files"), "'files' must have the lists 'include' and 'exclude'")
            return FileRules(())
        self._known_keys(files, ("include", "exclude"), "files")
        return FileRules(self._globs(files, "include"), self._globs(files, "exclude"))

    def _globs(self, files: Map, key: str) -> tuple[str, ...]:
        globs = self._sequence(files, key)
        for index, glob in enumerate(globs):
            if not isinstance(glob, str) or not glob or glob.startswith("/"):
                self.problems.add(globs.items_at[index], f"{glob!r} is no glob", "name a path inside the wheel, quoted")
        return tuple(glob for glob in globs if isinstance(glob, str))


def option_value(value: object) -> str | None:
    """A YAML value as config.cmake writes it: true is ON, a number its digits; None for what CMake cannot take."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, (str, int)) and not set(str(value)) & set("\n\r\0"):
        return str(value)
    return None
