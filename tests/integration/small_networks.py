"""Writes a network with a convolution and a dense layer as ONNX. Run in an environment that has onnx.

python small_networks.py FILE
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def network() -> onnx.ModelProto:
    """x [1, 4, 8, 8] -> y [1, 10]."""
    draw = np.random.default_rng(0)
    weights = {
        name: numpy_helper.from_array(draw.standard_normal(shape, dtype="float32"), name)
        for name, shape in (("w", (8, 4, 3, 3)), ("d", (10, 512)), ("b", (10,)))
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "d", "b"], ["y"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, list(weights.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


if __name__ == "__main__":
    onnx.save(network(), sys.argv[1])
