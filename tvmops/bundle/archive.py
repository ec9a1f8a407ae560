"""The bundle file: a plain tar whose first member, bundle.json, locks all others by size and SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tvmops.digests import file_sha256
from tvmops.errors import BundleError
from tvmops.paths import cache_dir
from tvmops.stack.environment import beside, locked

LOCK = "bundle.json"
FORMAT = 1


@dataclass
class Part:
    """What goes into a bundle besides what its hosts need. `files`: name in the bundle -> local path; `about`: what
    the lock says of them; `not_in_it`: what belongs to it and has to be brought by other ways, as text.
    """

    files: dict[str, Path] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    not_in_it: list[str] = field(default_factory=list)


def write_bundle(path: Path, about: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    """Pack `files` (name in the bundle -> local path) and the facts `about` them; gives the lock that was written."""
    sizes = {name: file.stat().st_size for name, file in files.items()}
    locked = {name: {"sha256": file_sha256(file), "size": sizes[name]} for name, file in sorted(files.items())}
    lock = {"format": FORMAT, **about, "files": locked}
    text = (json.dumps(lock, indent=1, sort_keys=True) + "\n").encode()
    partial = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar:
            tar.addfile(_member(LOCK, len(text)), io.BytesIO(text))
            for name, file in sorted(files.items()):
                with file.open("rb") as content:
                    tar.addfile(_member(name, sizes[name]), content)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise BundleError(f"{path}: {error.strerror}", "name another place with --output") from error
    return lock


def read_lock(path: Path) -> dict[str, Any]:
    """What a bundle says of itself. Raises BundleError."""
    with _opened(path) as tar:
        return _lock(path, tar)


def unpack_bundle(path: Path) -> tuple[Path, dict[str, Any]]:
    """The bundle's files, each checked, in a folder of the cache, and its lock. Raises BundleError, StackError."""
    with _opened(path) as tar:
        lock = _lock(path, tar)
        identity = hashlib.sha256(json.dumps(lock, sort_keys=True).encode()).hexdigest()[:16]
        folder = cache_dir() / "bundles" / identity
        with locked(beside(folder, ".lock")):
            if not _is_unpacked(folder, lock):
                _unpack_anew(path, tar, lock, folder)
    return folder, lock


def _is_unpacked(folder: Path, lock: Mapping[str, Any]) -> bool:
    return (folder / LOCK).exists() and all(_is_whole(folder / name, entry) for name, entry in lock["files"].items())


def _unpack_anew(path: Path, tar: tarfile.TarFile, lock: Mapping[str, Any], folder: Path) -> None:
    """Beside its place first, so that the folder is there whole or not at all."""
    fresh = beside(folder, ".new")
    try:
        for old in (fresh, folder):
            if old.exists():
                shutil.rmtree(old)
        fresh.mkdir(parents=True)
        _unpack(path, tar, lock["files"], fresh)
        (fresh / LOCK).write_text(json.dumps(lock), encoding="utf-8")
        fresh.rename(folder)
    except (OSError, tarfile.TarError, BundleError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if isinstance(error, BundleError):
            raise
        raise BundleError(
            f"{path}: cannot be unpacked: {error}", "copy the bundle again, or free some space"
        ) from error


def _is_whole(file: Path, entry: Mapping[str, Any]) -> bool:
    """Whether the file is there, as the lock has it."""
    return file.is_file() and file.stat().st_size == entry["size"] and file_sha256(file) == entry["sha256"]


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")
    except FileNotFoundError:
        raise BundleError(
            f"{path}: no such bundle", "make one where there is a network: tvmops bundle.create"
        ) from None
    except (OSError, tarfile.TarError) as error:
        raise BundleError(f"{path}: this is no bundle: {error}", "make one with: tvmops bundle.create") from error


def _lock(path: Path, tar: tarfile.TarFile) -> dict[str, Any]:
    try:
        first = tar.next()
        content = tar.extractfile(first) if first and first.name == LOCK else None
        lock = json.loads(content.read()) if content else None
    except (OSError, ValueError, tarfile.TarError):
        lock = None
    if not isinstance(lock, dict) or not isinstance(lock.get("files"), dict):
        raise BundleError(f"{path}: this is no bundle: it does not begin with {LOCK}", "copy it again")
    if lock.get("format") != FORMAT:
        raise BundleError(f"{path}: format {lock.get('format')} is not known", f"this tvmops reads format {FORMAT}")
    hosts, files = lock.get("hosts"), lock["files"].values()
    well = isinstance(hosts, dict) and all("variables" in one for one in hosts.values()) and "not_in_it" in lock
    if not well or not all({"sha256", "size"} <= set(entry) for entry in files):
        raise BundleError(f"{path}: its {LOCK} is damaged", "copy the bundle again")
    return lock


def _unpack(path: Path, tar: tarfile.TarFile, wanted: Mapping[str, Any], folder: Path) -> None:
    missing = set(wanted)
    for member in tar:
        if member.name == LOCK:
            continue
        entry = wanted.get(member.name)
        if entry is None or not member.isreg() or ".." in PurePosixPath(member.name).parts or member.name[0] == "/":
            raise BundleError(f"{path}: {member.name} is not in the bundle's lock", "do not use this bundle")
        place = folder / member.name
        place.parent.mkdir(parents=True, exist_ok=True)
        content = tar.extractfile(member)
        assert content is not None
        with place.open("wb") as out:
            shutil.copyfileobj(content, out)
        if not _is_whole(place, entry):
            raise BundleError(f"{path}: {member.name} is damaged", "copy the bundle again")
        missing.discard(member.name)
    if missing:
        raise BundleError(f"{path}: {sorted(missing)[0]} is missing: the bundle is cut off", "copy it again")
