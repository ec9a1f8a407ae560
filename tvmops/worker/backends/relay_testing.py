"""The networks of relay.testing, their weights from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np
import tvm
from tvm.relay import testing

from ..failures import JobError, failing_as
from ..random_weights import random_weight
from .relay_import import RelayModule, save_module
from .relay_names import api


def input_specs(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Shape and dtype of the network's inputs: those of its parameters that are no weights."""
    mod, weights = _network(settings)
    return {
        var.name_hint: {"shape": [int(size) for size in var.checked_type.shape], "dtype": str(var.checked_type.dtype)}
        for var in mod["main"].params
        if var.name_hint not in weights
    }


def save(settings: Dict[str, Any], folder: Path, onnx: Path) -> None:
    """The network as relay.json and relay.params in `folder`, and as the ONNX file `onnx`."""
    mod, weights = _network(settings)
    generator = np.random.RandomState(settings["seed"])
    make = api("array")
    params = {name: make(random_weight(generator, name, value.shape)) for name, value in weights.items()}
    save_module(RelayModule(mod, params), folder)
    with failing_as("UnsupportedOperator", f"TVM cannot export {settings['model']} as ONNX"):
        onnx.write_bytes(api("onnx_export")(mod, params, "network").SerializeToString())


def _network(settings: Dict[str, Any]) -> Any:
    name, _, variant = str(settings["model"]).partition("-")
    shape = {"batch_size": settings["batch"], "num_classes": settings["classes"]}
    if name == "resnet":
        return testing.resnet.get_workload(num_layers=int(variant), **shape)
    if name == "vgg":
        return testing.vgg.get_workload(num_layers=int(variant), **shape)
    if name.startswith("squeezenet"):
        return testing.squeezenet.get_workload(version=name.partition("_v")[2], **shape)
    if name not in ("mlp", "mobilenet", "inception_v3"):
        raise JobError("BadInput", f"TVM {tvm.__version__} has no testing network '{settings['model']}'")
    return getattr(testing, name).get_workload(**shape)
