"""A small model compiled by Relax, run in the environment of stack relax-0.27:

    python relax_small.py FOLDER

leaves model.so and reference.npz there as a compile job does. The model has two outputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm.relax.frontend.onnx import from_onnx

SHAPE = (2, 3)

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    draw = np.random.default_rng(7)
    data, weight = draw.standard_normal(SHAPE, dtype="float32"), draw.standard_normal((3, 4), dtype="float32")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    takes = [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)]
    gives = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 4)) for name in "yz"]
    graph = helper.make_graph(nodes, "small", takes, gives, [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    library = tvm.compile(from_onnx(model, keep_params_in_input=False), target=tvm.target.Target("llvm"))
    library.export_library(str(folder / "model.so"))
    meta = json.dumps({"inputs": ["x"], "outputs": ["y", "z"], "input_sha256": "", "knowledge": {}})
    product = data @ weight
    arrays = {"input_0": data, "output_0": product, "output_1": np.maximum(product, 0)}
    np.savez(folder / "reference.npz", **arrays, meta=np.frombuffer(meta.encode(), np.uint8))
