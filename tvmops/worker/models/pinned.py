"""A file that a workload names beside its model: on this machine, on the web, or inside a package's wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from ..failures import JobError
from .download import check_sha256, download
from .wheel_store import member_path

WHEEL_KEYS = ("package", "version", "wheel_sha256", "member", "sha256")


def is_file(value: Any) -> bool:
    """Does this value of a workload name a file?"""
    return isinstance(value, dict) and any(key in value for key in ("path", "url", "package"))


def pinned_file(where: Dict[str, Any], what: str, cache_dir: Path) -> Path:
    """The file, its content checked. `what` names it in messages. Raises JobError: BadInput, Download."""
    if not is_file(where):
        raise JobError("BadInput", f"{what} must be a file: 'path', 'url' with 'sha256', or a wheel's 'package'")
    if "path" in where:
        path = Path(where["path"]).expanduser()
        if not path.is_absolute() or not path.is_file():
            raise JobError("BadInput", f"{what}: no such file: {path}")
        return check_sha256(path, where.get("sha256"))
    if "url" in where:
        pin = where.get("sha256") or where.get("sha512")
        if not pin:
            raise JobError("BadInput", f"{what} with a 'url' needs its 'sha256' (or 'sha512')")
        return download(where["url"], pin, cache_dir)
    for key in WHEEL_KEYS:
        if not where.get(key):
            raise JobError("BadInput", f"{what} needs '{key}'")
    return member_path(where, where["member"], where["sha256"], cache_dir)
