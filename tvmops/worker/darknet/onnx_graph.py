"""A darknet network as ONNX: batch normalisation folded into the weights, one output per detection head.

A head's output is what darknet's own layer gives: [1, anchors * (5 + classes), height, width] with x, y, objectness
and classes activated, width and height as logarithms. Their exponential belongs to decoding (tasks/yolo.py), where
wild values can be cut; a compiled model that overflows could not be compared with anything.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from .layers import HEADS, PICTURE, Layer, Network
from .weights import Blobs

INPUT = "data"
OPSET, IR_VERSION = 13, 8
METADATA = "darknet"
LEAK = 0.1
EPSILON = 1e-6  # what darknet adds to the standard deviation, not to the variance


def convert(network: Network, weights: Dict[int, Blobs]) -> Any:
    """The ModelProto. Its metadata entry `darknet` says how the heads' outputs are read."""
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph()
    for layer in network.layers:
        graph.layer = layer
        source = [graph.name(number) for number in layer.inputs]
        result = WRITERS[layer.kind](graph, source, weights.get(layer.index, {}))
        graph.names[layer.index] = result
    outputs = []
    for layer in network.outputs():
        graph.layer = layer
        name = output_name(layer)
        graph.nodes.append(helper.make_node("Identity", [graph.names[layer.index]], [name], name=name))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *layer.shape]))
    picture = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, *network.picture])
    body = helper.make_graph(graph.nodes, "darknet", [picture], outputs, graph.initializers)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    helper.set_model_props(model, {METADATA: json.dumps(description(network))})
    onnx.checker.check_model(model)
    return model


def output_name(layer: Layer) -> str:
    """Its kind and number, as OpenCV names it too."""
    return f"{layer.kind}_{layer.index}"


def description(network: Network) -> Dict[str, Any]:
    """What decoding must know of the network."""
    heads = [
        {"output": output_name(layer), "kind": layer.kind, "shape": list(layer.shape), **layer.settings}
        for layer in network.outputs()
        if layer.kind in HEADS
    ]
    return {"width": network.picture[2], "height": network.picture[1], "heads": heads}


class _Graph:
    """Nodes and constants as they come; `layer` is the one that is being written."""

    def __init__(self) -> None:
        self.nodes: List[Any] = []
        self.initializers: List[Any] = []
        self.names: Dict[int, str] = {}
        self.layer: Layer

    def name(self, number: int) -> str:
        """The tensor that layer `number` gives."""
        return INPUT if number == PICTURE else self.names[number]

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node with one output; its name."""
        return self.split(operator, inputs, 1, **attributes)[0]

    def split(self, operator: str, inputs: Sequence[str], count: int, **attributes: Any) -> List[str]:
        """A node with several outputs; their names."""
        from onnx import helper

        name = f"{self.layer.kind}_{self.layer.index}/{operator}_{len(self.nodes)}"
        outputs = [f"{name}:{i}" for i in range(count)]
        self.nodes.append(helper.make_node(operator, list(inputs), outputs, name=name, **attributes))
        return outputs

    def constant(self, array: np.ndarray) -> str:
        """A tensor that never changes; its name."""
        from onnx import numpy_helper

        name = f"{self.layer.kind}_{self.layer.index}/constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, *values: int) -> str:
        """Sizes and shapes."""
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float) -> str:
        """One float."""
        return self.constant(np.array(value, dtype=np.float32))

    def activated(self, source: str, name: str) -> str:
        """The layer's activation."""
        if name == "linear":
            return source
        if name == "leaky":
            return self.add("LeakyRelu", [source], alpha=LEAK)
        if name == "mish":
            return self.add("Mul", [source, self.add("Tanh", [self.add("Softplus", [source])])])
        if name == "swish":
            return self.add("Mul", [source, self.add("Sigmoid", [source])])
        return self.add({"relu": "Relu", "logistic": "Sigmoid", "tanh": "Tanh"}[name], [source])


def _folded(layer: Layer, blobs: Blobs) -> Tuple[np.ndarray, np.ndarray]:
    """Weights and biases with the batch normalisation multiplied in, in float64 as long as it matters."""
    weights, biases = blobs["weights"].astype(np.float64), blobs["biases"].astype(np.float64)
    if layer.settings["normalized"]:
        factor = blobs["scales"] / (np.sqrt(blobs["variance"].astype(np.float64).clip(0)) + EPSILON)
        weights = weights * factor.reshape([-1] + [1] * (weights.ndim - 1))
        biases = biases - blobs["mean"] * factor
    return weights.astype(np.float32), biases.astype(np.float32)


def _convolutional(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    settings = graph.layer.settings
    weights, biases = _folded(graph.layer, blobs)
    result = graph.add(
        "Conv",
        [*source, graph.constant(weights), graph.constant(biases)],
        kernel_shape=[settings["size"]] * 2,
        strides=[settings["stride"]] * 2,
        pads=[settings["padding"]] * 4,
        group=settings["groups"],
    )
    return graph.activated(result, settings["activation"])


def _connected(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    weights, biases = _folded(graph.layer, blobs)
    flat = graph.add("Reshape", [*source, graph.integers(1, weights.shape[1])])
    product = graph.add("Gemm", [flat, graph.constant(weights), graph.constant(biases)], transB=1)
    shaped = graph.add("Reshape", [product, graph.integers(1, *graph.layer.shape)])
    return graph.activated(shaped, graph.layer.settings["activation"])


def _maxpool(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    settings = graph.layer.settings
    return graph.add(
        "MaxPool",
        source,
        kernel_shape=[settings["size"]] * 2,
        strides=[settings["stride"]] * 2,
        pads=[settings["before"]] * 2 + list(settings["after"]),
    )


def _avgpool(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    return graph.add("GlobalAveragePool", source)


def _same(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    return source[0]


def _softmax(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    flat = graph.add("Reshape", [*source, graph.integers(1, int(np.prod(graph.layer.shape)))])
    temperature = graph.layer.settings["temperature"]
    if temperature != 1.0:
        flat = graph.add("Div", [flat, graph.scalar(temperature)])
    return graph.add("Reshape", [graph.add("Softmax", [flat], axis=1), graph.integers(1, *graph.layer.shape)])


def _upsample(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    stride, scale = graph.layer.settings["stride"], graph.layer.settings["scale"]
    scales = graph.constant(np.array([1, 1, stride, stride], dtype=np.float32))
    result = graph.add(
        "Resize",
        [*source, "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return result if scale == 1.0 else graph.add("Mul", [result, graph.scalar(scale)])


def _reorg(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    """darknet reads the tensor as one of stride times the size and stride^2 times fewer channels, whatever it is."""
    (channels, height, width), stride = graph.layer.source, graph.layer.settings["stride"]
    fewer = channels // (stride * stride)
    split = graph.add("Reshape", [*source, graph.integers(fewer, height, stride, width, stride)])
    turned = graph.add("Transpose", [split], perm=[2, 4, 0, 1, 3])
    return graph.add("Reshape", [turned, graph.integers(1, *graph.layer.shape)])


def _route(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    groups, group = graph.layer.settings["groups"], graph.layer.settings["group"]
    if groups > 1:
        channels = graph.layer.shape[0] // len(source)
        ends = [graph.integers(group * channels), graph.integers((group + 1) * channels), graph.integers(1)]
        source = [graph.add("Slice", [name, *ends]) for name in source]
    return source[0] if len(source) == 1 else graph.add("Concat", source, axis=1)


def _shortcut(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    return graph.activated(graph.add("Add", source), graph.layer.settings["activation"])


def _yolo(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    return _head(graph, source, softmax=False)


def _region(graph: _Graph, source: List[str], blobs: Blobs) -> str:
    return _head(graph, source, softmax=graph.layer.settings["softmax"])


def _head(graph: _Graph, source: List[str], softmax: bool) -> str:
    settings, (_, height, width) = graph.layer.settings, graph.layer.shape
    count, classes = len(settings["anchors"]), settings["classes"]
    boxes = graph.add("Reshape", [*source, graph.integers(count, 5 + classes, height, width)])
    parts = graph.split("Split", [boxes, graph.integers(2, 2, 1, classes)], 4, axis=1)
    parts[0], parts[2] = graph.add("Sigmoid", [parts[0]]), graph.add("Sigmoid", [parts[2]])
    parts[3] = graph.add("Softmax", [parts[3]], axis=1) if softmax else graph.add("Sigmoid", [parts[3]])
    return graph.add("Reshape", [graph.add("Concat", parts, axis=1), graph.integers(1, *graph.layer.shape)])


WRITERS: Dict[str, Callable[[_Graph, List[str], Blobs], str]] = {
    "convolutional": _convolutional,
    "connected": _connected,
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "dropout": _same,
    "cost": _same,
    "softmax": _softmax,
    "upsample": _upsample,
    "reorg": _reorg,
    "route": _route,
    "shortcut": _shortcut,
    "yolo": _yolo,
    "region": _region,
}
