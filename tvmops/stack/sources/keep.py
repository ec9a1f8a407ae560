"""Where source trees are kept: one folder per identity, with the tree and the archive that builders get."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from tvmops.errors import StackError
from tvmops.paths import cache_dir
from tvmops.stack.environment import OnProgress, locked, quiet
from tvmops.stack.sources.tree import Entry, SourceTree, identity, read_entry, walk

ARCHIVE = "source.tar.gz"
PACKED = "packed"  # holds the archive's size in bytes
COMPRESSION = 5
KEPT_TREES = 6  # the newest ones stay whatever their age
KEPT_SECONDS = 14 * 86400.0  # a tree that was used in this time stays
ABANDONED_SECONDS = 2 * 86400.0  # after this, a folder of work belongs to nobody


def sources_dir() -> Path:
    """The folder of all source trees."""
    return cache_dir() / "sources"


@contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """An empty folder beside the kept trees; it is gone afterwards, whatever happens."""
    sources_dir().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=sources_dir()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(about: SourceTree, names: Iterator[str] | None = None, on_progress: OnProgress = quiet) -> SourceTree:
    """Pack the tree in `about.folder` (its paths `names`, else all that belong to it) and keep it under its identity.

    Returns `about` with folder, archive, identity and sizes of what was kept. Raises StackError.
    """
    try:
        chosen = sorted(walk(about.folder, names))
        if not chosen:
            raise StackError(f"{about.origin} holds no files")
        entries = [read_entry(about.folder, name) for name in chosen]
        known = _place(entries)
        if not _is_whole(known):
            on_progress("packing the source tree")
            with work_folder("packing") as work:
                entries = _pack(about.folder, chosen, work / "kept")
                known = _place(entries)
                with locked(sources_dir() / ".keep.lock", on_progress):
                    if not _is_whole(known):
                        shutil.rmtree(known, ignore_errors=True)
                        (work / "kept").replace(known)
        os.utime(known)
        _prune(known)
        packed = (known / ARCHIVE).stat().st_size
    except OSError as error:
        raise disk_error(error, "packing the source tree") from None
    return replace(
        about,
        folder=known / "tree",
        archive=known / ARCHIVE,
        identity=identity(entries),
        files=len(entries),
        size=sum(entry.size for entry in entries),
        packed=packed,
    )


def _place(entries: list[Entry]) -> Path:
    return sources_dir() / identity(entries)[:16]


def _is_whole(place: Path) -> bool:
    """Whether all of a tree is there; a power cut can leave files without their content."""
    try:
        return (place / "tree").is_dir() and (place / ARCHIVE).stat().st_size == int((place / PACKED).read_text())
    except (OSError, ValueError):
        return False


def _pack(folder: Path, chosen: list[str], kept: Path) -> list[Entry]:
    """Bring the tree to kept/tree, and into kept/source.tar.gz; what came there counts: `folder` may be worked in."""
    tree = kept / "tree"
    tree.mkdir(parents=True)
    # What was fetched into a folder of ours is moved: copying thousands of files takes its time.
    bring = _move if folder.is_relative_to(sources_dir()) else _copy
    for name in chosen:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        bring(folder / name, tree / name)
    entries = [read_entry(tree, name) for name in chosen]
    with (kept / ARCHIVE).open("wb") as out:
        write_archive(tree, entries, out)
        out.flush()
        os.fsync(out.fileno())
    (kept / PACKED).write_text(str((kept / ARCHIVE).stat().st_size))
    return entries


def _move(source: Path, target: Path) -> None:
    source.replace(target)


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink() or source.is_file():
        shutil.copy2(source, target, follow_symlinks=False)
    else:
        read_entry(source.parent, source.name)  # says what is wrong with it


def write_archive(folder: Path, entries: list[Entry], out: IO[bytes]) -> None:
    """A tar.gz of the tree that is the same bytes every time: sorted, owned by root, dated 1970. Raises OSError."""
    with (
        gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=COMPRESSION, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for entry in sorted(entries):
            member = tarfile.TarInfo(entry.path)
            if entry.mode == "l":
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.value, 0o777
                tar.addfile(member)
                continue
            data = (folder / entry.path).read_bytes()
            member.size, member.mode = len(data), 0o755 if entry.mode == "x" else 0o644
            tar.addfile(member, io.BytesIO(data))


def recall(key: str) -> SourceTree | None:
    """The tree that the request `key` gave last time, when it is still kept."""
    try:
        stored: dict[str, Any] = json.loads(_note(key).read_text(encoding="utf-8"))
        place = sources_dir() / stored["identity"][:16]
        stored["folder"], stored["archive"] = place / "tree", place / ARCHIVE
        stored["absent"], stored["notes"] = tuple(stored["absent"]), tuple(stored["notes"])
        tree = SourceTree(**stored)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not _is_whole(place):
        return None
    with suppress(OSError):
        os.utime(place)
    return tree


def remember(key: str, tree: SourceTree) -> None:
    """Note what the request `key` gives."""
    fields: Mapping[str, Any] = {**asdict(tree), "folder": "", "archive": ""}
    fresh = _note(key).with_suffix(f".{os.getpid()}.new")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    fresh.write_text(json.dumps(fields, indent=1), encoding="utf-8")
    fresh.replace(_note(key))


def _note(key: str) -> Path:
    return sources_dir() / "requests" / f"{key}.json"


def disk_error(error: OSError, doing: str) -> StackError:
    """What to say when the disk is full, or a file cannot be read, while `doing`."""
    about = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    return StackError(f"{doing} failed: {about}", f"source trees are kept in {sources_dir()}; nothing half was left")


def _prune(keeping: Path) -> None:
    """Remove trees that nobody has used for long, and what processes left that were killed."""
    now = time.time()
    found: list[tuple[float, Path]] = []
    for path in sources_dir().iterdir():
        with suppress(OSError):  # another process removes, too
            if path.is_dir():
                found.append((path.stat().st_mtime, path))
    trees = sorted((item for item in found if (item[1] / ARCHIVE).exists()), reverse=True)
    old = [path for used, path in trees[KEPT_TREES:] if now - used > KEPT_SECONDS and path != keeping]
    old += [path for used, path in found if path.name.startswith(".") and now - used > ABANDONED_SECONDS]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
