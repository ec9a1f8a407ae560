"""A folder of the controller's as one blob: an archive that is the same bytes for the same contents."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.playbook.files import BlobStore

LIMIT = 512 << 20  # bytes of content; the archive is made in memory
SMALLER = "copy the larger files one by one, or send an archive with unarchive"


def add_folder(source: str, path: Path, blobs: BlobStore, follow: bool) -> dict[str, Any]:
    """A reference to a folder: {"sha256", "size", "tree": {"top", "directories", "files", "links"}}.

    `source` as the task says it: with a slash at its end the folder's contents are meant, else the folder itself
    (`top` is its name). `follow`: links count as what they lead to. Raises ConfigError.
    """
    top = "" if source.endswith("/") else Path(source).name
    tree: dict[str, Any] = {"top": top, "directories": [], "files": [], "links": []}
    try:
        names = _listed(path, follow)
        size = sum((path / name).stat().st_size for name, kind in names if kind == "file")
        if size > LIMIT:
            raise ConfigError(f"the folder '{path}' has {size >> 20} MiB", SMALLER)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, kind in names:
                _add(path / name, name, kind, tree, archive)
    except OSError as error:
        raise ConfigError(f"cannot read '{error.filename}': {error.strerror}", "check it and its permissions") from None
    return {**blobs.add_bytes(packed.getvalue()), "tree": tree}


def _listed(path: Path, follow: bool) -> list[tuple[str, str]]:
    """(path below the folder, kind) of all that is in it, sorted. Raises ConfigError for links in a circle."""
    found: list[tuple[str, str]] = []
    seen: dict[Path, set[Path]] = {path: {path.resolve()}}
    for folder, folders, others in os.walk(path, followlinks=follow):
        above = seen[Path(folder)]
        for name in list(folders):
            inner = Path(folder, name)
            if inner.is_symlink() and not follow:
                found.append((str(inner.relative_to(path)), "link"))
                continue
            if inner.resolve() in above:
                raise ConfigError(f"'{inner}' leads back to a folder above it", "remove the link, or copy with a loop")
            seen[inner] = above | {inner.resolve()}
            found.append((str(inner.relative_to(path)), "directory"))
        for name in others:
            inner = Path(folder, name)
            if inner.is_symlink() and not follow:
                found.append((str(inner.relative_to(path)), "link"))
            elif stat.S_ISREG(inner.stat().st_mode):
                found.append((str(inner.relative_to(path)), "file"))
    return sorted(found)


def _add(path: Path, name: str, kind: str, tree: dict[str, Any], archive: tarfile.TarFile) -> None:
    if kind == "link":
        tree["links"].append({"path": name, "target": str(path.readlink())})
        return
    if kind == "directory":
        tree["directories"].append(name)
        return
    data = path.read_bytes()
    mode = stat.S_IMODE(path.stat().st_mode)
    digest = hashlib.sha256(data).hexdigest()
    tree["files"].append({"path": name, "sha256": digest, "size": len(data), "mode": f"{mode:04o}"})
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    archive.addfile(entry, io.BytesIO(data))
