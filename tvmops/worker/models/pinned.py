"""A file that a workload names beside its model: on this machine, on the web, or inside a package's wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..failures import JobError
from .download import placed_file
from .wheel_store import member_path

WHEEL_KEYS = ("package", "version", "wheel_sha256", "member", "sha256")


def is_file(value: Any) -> bool:
    """Does this value of a workload name a file?"""
    return isinstance(value, dict) and any(key in value for key in ("path", "url", "package"))


def pinned_file(where: Any, what: str, cache_dir: Path) -> Path:
    """The file, its content checked. `what` names it in messages. Raises JobError: BadInput, Download."""
    if not (isinstance(where, dict) and "package" in where):
        return placed_file(where, cache_dir, what)
    for key in WHEEL_KEYS:
        if not where.get(key):
            raise JobError("BadInput", f"{what} comes from a wheel and needs '{key}'")
    return member_path(where, where["member"], where["sha256"], cache_dir)
