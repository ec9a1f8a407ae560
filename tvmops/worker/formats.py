"""How each model format is prepared and run by its own framework. A format is a module with three functions:

input_specs(model, wanted) -> {name: {"shape", "dtype"}}    all inputs, fixed; refuses what does not fit
prepare(model, specs, inputs, directory) -> Prepared        files that backends import
run_reference(prepared, inputs) -> {output: array}          what the framework itself answers
"""

from __future__ import annotations

from typing import Any, Dict

from . import linear_model, mxnet_model, onnx_model, testing_model, torch_model

FORMATS: Dict[str, Any] = {
    "onnx": onnx_model,
    "linear": linear_model,
    "torch": torch_model,
    "mxnet": mxnet_model,
    "testing": testing_model,
}
