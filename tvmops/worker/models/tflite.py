"""Source kind `tflite`: a TensorFlow Lite file (`path`, or `url` with `sha256` and maybe `mirror`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from ..job import file_sha256
from .base import Model, needs_package
from .download import placed_file


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """The file. Raises JobError: BadInput (no tflite here), Download."""
    needs_package("tflite", "tflite")
    path = placed_file(source, cache_dir, "the TensorFlow Lite model")
    return Model(path, "tflite", file_sha256(path), None, source)
