"""Source kind `onnx`: an ONNX file on this machine (`path`) or somewhere else (`url`, `sha256`, `mirror`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from ..failures import JobError
from ..job import file_sha256
from .base import Model
from .download import placed_file


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """Companions are looked for beside the file. Raises JobError: BadInput, Download."""
    path = placed_file(source, cache_dir, "the ONNX model")

    def read(member: str) -> bytes:
        companion = path.parent / member
        if not companion.is_file():
            raise JobError("BadInput", f"{companion}: no such file beside the model")
        return companion.read_bytes()

    return Model(path, "onnx", file_sha256(path), read, source)
