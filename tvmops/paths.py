"""Where tvmops keeps things. Every directory can be moved by one environment variable."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def project_root() -> Path:
    """The checkout that holds playbooks/, stacks/ and sweeps/ (the folder above this package)."""
    return Path(__file__).resolve().parent.parent


def state_dir() -> Path:
    """Run records, facts, results and reports of the project in the working directory ($TVMOPS_STATE)."""
    return Path(os.environ.get("TVMOPS_STATE", ".tvmops")).absolute()


def cache_dir() -> Path:
    """What can be made again: base images, wheels, environments, artifacts ($TVMOPS_CACHE)."""
    return Path(os.environ.get("TVMOPS_CACHE") or platformdirs.user_cache_path("tvmops"))


def lab_dir() -> Path:
    """State of the virtual boards, one folder per lab id ($TVMOPS_LAB_DIR)."""
    return Path(os.environ.get("TVMOPS_LAB_DIR") or platformdirs.user_state_path("tvmops") / "lab")


def user_path(name: str) -> Path:
    """A path as a user wrote it, `~` replaced; the home of an unknown user stays as it is."""
    return Path(os.path.expanduser(name))  # noqa: PTH111  Path.expanduser raises for an unknown user


def exists(path: Path) -> bool:
    """Whether it is there; False, too, for what cannot be a file's name (too long, or with a NUL in it)."""
    return os.path.exists(path)  # noqa: PTH110  Path.exists raises for these


def find_project_file(name: str) -> Path:
    """`name` as given, else the same path inside the checkout; the result may not exist."""
    given = user_path(name)
    if exists(given) or given.is_absolute():
        return given
    shipped = project_root() / name
    return shipped if exists(shipped) else given
