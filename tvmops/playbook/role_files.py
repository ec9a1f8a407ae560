"""Where roles are, and which of their files are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tvmops.paths import exists, user_path

SUFFIXES = (".yml", ".yaml", ".json")
DEFAULT_ROLES_PATH = "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles"


def role_places(base: Path, around: Path | None) -> list[Path]:
    """The folders that are searched for roles. `base`: the playbook's; `around`: where the depending role is."""
    configured = os.environ.get("ANSIBLE_ROLES_PATH") or DEFAULT_ROLES_PATH
    paths = [user_path(one) for one in configured.split(":") if one]
    return [base / "roles", *paths, *([around] if around else []), base]


def find_role(name: str, base: Path, around: Path | None) -> tuple[str, Path] | None:
    """(name, folder) of a role, which may be given by a path."""
    for place in role_places(base, around):
        if exists(place / name):
            return name, (place / name).resolve()
    given = user_path(name)
    if exists(given):
        folder = given.resolve()
        return folder.name, folder
    return None


def role_files(folder: Path, kind: str, name: str | None) -> list[Path] | None:
    """The files of one folder of a role: `main`, or `name` where one was asked for; None when that is not there.

    Variables may be spread over a folder `main`; tasks, handlers and meta are one file.
    """
    inside = folder / kind
    if not exists(inside) or not inside.is_dir():
        return [] if name is None else None
    suffixes = (*SUFFIXES, "") if name is None else ("", *SUFFIXES)
    for suffix in suffixes:
        path = inside / ((name or "main") + suffix)
        if not exists(path):
            continue
        if path.is_dir():
            if kind in ("vars", "defaults"):
                return list(_below(path, suffixes))
            continue
        return [path]
    return [] if name is None else None


def _below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith("~"):
            continue
        if path.is_dir():
            yield from _below(path, suffixes)
        elif path.suffix in suffixes:
            yield path


def is_inside(path: Path, folder: Path) -> bool:
    """True when a path leads to something below a folder, links and `..` followed."""
    return path.resolve().is_relative_to(folder.resolve())
