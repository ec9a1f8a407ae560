"""The same network as ONNX, exported by its own framework or by TVM: what onnxruntime runs beside TVM on a board."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

from .failures import JobError, failing_as
from .onnx_model import fold, load

TWIN = "model.onnx"


def twin(exported: Path, directory: Path) -> Tuple[Optional[Path], str]:
    """`exported`, folded, as model.onnx in `directory`; or None and why onnxruntime does not take it."""
    try:
        proto = load(exported)
        weights = {tensor.name for tensor in proto.graph.initializer}
        # Weights that are inputs as well could be fed: onnxruntime would fold nothing that depends on them.
        kept = [value for value in proto.graph.input if value.name not in weights]
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
        plain = directory / ".plain.onnx"
        with failing_as("NotOnnx", "the exported model cannot be written"):
            plain.write_bytes(proto.SerializeToString())
        fold(plain, directory / TWIN)
        plain.unlink()
    except JobError as error:
        print(f"no ONNX twin: {error.message}")
        return None, error.message
    return directory / TWIN, ""
