"""What each release of TVM needs and has: the version table, stacks/versions.yml."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.paths import project_root
from tvmops.source import Map, did_you_mean, load_yaml
from tvmops.stack.spec import Target, version_tuple

_PYTHONS = re.compile(r"^>=(\d+\.\d+)(?:,<(\d+\.\d+))?$")
_RELEASED = re.compile(r"^\d+(\.\d+)*$")


@dataclass(frozen=True)
class Release:
    """One release. Versions are text like "3.18", minima inclusive; `python_below` is exclusive, "" where unknown.

    `cmake_runtime` and `cmake_min` are the CMakes that really work, without and with LLVM; `cmake_declared` is what
    the release says. `llvm_min` to `llvm_max` are majors, `llvm_blocked` whole versions. `branch_too`: the repository
    has a branch of the tag's name.
    """

    tag: str
    date: str
    commit: str
    cmake_declared: str
    cmake_runtime: str
    cmake_min: str
    cxx_standard: int
    gcc_min: str
    python_min: str
    python_below: str
    llvm_min: str
    llvm_max: str
    llvm_blocked: tuple[str, ...]
    llvm_tested: str
    rpc_protocol: str
    tophub: tuple[str, ...]
    submodules: tuple[str, ...]
    features: tuple[str, ...]
    branch_too: bool
    notes: tuple[str, ...]

    @property
    def version(self) -> tuple[int, ...]:
        """The tag as numbers: (0, 19, 0)."""
        return version_tuple(self.tag[1:])

    def has(self, feature: str) -> bool:
        """Whether the release has `feature`: relay, relax, autotvm, tophub, vta, cpp_rpc, graph_executor, …"""
        return feature in self.features

    def cmake_for(self, target: Target) -> str:
        """The oldest CMake that configures `target`; only builds with LLVM need `cmake_min`."""
        return self.cmake_runtime if target == "runtime" else self.cmake_min

    def supports_python(self, python: str) -> bool:
        """Whether its Python part runs with Python `python` ("3.11" or "3.11.2")."""
        asked = version_tuple(python)[:2]
        below = not self.python_below or asked < version_tuple(self.python_below)
        return version_tuple(self.python_min) <= asked and below

    def llvm_problem(self, version: str) -> str:
        """Why LLVM `version` ("14.0.6", as llvm-config --version prints it) cannot be used; "" when it can."""
        fitting = f"{self.tag} takes LLVM {self.llvm_min} to {self.llvm_max}"
        if not _RELEASED.match(version):
            return f"LLVM {version} is no release; {fitting}"
        if version in self.llvm_blocked:
            return f"{self.tag} does not compile with LLVM {version}, only with those before and after it"
        major = version_tuple(version)[0]
        if major < int(self.llvm_min):
            return f"LLVM {version} is too old: {fitting}"
        if major > int(self.llvm_max):
            return f"LLVM {version} is newer than {self.tag} knows: {fitting}"
        return ""


def releases() -> tuple[Release, ...]:
    """All releases in the version table, oldest first. Raises ConfigError when the table is damaged."""
    return _table(project_root() / "stacks" / "versions.yml")


def release(tag: str) -> Release:
    """The release with the tag `tag` ("v0.19.0"). Raises ConfigError, naming the nearest."""
    known = {one.tag: one for one in releases()}
    if tag in known:
        return known[tag]
    raise ConfigError(f"'{tag}' is no release in stacks/versions.yml", did_you_mean(tag, known))


def _key(tag: str) -> tuple[int, ...]:
    return version_tuple(tag[1:])


@functools.lru_cache(maxsize=4)
def _table(path: Path) -> tuple[Release, ...]:
    document = load_yaml(path)
    if not isinstance(document, Map):
        raise ConfigError(f"{path}:1:1: the version table is a mapping of tags")
    return tuple(sorted((_release(str(tag), document, path) for tag in document), key=lambda one: _key(one.tag)))


def _release(tag: str, document: Map, path: Path) -> Release:
    row: Any = document[tag]
    try:
        python = _PYTHONS.match(row["python"])
        if python is None:
            raise ValueError(f"'{row['python']}' is no Python range")
        return Release(
            tag=tag,
            date=row["date"],
            commit=row["commit"],
            cmake_declared=row["cmake"]["declared"],
            cmake_runtime=row["cmake"]["runtime"],
            cmake_min=row["cmake"]["full"],
            cxx_standard=int(row["cxx"]),
            gcc_min=row["gcc"],
            python_min=python.group(1),
            python_below=python.group(2) or "",
            llvm_min=row["llvm"]["oldest"],
            llvm_max=row["llvm"]["newest"],
            llvm_blocked=tuple(row["llvm"]["blocked"]),
            llvm_tested=row["llvm"]["tested"],
            rpc_protocol=row["rpc"],
            tophub=tuple(row["tophub"]),
            submodules=tuple(row["submodules"]),
            features=tuple(row["features"]),
            branch_too=bool(row["branch_too"]),
            notes=tuple(row.get("notes", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{document.keys_at[tag]}: the row {tag} cannot be used: {error!r}", f"see {path}") from error
