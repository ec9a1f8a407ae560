"""Stack files: loading stacks/<name>.yml and complaining, with positions, about everything wrong in it at once."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.paths import project_root
from tvmops.source import Map, Position, Problems, Seq, did_you_mean, load_yaml

APIS = ("relax",)
ARCHITECTURES = ("x86_64", "aarch64")  # those that PyPI has wheels of TVM for
REQUIRED = ("name", "api", "version", "python", "boards", "runtime", "bundle")
KEYS = (*REQUIRED, "compile", "extras", "baseline")

_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[0-9][A-Za-z0-9.+!_-]*)"
    r"(?:\s*;\s*python_version\s*(?P<op><|>=)\s*[\"'](?P<limit>\d+\.\d+)[\"'])?$"
)
_RANGE = re.compile(r"^>=(\d+\.\d+),\s*<(\d+\.\d+)$")


@dataclass(frozen=True)
class Pin:
    """One exactly pinned package; `marker` is ("<" or ">=", "3.11") where it holds for some Pythons only."""

    name: str
    version: str
    marker: tuple[str, str] | None = None

    def holds_for(self, python: str) -> bool:
        """Whether an environment of Python `python` ("3.11") takes this pin."""
        if self.marker is None:
            return True
        below = version_tuple(python) < version_tuple(self.marker[1])
        return below if self.marker[0] == "<" else not below

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class BundleRules:
    """Which files of the wheels go to boards: an include must match, no exclude may. `*` crosses folders."""

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Whether the file `name` (path inside a wheel) belongs in the bundle."""
        return any(fnmatch.fnmatchcase(name, glob) for glob in self.include) and not any(
            fnmatch.fnmatchcase(name, glob) for glob in self.exclude
        )


@dataclass(frozen=True)
class Stack:
    """A named, locked TVM. `python_min` is inclusive, `python_below` exclusive, both like "3.10".

    `architectures` (names as `uname -m` gives them) and `glibc` (the oldest that works) say which boards it fits.
    """

    name: str
    api: str
    version: str
    python_min: str
    python_below: str
    architectures: tuple[str, ...]
    glibc: str
    runtime: tuple[Pin, ...]
    rules: BundleRules
    compile: tuple[Pin, ...] = ()
    extras: dict[str, tuple[Pin, ...]] = field(default_factory=dict)
    baseline: tuple[Pin, ...] = ()
    path: str = ""

    def supports_python(self, python: str) -> bool:
        """Whether wheels of this stack exist for Python `python` ("3.11" or "3.11.2")."""
        asked = version_tuple(python)[:2]
        return version_tuple(self.python_min) <= asked < version_tuple(self.python_below)

    def pins(self, python: str, extras: tuple[str, ...] = ()) -> list[Pin]:
        """Everything the compiling environment of Python `python` installs. Raises ConfigError for an unknown extra."""
        chosen = [*self.runtime, *self.compile]
        for extra in extras:
            if extra not in self.extras:
                raise ConfigError(
                    f"{self.path or self.name}: stack {self.name} has no extra '{extra}'",
                    did_you_mean(extra, self.extras) or "it has no extras",
                )
            chosen += self.extras[extra]
        return [pin for pin in chosen if pin.holds_for(python)]


def version_tuple(text: str) -> tuple[int, ...]:
    """ "3.11.2" -> (3, 11, 2); whatever is not a number ends it."""
    numbers = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in numbers.group().split(".")) if numbers else ()


def stack_names() -> list[str]:
    """Names of the stack files in the working directory's and the project's stacks/ folders."""
    folders = (Path("stacks"), project_root() / "stacks")
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yml")})


def load_stack(name: str) -> Stack:
    """The stack called `name` (or a path of a stack file). Raises ConfigError, for all faults of the file at once."""
    if name.endswith((".yml", ".yaml")):
        return read_stack(Path(name))
    for folder in (Path("stacks"), project_root() / "stacks"):
        path = folder / f"{name}.yml"
        if path.is_file():
            return read_stack(path)
    raise ConfigError(f"no stack '{name}': there is no stacks/{name}.yml", did_you_mean(name, stack_names()))


def read_stack(path: Path) -> Stack:
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
        for key in REQUIRED:
            if key not in self.document:
                self.problems.add(self.document.position, f"'{key}' is missing", f"a stack needs {', '.join(REQUIRED)}")
        python_min, python_below = self._python()
        architectures, glibc = self._boards()
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

    def _rules(self) -> BundleRules:
        bundle = self.document.get("bundle")
        if bundle is None:
            return BundleRules(())
        if not isinstance(bundle, Map):
            self.problems.add(self.document.at("bundle"), "'bundle' must have the lists 'include' and 'exclude'")
            return BundleRules(())
        self._known_keys(bundle, ("include", "exclude"), "bundle")
        return BundleRules(self._globs(bundle, "include"), self._globs(bundle, "exclude"))

    def _globs(self, bundle: Map, key: str) -> tuple[str, ...]:
        globs = self._sequence(bundle, key)
        for index, glob in enumerate(globs):
            if not isinstance(glob, str) or not glob or glob.startswith("/"):
                self.problems.add(globs.items_at[index], f"{glob!r} is no glob", "name a path inside the wheel, quoted")
        return tuple(glob for glob in globs if isinstance(glob, str))
