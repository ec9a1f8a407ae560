"""Wheels made by hand, and an index for pip that has nothing else."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    *,
    tags: str = "py3-none-any",
    requires: str = "",
) -> Path:
    """A wheel with these files, in `folder`; `requires` are more lines of its metadata."""
    folder.mkdir(exist_ok=True)
    path, about = folder / f"{name}-{version}-{tags}.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in files.items():
            archive.writestr(inside, content)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
        archive.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def only_index(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """The folder; it is the only place where pip finds something."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder
