"""fetch: a file of the board is copied to this machine, piece by piece, and compared by its sha256."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from tvmops.digests import file_sha256
from tvmops.paths import user_path
from tvmops.playbook.actions.action import Action

PIECE = 1 << 20  # bytes


def fetch(action: Action, args: dict[str, Any]) -> dict[str, Any]:
    """Copy the file unless it is here already."""
    clean = action.arguments(args)
    source, flat = str(clean["src"]), clean["flat"]
    looked = action.ask("_read_piece", {"path": source, "size": 1, "sha256": True})
    if looked.get("failed"):
        return looked
    if looked["state"] != "file":
        return _no_file(source, str(looked["state"]), must=clean["fail_on_missing"])
    path = _destination(action, source, str(clean["dest"]), flat=flat)
    here = _digest(path)
    about = {"dest": str(path), "file": source, "sha256": looked["sha256"]}
    if here == looked["sha256"]:
        return {"changed": False, **about, **_sums(path)}
    if action.conduct.check:
        return {"changed": True, **about}
    wanted = str(looked["sha256"]) if clean["validate_checksum"] else None
    problem = _copy(action, source, path, wanted)
    if problem:
        return {"changed": False, "failed": True, "msg": problem, "file": source, "dest": str(path)}
    return {"changed": True, **about, **_sums(path)}


def _sums(path: Path) -> dict[str, str]:
    """What Ansible calls the file's checksums: SHA-1."""
    with path.open("rb") as file:
        digest = hashlib.sha1(usedforsecurity=False)
        while piece := file.read(PIECE):
            digest.update(piece)
    return {"checksum": digest.hexdigest(), "remote_checksum": digest.hexdigest()}


def _no_file(source: str, state: str, *, must: bool) -> dict[str, Any]:
    what = {"absent": "the remote file does not exist", "directory": "remote file is a directory: fetch copies files"}
    message = f"{what.get(state, 'the remote path is no file')}: {source}"
    if must:
        return {"changed": False, "failed": True, "msg": message, "file": source}
    return {"changed": False, "msg": f"{message}, not transferring, ignored", "file": source}


def _destination(action: Action, source: str, dest: str, *, flat: bool) -> Path:
    given = user_path(dest)
    path = given if given.is_absolute() else action.basedir / given
    if not flat:
        return Path(os.path.normpath(path / action.host / source.lstrip("/")))
    if dest.endswith("/") or path.is_dir():
        path /= os.path.basename(source)  # noqa: PTH119  a path of the board, not of this machine
    return Path(os.path.normpath(path))


def _digest(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except OSError:
        return None


def _copy(action: Action, source: str, path: Path, wanted: str | None) -> str:
    """Write the file beside its place and rename it there; a complaint when that does not work."""
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".fetch-", dir=path.parent)
    except OSError as error:
        return f"cannot write to '{path.parent}': {error.strerror}"
    try:
        with os.fdopen(descriptor, "wb") as file:
            problem = _pieces(action, source, file, digest)
            if problem:
                return problem
            file.flush()
            os.fsync(file.fileno())
        if wanted is not None and digest.hexdigest() != wanted:
            return f"checksum mismatch: '{source}' changed while it was copied"
        # mkstemp makes it private; fetched files have the mode that new files have.
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
        return ""
    except OSError as error:
        return f"cannot write '{path}': {error.strerror}"
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()


def _pieces(action: Action, source: str, file: Any, digest: Any) -> str:
    offset = 0
    while True:
        piece = action.ask("_read_piece", {"path": source, "offset": offset, "size": PIECE})
        if piece.get("failed") or piece.get("state") != "file":
            return str(piece.get("msg") or f"'{source}' is gone")
        data = base64.b64decode(piece["content"])
        file.write(data)
        digest.update(data)
        offset += len(data)
        if piece["last"]:
            return ""
        action.say(f"{offset / 1e6:.0f} MB")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
