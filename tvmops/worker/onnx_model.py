"""Models of format `onnx`: fix the inputs' shapes, fold what is constant then, run onnxruntime as the reference."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List

import numpy as np

from .failures import JobError, failing_as
from .models.base import Model
from .prepared import Prepared


def input_specs(model: Model, wanted: Dict[str, Any]) -> Dict[str, Any]:
    """Shape and dtype of every input: the model's own where fixed, the workload's where open.

    Raises JobError: NotOnnx, DynamicShape (an open dimension the workload does not fix), BadInput (a contradiction).
    """
    graph = load(model.path).graph
    inputs = _graph_inputs(graph)
    unknown = sorted(set(wanted) - set(inputs))
    if unknown:
        names = ", ".join(f"'{name}'" for name in inputs)
        raise JobError("BadInput", f"the model has no input '{unknown[0]}'; its inputs: {names}")
    return {name: _fixed(name, value, wanted.get(name)) for name, value in inputs.items()}


def prepare(model: Model, specs: Dict[str, Any], inputs: Dict[str, np.ndarray], directory: Path) -> Prepared:
    """Leaves the folded model as `model.onnx` in `directory`."""
    del inputs
    proto = load(model.path)
    fixed = directory / "fixed.onnx"
    fix_shapes(proto, specs)
    with failing_as("NotOnnx", f"{model.path.name} cannot be written with fixed shapes"):
        fixed.write_bytes(proto.SerializeToString())
    folded = directory / "model.onnx"
    fold(fixed, folded)
    return Prepared(list(specs), [output.name for output in proto.graph.output], onnx=folded, original_onnx=fixed)


def run_reference(prepared: Prepared, inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """onnxruntime's answer to the model before folding: a mistake of folding must not hide in the reference."""
    session = _session(prepared.original_onnx or prepared.onnx)
    with failing_as("BadInput", "onnxruntime cannot run the model on these inputs"):
        values = session.run(None, inputs)
    return {output.name: np.asarray(value) for output, value in zip(session.get_outputs(), values)}


def load(path: Path) -> Any:
    """The parsed model. Raises JobError (NotOnnx)."""
    import onnx

    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:
        raise JobError("NotOnnx", f"{path.name} is not an ONNX model: it cannot be parsed") from error
    if not proto.graph.node or not proto.opset_import:
        raise JobError("NotOnnx", f"{path.name} is not an ONNX model: it has no graph")
    return proto


def metadata(path: Path) -> Dict[str, str]:
    """The model's own key-value notes, such as a recogniser's characters."""
    return {entry.key: entry.value for entry in load(path).metadata_props}


def fix_shapes(proto: Any, specs: Dict[str, Any]) -> None:
    """Writes the fixed shapes into the model's inputs; shapes derived from the open ones are forgotten."""
    for value in proto.graph.input:
        if value.name in specs:
            shape = value.type.tensor_type.shape
            shape.ClearField("dim")
            for size in specs[value.name]["shape"]:
                shape.dim.add().dim_value = size
    proto.graph.ClearField("value_info")


def fold(source: Path, target: Path) -> None:
    """onnxruntime's basic optimisations: they leave no shape arithmetic for the importer to stumble over."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    with _explained():
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _session(path: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, len(os.sched_getaffinity(0)))
    with _explained():
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def reason(error: Exception) -> str:
    """onnxruntime's first line without the C++ signature before its reason, at most 400 characters."""
    line = (str(error).strip().splitlines() or ["no reason given"])[0]
    return re.sub(r" failed:/\S*onnxruntime/core/.*\) ", " failed: ", line)[:400]


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What onnxruntime refuses is an operator it does not know, or no valid ONNX."""
    try:
        yield
    except Exception as error:
        text = reason(error)
        unknown = "not a registered function/op" in text or "NOT_IMPLEMENTED" in text
        kind = "UnsupportedOperator" if unknown else "NotOnnx"
        raise JobError(kind, f"onnxruntime refuses the model: {text}") from error


def _graph_inputs(graph: Any) -> Dict[str, Any]:
    """The inputs without those that are only weights with a default."""
    weights = {tensor.name for tensor in graph.initializer}
    return {value.name: value for value in graph.input if value.name not in weights}


def _fixed(name: str, value: Any, wanted: Any) -> Dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise JobError("BadInput", f"input '{name}' is not a tensor; only tensors can be fed")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    own = [_dimension(dimension) for dimension in tensor.shape.dim]
    if wanted is None:
        _refuse_open(name, own)
        return {"shape": own, "dtype": dtype}
    shape = [int(size) for size in wanted["shape"]]
    if wanted.get("dtype", dtype) != dtype:
        raise JobError("BadInput", f"input '{name}' has dtype {dtype}, the workload says {wanted['dtype']}")
    fits = len(own) == len(shape) and all(type(have) is str or have == size for have, size in zip(own, shape))
    if tensor.HasField("shape") and not fits:
        raise JobError("BadInput", f"input '{name}' has shape {_show(own)}, the workload says {_show(shape)}")
    return {"shape": shape, "dtype": dtype}


def _dimension(dimension: Any) -> Any:
    """Its size, or its name where it is open."""
    return dimension.dim_value if dimension.dim_value > 0 else dimension.dim_param or "?"


def _refuse_open(name: str, own: List[Any]) -> None:
    if any(type(size) is str for size in own):
        raise JobError(
            "DynamicShape",
            f"input '{name}' has the open shape {_show(own)}; fix it in the workload, "
            f"e.g. inputs: {{{name}: {{shape: [...], dtype: ...}}}}",
        )


def _show(shape: List[Any]) -> str:
    return "[" + ", ".join(str(size) for size in shape) + "]"
