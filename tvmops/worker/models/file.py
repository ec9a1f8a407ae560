"""Source kind `file`: a model on this machine's disk; `sha256`, if given, is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from ..failures import JobError
from ..job import file_sha256
from .base import Model, required


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """The file where it lies. Companions are looked for in its folder. Raises JobError (BadInput)."""
    del cache_dir
    required(source, "path")
    path = Path(source["path"]).expanduser()
    if not path.is_absolute():
        raise JobError(
            "BadInput", f"source path '{path}' must be absolute: a worker has no working directory of its own"
        )
    if not path.is_file():
        raise JobError("BadInput", f"{path}: no such model file")
    found = file_sha256(path)
    if source.get("sha256") and source["sha256"] != found:
        raise JobError("BadInput", f"{path} has sha256 {found}, the workload says {source['sha256']}")

    def read(member: str) -> bytes:
        companion = path.parent / member
        if not companion.is_file():
            raise JobError("BadInput", f"{companion}: no such file beside the model")
        return companion.read_bytes()

    return Model(path, "onnx", found, read, source)
