"""The options of config.cmake that a source tree defines, and whether what is asked for is among them.

CMake itself is silent about options that it does not know: what was asked for is then simply not built.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tvmops.errors import ConfigError, ConfigErrors, StackError
from tvmops.paths import project_root
from tvmops.source import did_you_mean, load_yaml
from tvmops.stack.cmake import Command, parse_cmake
from tvmops.stack.spec import version_tuple
from tvmops.stack.versions import Release

SWITCHES = ("ON", "OFF", "TRUE", "FALSE", "YES", "NO", "Y", "N", "1", "0")
ENABLING = ("ON", "TRUE", "YES", "Y", "1")
# What an option needs of the tree beside CMake's own files.
PARTS = {
    "USE_CPP_RPC": "apps/cpp_rpc",
    "USE_VTA_FSIM": "3rdparty/vta-hw",
    "USE_VTA_TSIM": "3rdparty/vta-hw",
    "USE_VTA_FPGA": "3rdparty/vta-hw",
    "USE_LIBBACKTRACE": "3rdparty/libbacktrace",
}
# These only print or store every option: who stands in no other file builds nothing.
_REPORTS = ("LibInfo.cmake", "Summary.cmake", "config.cmake")
_DECLARE = ("tvm_option", "option")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RENAMED = re.compile(r"\b([A-Z][A-Z0-9_]+) (?:renamed to|is deprecated, use) ([A-Z][A-Z0-9_]+)")


@dataclass(frozen=True)
class Option:
    """One option of a tree. `reads` says whether any CMake file acts on it; `takes_path` whether it may be a path.

    `place` is the file and line in the tree that defines it; `choices` are its words, empty when any text will do.
    """

    name: str
    default: str
    about: str
    place: str
    choices: tuple[str, ...]
    takes_path: bool
    reads: bool


@dataclass(frozen=True)
class Asked:
    """A value that somebody wants for an option, and where he said so ("stacks/x.yml:30:5", "--set USE_RPC=ON")."""

    value: str
    where: str


def known_options(tree: Path) -> dict[str, Option]:
    """The options that the source tree `tree` defines, by name. Raises StackError when it is no tree of TVM."""
    try:
        declared = _declared(parse_cmake(_read(tree / "CMakeLists.txt")))
        listed = _listed(parse_cmake(_read(tree / "cmake" / "config.cmake")))
    except OSError as error:
        raise StackError(f"{error.filename}: {error.strerror}", "this is no source tree of TVM") from None
    used = _words_in_use(tree)
    found = {}
    for name in sorted({*declared, *listed}):
        first = declared.get(name) or listed[name]
        where = f"{'CMakeLists.txt' if name in declared else 'cmake/config.cmake'}:{first.line}"
        found[name] = _option(name, declared.get(name), listed.get(name), where, name in used or name in declared)
    return found


def renamed_options(tree: Path) -> dict[str, str]:
    """Old names to new ones, as the tree's own CMake files say."""
    pairs: dict[str, str] = {}
    for path in _cmake_files(tree):
        for old, new in _RENAMED.findall(_read(path)):
            pairs[old] = new
    return pairs


def check_options(
    asked: Mapping[str, Asked], tree: Path, release: Release, exists: Callable[[str], bool] = os.path.exists
) -> None:
    """Raise ConfigErrors for every option of `asked` that this tree does not have or that cannot have this value.

    `exists` tells whether a path exists where the build will be; give `lambda path: True` where that is unknown.
    """
    known, renamed = known_options(tree), renamed_options(tree)
    errors: list[ConfigError] = []
    for name, wish in sorted(asked.items()):
        option = known.get(name)
        if option is None or name in renamed or not option.reads:
            errors.append(_not_there(name, wish, known, renamed, release))
        elif error := _bad_value(option, wish, exists) or _missing_part(option, wish, tree, release):
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)


def _not_there(
    name: str, wish: Asked, known: Mapping[str, Option], renamed: Mapping[str, str], release: Release
) -> ConfigError:
    live = {one for one, option in known.items() if option.reads and one not in renamed}
    renames = {**_renames(), **renamed}
    new = renames.get(name, "")
    old = next((one for one, other in renames.items() if other == name and one in live), "")
    if new in live or old:
        return ConfigError(
            f"{wish.where}: {name} is called {new if new in live else old} in {release.tag}", "rename it"
        )
    since, last = history().get(name, ("", ""))
    near = difflib.get_close_matches(name, sorted(live), n=1, cutoff=0.6)
    if last and version_tuple(last[1:]) < release.version:
        listed = "; cmake/config.cmake still lists it, but nothing reads it" if name in known else ""
        hint = f"take it away, or build {last}" + (f"; the nearest name that is left: '{near[0]}'" if near else "")
        return ConfigError(f"{wish.where}: {name} was removed after {last}, this is {release.tag}{listed}", hint)
    if since and version_tuple(since[1:]) > release.version:
        return ConfigError(f"{wish.where}: {name} came with {since}, this is {release.tag}", did_you_mean(name, live))
    if name in known:
        return ConfigError(f"{wish.where}: {known[name].place} lists {name}, but nothing in this tree reads it")
    hint = did_you_mean(name, live)
    if name.startswith("CMAKE_"):
        hint = "variables of CMake itself are chosen by the builder"
    return ConfigError(f"{wish.where}: {release.tag} has no option {name}", hint)


def _bad_value(option: Option, wish: Asked, exists: Callable[[str], bool]) -> ConfigError | None:
    value = wish.value
    if value.upper() in option.choices or not (option.choices or option.takes_path):
        return None
    first = value.split(" ")[0] if option.name == "USE_LLVM" else value
    if option.takes_path and value.startswith("/"):
        if exists(first):
            return None
        return ConfigError(f"{wish.where}: {option.name}: there is no {first}", f"it is {option.about or 'a path'}")
    if option.takes_path and option.name == "USE_LLVM" and "llvm-config" in first:
        return None  # a program that the build finds by its name
    if not option.choices:
        return None
    words = ", ".join(word for word in ("ON", "OFF", "AUTO") if word in option.choices)
    hint = did_you_mean(value.upper(), option.choices) if difflib.get_close_matches(value, option.choices) else ""
    path = ", or a path that begins with /" if option.takes_path else ""
    return ConfigError(f"{wish.where}: {option.name} cannot be '{value}': it is {words}{path}", hint)


def _missing_part(option: Option, wish: Asked, tree: Path, release: Release) -> ConfigError | None:
    part = PARTS.get(option.name, "")
    if not part or wish.value.upper() not in ENABLING or _has_files(tree / part):
        return None
    lost = part.startswith("3rdparty/") and part not in release.submodules
    if lost:
        return ConfigError(
            f"{wish.where}: {option.name} needs {part}, which {release.tag} has not", " ".join(release.notes)
        )
    return ConfigError(
        f"{wish.where}: {option.name} needs {part}, which this source tree lacks",
        "take another source of the stack (--source), one with all submodules and apps",
    )


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _declared(commands: list[Command]) -> dict[str, Command]:
    return {one.arguments[0]: one for one in commands if one.name in _DECLARE and len(one.arguments) >= 2}


def _listed(commands: list[Command]) -> dict[str, Command]:
    """The set() calls of config.cmake; those in one block share the comment above it."""
    found: dict[str, Command] = {}
    above = Command("", (), 0)
    for one in commands:
        if one.name == "set" and len(one.arguments) >= 2 and not one.arguments[0].startswith("CMAKE_"):
            above = one if one.comment or one.line != above.line + 1 else replace(one, comment=above.comment)
            found[one.arguments[0]] = above
    return found


def _option(name: str, declared: Command | None, listed: Command | None, place: str, reads: bool) -> Option:
    description = declared.arguments[1] if declared else ""
    defaults = declared.arguments[2:3] if declared else listed.arguments[1:2] if listed else ()
    default = defaults[0] if defaults else "OFF"
    comment = [line for line in (listed.comment if listed else ()) if line]
    about = description or (comment[0] if comment else "")
    takes_path = (
        "path" in " ".join([description, *comment]).lower() or default.startswith("/") or name.endswith("_PATH")
    )
    choices: tuple[str, ...] = ()
    if default.upper() in (*SWITCHES, "AUTO") and not default.isdigit():
        choices = tuple(dict.fromkeys((*SWITCHES, default.upper(), *_listed_values(comment))))
    return Option(name, default, " ".join(about.split()), place, choices, takes_path, reads)


def _listed_values(comment: list[str]) -> list[str]:
    """The words that a comment of config.cmake lists like "- STATIC: link it"."""
    found = (re.match(r"-\s*([A-Za-z0-9_.]+)\s*(?::|$)", line) for line in comment)
    return [match.group(1).upper() for match in found if match]


def _words_in_use(tree: Path) -> set[str]:
    """Names that CMake files of the tree read, rather than only declare, print or store."""
    words: set[str] = set()
    for path in _cmake_files(tree):
        for command in parse_cmake(_read(path)):
            own = command.name in ("set", "unset", *_DECLARE, "message")
            for argument in command.arguments[1 if own else 0 :]:
                words.update(_WORD.findall(argument))
    return words


def _cmake_files(tree: Path) -> Iterator[Path]:
    """The tree's CMake files that can act on options; those that only report them are left out."""
    yield tree / "CMakeLists.txt"
    yield from sorted(path for path in (tree / "cmake").rglob("*.cmake") if path.name not in _REPORTS)
    yield from sorted(path for folder in ("apps", "3rdparty") for path in tree.glob(f"{folder}/*/CMakeLists.txt"))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def history() -> dict[str, tuple[str, str]]:
    """The first and the last release that have each option, from stacks/options.yml; "" as last: it is still there."""
    return {name: (row[0], row[1]) for name, row in _data()["releases"].items()}


def _renames() -> dict[str, str]:
    return dict(_data()["renamed"])


@functools.lru_cache(maxsize=1)
def _data() -> dict[str, dict[str, str]]:
    document = load_yaml(project_root() / "stacks" / "options.yml")
    assert isinstance(document, dict)
    return document
