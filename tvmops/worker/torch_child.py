"""Run as a program of its own by torch_model.py: loads a network, runs it, exports it. Request: JSON on stdin."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path

OPSET = 17


def main() -> None:
    """Leaves model.pt2, model.onnx, torch_outputs.npz and, last, torch_answer.json in the request's directory."""
    request = json.load(sys.stdin)
    # This file's folder would shadow packages; the wheel holds the network's code.
    sys.path[0] = request["code_wheel"]
    warnings.simplefilter("ignore")
    import numpy as np
    import torch

    directory = Path(request["directory"])
    network = load_network(request["factory"], request["weights"]).eval()
    with np.load(str(directory / "torch_inputs.npz"), allow_pickle=False) as stored:
        inputs = tuple(torch.from_numpy(stored[f"input_{i}"]) for i in range(len(request["input_names"])))
    with torch.no_grad():
        outputs = network(*inputs)
        outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        names = [f"output_{i}" for i in range(len(outputs))]
        torch.export.save(torch.export.export(network, inputs), str(directory / "model.pt2"))
        options = {"input_names": request["input_names"], "output_names": names, "opset_version": OPSET}
        export_onnx(network, inputs, directory / "model.onnx", options)
    np.savez(str(directory / "torch_outputs.npz"), **{f"output_{i}": value.numpy() for i, value in enumerate(outputs)})
    answer = {"output_names": names, "torch": torch.__version__}
    (directory / "torch_answer.json").write_text(json.dumps(answer), encoding="utf-8")


def load_network(factory, weights):
    """`factory`: call ("module:Class.method"), args, weights_argument (the parameter that takes the weights' file)."""
    module, _, path = factory["call"].partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found(*factory.get("args", []), **{factory["weights_argument"]: weights})


def export_onnx(network, inputs, path, options):
    """With torch's own tracing exporter, which needs no further package."""
    import torch

    try:
        torch.onnx.export(network, inputs, str(path), dynamo=False, **options)
    except TypeError:  # releases before `dynamo` only trace
        torch.onnx.export(network, inputs, str(path), **options)


if __name__ == "__main__":
    main()
