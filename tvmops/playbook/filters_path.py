"""Filters for paths."""

from __future__ import annotations

import os.path
from collections.abc import Callable
from typing import Any


def path_join(paths: Any) -> str:
    """One path from its parts."""
    return os.path.join(paths) if isinstance(paths, str) else os.path.join(*paths)  # noqa: PTH118


def splitext(path: str) -> list[str]:
    """[all but the extension, the extension]."""
    return list(os.path.splitext(path))  # noqa: PTH122


# os.path, not pathlib: a trailing slash means something to basename and dirname, and to Ansible's users.
FILTERS: dict[str, Callable[..., Any]] = {
    "basename": os.path.basename,
    "dirname": os.path.dirname,
    "expanduser": os.path.expanduser,
    "splitext": splitext,
    "path_join": path_join,
    "relpath": os.path.relpath,
    "normpath": os.path.normpath,
    "commonpath": os.path.commonpath,
}
