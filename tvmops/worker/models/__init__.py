"""Where models come from: one file per source kind, each with `fetch(source, cache_dir) -> Model`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict

from ..failures import JobError
from . import darknet, file, generated, gluon, onnx, testing, torch, torch_package, wheel
from .base import Model

SOURCES: Dict[str, Callable[[Dict[str, Any], Path], Model]] = {
    "wheel": wheel.fetch,
    "file": file.fetch,
    "onnx": onnx.fetch,
    "gluon": gluon.fetch,
    "testing": testing.fetch,
    "torch": torch.fetch,
    "torch_package": torch_package.fetch,
    "darknet": darknet.fetch,
    "generated": generated.fetch,
}


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """The model that a workload's `source` describes. Raises JobError: BadInput, Download."""
    kind = source.get("kind")
    if kind not in SOURCES:
        raise JobError("BadInput", f"unknown source kind '{kind}'; known: {', '.join(sorted(SOURCES))}")
    return SOURCES[kind](source, cache_dir)
