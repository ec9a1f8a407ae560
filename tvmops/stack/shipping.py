"""Shipments: what is sent to a board that is to get an artifact. The whole of it, or what an older release lacks."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmops.errors import TvmopsError
from tvmops.paths import cache_dir
from tvmops.stack.artifact import Artifact, manifest_key, read_archive, write_archive
from tvmops.stack.differences import differences
from tvmops.stack.environment import beside, locked
from tvmops.stack.store import Store, local_folder

PIECES = ".pieces.json"  # files that are put together on the board: {name: {from, from_sha256, mode, pieces}}
ALWAYS = ("VERSION", "manifest.json")  # what every shipment has: they differ with every artifact
KEPT_SECONDS = 30 * 24 * 3600.0  # shipments that were not used for so long are removed


@dataclass(frozen=True)
class Shipment:
    """A tar.gz for boards and its size in bytes. `base_key`: the release that has the other files; "" for the whole."""

    path: Path
    size: int
    base_key: str = ""


def shipment(artifact: Artifact, base: Artifact | None = None) -> Shipment:
    """The archive for boards that have the release `base` (of which only the manifest is read), made on first use.

    The same two artifacts give the same bytes. Raises StackError when the artifact's archive is damaged.
    """
    _remember(artifact)
    if base is None and artifact.path.name.endswith(".tar.gz"):
        return Shipment(artifact.path, artifact.size)
    path = _folder() / f"{artifact.key}-{base.key if base else 'whole'}.tar.gz"
    with locked(beside(path, ".lock")):
        if not _still_there(path):
            _tidy()
            _make(path, artifact, base)
    return Shipment(path, path.stat().st_size, base.key if base else "")


def best_base(artifact: Artifact, keys: Iterable[str]) -> Artifact | None:
    """Of a board's releases the one that saves most; None when none is known here or has anything of the artifact."""
    known = known_manifests(set(keys) - {artifact.key})
    saved = {key: shared_bytes(artifact.manifest, manifest) for key, manifest in known.items()}
    best = max(sorted(saved), key=lambda key: saved[key], default=None)
    if best is None or not saved[best]:
        return None
    return Artifact(best, Path(), 0, known[best])


def find_artifact(key: str, store: str | None = None) -> Artifact:
    """The artifact with this key, from the store (default: $TVMOPS_STORE) or made from wheels on this machine.

    Raises StackError when there is none, or it is damaged.
    """
    path = local_folder() / f"{key}.tar.gz"
    manifest = known_manifests([key]).get(key)
    if manifest is not None and path.exists():
        return Artifact(key, path, path.stat().st_size, manifest)
    opened = Store(store)
    try:
        return opened.get(key)
    finally:
        opened.close()


def shared_bytes(manifest: Mapping[str, Any], base: Mapping[str, Any]) -> int:
    """Bytes of an artifact's files that a release with the manifest `base` has."""
    there = _contents(base)
    return sum(int(entry["size"]) for entry in manifest["files"].values() if _content(entry) in there)


def known_manifests(keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The manifests, by key, of those artifacts that this machine has seen: in its store, or shipped from here."""
    wanted = set(keys)
    found: dict[str, dict[str, Any]] = {}
    named = [folder / f"{key}.json" for folder in (local_folder(), _manifests()) for key in sorted(wanted)]
    for path in [*named, *sorted(local_folder().glob("*-py*.json"))]:
        if not wanted - set(found):
            break
        manifest = _manifest_in(path)
        key = manifest_key(manifest) if manifest else ""
        if key in wanted and manifest:
            found[key] = manifest
    return found


def _manifest_in(path: Path) -> dict[str, Any] | None:
    """What a file of the store says of an artifact; one that is torn or no such file says nothing."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        manifest = stored["manifest"]
        return manifest if isinstance(manifest["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _contents(manifest: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {_content(entry) for entry in manifest["files"].values()}


def _content(entry: Mapping[str, Any]) -> tuple[str, str]:
    """What two files must have in common to be one on the board: their content and, as it is one file, their mode."""
    return str(entry["sha256"]), str(entry.get("mode") or "")


def _still_there(path: Path) -> bool:
    """Whether a shipment was made before; it is dated now, so that nobody tidies it up meanwhile."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _make(path: Path, artifact: Artifact, base: Artifact | None) -> None:
    there = _contents(base.manifest) if base else set()
    files = artifact.manifest["files"]
    contents: dict[str, bytes] = {}
    modes: dict[str, int] = {}
    for name, mode, data in read_archive(artifact.path):
        if name in ALWAYS or name not in files or _content(files[name]) not in there:
            contents[name], modes[name] = data, mode
    if base is not None:
        pieces = _in_pieces(contents, modes, base)
        contents = {name: data for name, data in contents.items() if name not in pieces}
        if pieces:
            contents[PIECES] = json.dumps(pieces, sort_keys=True).encode()
    fresh = beside(path, f".{secrets.token_hex(4)}.new")
    try:
        with fresh.open("wb") as out:
            write_archive(out, contents, modes)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _in_pieces(contents: Mapping[str, bytes], modes: Mapping[str, int], base: Artifact) -> dict[str, dict[str, Any]]:
    """What of `contents` is better sent as pieces of the base's files of the same name."""
    pieces: dict[str, dict[str, Any]] = {}
    try:
        for name, _, old in read_archive(find_artifact(base.key).path):
            if name in contents and name != "VERSION" and (found := differences(old, contents[name])) is not None:
                about = {"from": name, "from_sha256": hashlib.sha256(old).hexdigest(), "mode": modes[name]}
                pieces[name] = {**about, "pieces": found}
    except (TvmopsError, FileNotFoundError):
        return {}  # the base's manifest is known here, its files are not, or are damaged
    return pieces


def _remember(artifact: Artifact) -> None:
    """Keep the manifest: with it the next shipment to this board can be small."""
    path = _manifests() / f"{artifact.key}.json"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = beside(path, f".{secrets.token_hex(4)}.new")
    fresh.write_text(json.dumps({"manifest": artifact.manifest}), encoding="utf-8")
    fresh.replace(path)


def _tidy() -> None:
    limit = time.time() - KEPT_SECONDS
    for path in _folder().glob("*.tar.gz*"):
        if path.stat().st_mtime < limit:
            path.unlink(missing_ok=True)


def _folder() -> Path:
    return cache_dir() / "shipments"


def _manifests() -> Path:
    return _folder() / "manifests"
