"""Models of format `testing`: networks of relay.testing. Their reference is onnxruntime on TVM's ONNX export."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Dict

import numpy as np

from . import onnx_model
from .failures import JobError
from .models.base import Model
from .onnx_twin import twin
from .prepared import Prepared


def input_specs(model: Model, wanted: Dict[str, Any]) -> Dict[str, Any]:
    """The network's own input; the workload may repeat it, not change it."""
    specs: Dict[str, Any] = _networks().input_specs(_settings(model))
    for name, spec in wanted.items():
        if name not in specs:
            raise JobError("BadInput", f"the network has no input '{name}'; its inputs: {', '.join(map(repr, specs))}")
        own = specs[name]
        if list(spec["shape"]) != own["shape"] or spec.get("dtype", own["dtype"]) != own["dtype"]:
            raise JobError(
                "BadInput",
                f"input '{name}' is {own['dtype']}{own['shape']}, the workload says "
                f"{spec.get('dtype', own['dtype'])}{list(spec['shape'])}; batch and classes are keys of the source",
            )
    return specs


def prepare(model: Model, specs: Dict[str, Any], inputs: Dict[str, np.ndarray], directory: Path) -> Prepared:
    """Leaves the module (relay.json, relay.params) and its ONNX twin."""
    del inputs
    exported = directory / "exported.onnx"
    _networks().save(_settings(model), directory, exported)
    onnx, why = twin(exported, directory)
    if onnx is None:
        raise JobError("UnsupportedOperator", f"there is no reference for this network: {why}")
    names = [output.name for output in onnx_model.load(exported).graph.output]
    return Prepared(
        list(specs), names, onnx=onnx, original_onnx=exported, relay=directory, specs=specs, folder=directory
    )


def run_reference(prepared: Prepared, inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """onnxruntime, which shares no code with TVM's compiler."""
    return onnx_model.run_reference(prepared, inputs)


def _settings(model: Model) -> Dict[str, Any]:
    settings: Dict[str, Any] = json.loads(model.path.read_text(encoding="utf-8"))
    return settings


def _networks() -> Any:
    """Only backends import TVM."""
    return importlib.import_module(".backends.relay_testing", __package__)
