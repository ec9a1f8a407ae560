"""Stacks: what stacks/<name>.yml says about one locked TVM, and finding those files."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tvmops.errors import ConfigError
from tvmops.paths import project_root
from tvmops.source import did_you_mean

Target = Literal["runtime", "full"]
DEFAULT_STACK = "relax-0.27"
DATA_FILES = ("versions", "options", "failures", "distributions")  # in stacks/, too, but no stacks


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
class FileRules:
    """Which files of the wheels go to boards: an include must match, no exclude may. `*` crosses folders."""

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Whether the file `name` (path inside a wheel) belongs in the artifact."""
        return any(fnmatch.fnmatchcase(name, glob) for glob in self.include) and not any(
            fnmatch.fnmatchcase(name, glob) for glob in self.exclude
        )


@dataclass(frozen=True)
class Stack:
    """A named, locked TVM. `python_min` is inclusive, `python_below` exclusive, both like "3.10".

    `architectures` (names as `uname -m` gives them) and `glibc` (the oldest that works) say which boards it fits.
    A stack with `sources` is built; one without has wheels (`runtime`, `rules`) for its boards. `tag` is its row in the
    version table. Of `sources` the first is the default; what their fields are: docs/stacks.md. `options` are those of
    config.cmake by target, `places` says where each stands ("runtime.USE_RPC" -> "stacks/x.yml:30:5"). `server` is the
    RPC server that a release runs, `tophub` the files a release needs, `board_packages` what boards need from apt.
    """

    name: str
    api: str
    version: str
    python_min: str
    python_below: str
    architectures: tuple[str, ...]
    glibc: str
    runtime: tuple[Pin, ...] = ()
    rules: FileRules = FileRules(())
    compile: tuple[Pin, ...] = ()
    extras: dict[str, tuple[Pin, ...]] = field(default_factory=dict)
    baseline: tuple[Pin, ...] = ()
    path: str = ""
    tag: str = ""
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[str, dict[str, str]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict, compare=False)
    server: str = "python"
    tophub: tuple[str, ...] = ()
    board_packages: tuple[str, ...] = ()

    @property
    def is_built(self) -> bool:
        """Whether boards get a runtime compiled from sources, and not one of wheels."""
        return bool(self.sources)

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
    found = {path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yml")}
    return sorted(found - set(DATA_FILES))


def stack_name(board_vars: Mapping[str, Any], asked: str = "") -> str:
    """The stack that a board gets: what was `asked` for, else what its variables say, else the default."""
    return str(asked or board_vars.get("tvm_stack") or DEFAULT_STACK)


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
    from tvmops.stack.reading import stack_from

    return stack_from(path)
