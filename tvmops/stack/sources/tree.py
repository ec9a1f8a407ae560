"""A source tree: what TVM is compiled from, and the identity that equal content has wherever it came from."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tvmops.errors import StackError
from tvmops.stack.sources.rules import takes, takes_file, takes_folder

IDENTITY_FORMAT = 1  # of what `identity` is computed from


@dataclass(frozen=True)
class SourceTree:
    """A source tree that was fetched, checked and kept; `folder` and `archive` are not to be changed.

    `archive` is a .tar.gz whose top level is the tree. `commit` is "" where nobody knows it and ends in "-changed" for
    a checkout with changes. `complete` is False where only the runtime can be built. `absent` are submodules that are
    not there and that only some options need (`sources.lacking`). `origin` and `notes` are for people.
    """

    kind: str
    folder: Path
    archive: Path
    identity: str
    commit: str = ""
    submodules: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    origin: str = ""
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: int = 0
    size: int = 0  # bytes, unpacked
    packed: int = 0  # bytes of the archive


@dataclass(frozen=True, order=True)
class Entry:
    """One file (mode "f", or "x": executable; `value` its SHA-256) or symbolic link (mode "l"; `value` its target)."""

    path: str
    mode: str
    value: str
    size: int


def identity(entries: Iterable[Entry]) -> str:
    """The SHA-256 over paths, modes and contents, in hex; neither dates nor order nor the archive's format count."""
    digest = hashlib.sha256(f"tvmops source tree {IDENTITY_FORMAT}\n".encode())
    for entry in sorted(entries):
        line = json.dumps([entry.path, entry.mode, entry.value], ensure_ascii=True)
        digest.update(line.encode("ascii", "backslashreplace") + b"\n")
    return digest.hexdigest()


def walk(folder: Path, names: Iterable[str] | None = None) -> Iterator[str]:
    """Paths in `folder` that belong to the tree, or those of `names` that do, unsorted. Raises OSError."""
    if names is not None:
        yield from filter(takes, names)
        return
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(folder / below) as found:
            for item in found:
                name = f"{below}/{item.name}" if below else item.name
                if item.is_dir(follow_symlinks=False):
                    if takes_folder(name):
                        waiting.append(name)
                elif takes_file(name):
                    yield name


def read_entry(folder: Path, name: str) -> Entry:
    """What is at `name` in the tree `folder`. Raises StackError for what no source tree may hold, OSError."""
    path = folder / name
    about = path.lstat()
    if stat.S_ISLNK(about.st_mode):
        target = os.readlink(path)  # noqa: PTH115  Path would tidy it up
        check_link(name, target, str(folder))
        # Through other links a target can leave the tree though its text does not.
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise StackError(f"{folder}: the link {name} leads out of the tree", "remove it, or make it a file")
        return Entry(name, "l", target, 0)
    if not stat.S_ISREG(about.st_mode):
        raise StackError(f"{path} is neither a file nor a symbolic link", "a source tree holds nothing else: remove it")
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return Entry(name, "x" if about.st_mode & stat.S_IXUSR else "f", digest.hexdigest(), size)


def check_link(name: str, target: str, where: str) -> None:
    """Raise StackError for a symbolic link that points out of the tree; `where` names the tree or archive."""
    if not target or target.startswith("/") or _climbs_out(PurePosixPath(name).parent / target):
        raise StackError(
            f"{where}: the link {name} points out of the tree, to {target}",
            "a builder elsewhere would not have what it points to, and unpacking could overwrite files of this machine",
        )


def _climbs_out(path: PurePosixPath) -> bool:
    depth = 0
    for part in path.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
