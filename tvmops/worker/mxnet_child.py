"""Run as a program of its own by mxnet_run.py: makes, runs and exports networks. Request: JSON on stdin."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

HERE = str(Path(__file__).parent)


class Refused(Exception):
    """The request cannot be done: failure kind and message."""


def generate(request):
    """A zoo network's symbol and params, the weights from `seed`."""
    import mxnet
    import numpy
    from mxnet.gluon.model_zoo import vision

    random_weight = load_random_weight()
    try:
        network = vision.get_model(request["model"], pretrained=False, classes=request["classes"])
    except ValueError as error:
        raise Refused("BadInput", f"MXNet's model zoo has no '{request['model']}': {first_line(error)}") from error
    network.initialize()
    side = request["image"]
    try:
        network(mxnet.nd.zeros((1, 3, side, side)))
    except Exception as error:
        raise Refused("BadInput", f"{request['model']} takes no image of {side}: {first_line(error)}") from error
    generator = numpy.random.RandomState(request["seed"])
    for name, parameter in network.collect_params().items():
        parameter.set_data(mxnet.nd.array(random_weight(generator, name, parameter.shape)))
    symbol = network(mxnet.sym.var("data"))
    auxiliary = set(symbol.list_auxiliary_states())
    values = {name: parameter.data() for name, parameter in network.collect_params().items()}
    save(request, symbol, {("aux:" if name in auxiliary else "arg:") + name: value for name, value in values.items()})
    return {}


def prepare(request):
    """The network with the workload's shapes: saved again, run (outputs.npz), and as ONNX where MXNet can do that."""
    import mxnet
    import numpy

    symbol, stored = load(request)
    if request["softmax"]:
        symbol = mxnet.sym.softmax(symbol)
    values = {name.partition(":")[2] if name[:4] in ("arg:", "aux:") else name: stored[name] for name in stored}
    shapes = {name: tuple(spec["shape"]) for name, spec in request["inputs"].items()}
    check(symbol, values, shapes)
    auxiliary = set(symbol.list_auxiliary_states())
    known = set(symbol.list_inputs())
    values = {name: value for name, value in values.items() if name in known}
    prefixed = {("aux:" if name in auxiliary else "arg:") + name: value for name, value in values.items()}
    save(request, symbol, prefixed)
    with numpy.load(request["arrays"], allow_pickle=False) as arrays:
        inputs = {
            name: mxnet.nd.array(arrays[f"input_{i}"], dtype=arrays[f"input_{i}"].dtype.name)
            for i, name in enumerate(request["inputs"])
        }
    arguments = {name: values[name] for name in symbol.list_arguments() if name in values}
    states = {name: values[name] for name in symbol.list_auxiliary_states()}
    executor = symbol.bind(mxnet.cpu(), {**arguments, **inputs}, aux_states=states, grad_req="null")
    outputs = [value.asnumpy() for value in executor.forward(is_train=False)]
    numpy.savez(request["outputs"], **{f"output_{i}": value for i, value in enumerate(outputs)})
    exported, why = export_onnx(symbol, values, request)
    return {"output_names": symbol.list_outputs(), "mxnet": mxnet.__version__, "onnx": exported, "why": why}


def load(request):
    """Symbol and stored parameters."""
    import mxnet

    try:
        symbol = mxnet.sym.load(request["symbol"])
    except Exception as error:
        raise Refused("BadInput", f"{request['symbol']} is no symbol file of MXNet: {first_line(error)}") from error
    try:
        stored = mxnet.nd.load(request["params"])
    except Exception as error:
        raise Refused("BadInput", f"{request['params']} is no params file of MXNet: {first_line(error)}") from error
    if not isinstance(stored, dict):
        raise Refused("BadInput", f"{request['params']} is no params file of MXNet: its arrays have no names")
    return symbol, stored


def check(symbol, values, shapes):
    """Names and shapes of inputs and parameters."""
    inputs = [name for name in symbol.list_inputs() if name not in values and not name.endswith("_label")]
    takes = ", ".join(f"'{name}'" for name in inputs)
    for name in shapes:
        if name not in inputs:
            raise Refused("BadInput", f"the network has no input '{name}'; its inputs: {takes}")
    for name in inputs:
        if name not in shapes:
            words = f"input '{name}' has no shape; give it under 'inputs'"
            if len(inputs) > 8:
                words = f"the params file lacks '{inputs[1]}' and {len(inputs) - 2} more: it belongs to another network"
            raise Refused("DynamicShape" if len(inputs) <= 8 else "BadInput", words)
    try:
        arguments, _, states = symbol.infer_shape(**shapes)
    except Exception as error:
        raise Refused("BadInput", f"the network does not take {shapes}: {first_line(error)}") from error
    needed = dict(zip(symbol.list_arguments() + symbol.list_auxiliary_states(), list(arguments) + list(states)))
    for name, value in values.items():
        if name in needed and tuple(value.shape) != tuple(needed[name]):
            words = (
                f"parameter '{name}' has shape {tuple(value.shape)}, with these inputs the network needs {needed[name]}"
            )
            raise Refused("BadInput", words)


def export_onnx(symbol, values, request):
    """(whether it worked, why not): not all of MXNet's operators have an ONNX form."""
    import mxnet
    import numpy

    shapes = [tuple(spec["shape"]) for spec in request["inputs"].values()]
    types = [numpy.dtype(spec["dtype"]).type for spec in request["inputs"].values()]
    try:
        mxnet.onnx.export_model(symbol, values, shapes, types, request["onnx"])
    except Exception as error:
        traceback.print_exc()
        return False, first_line(error)
    return True, ""


def save(request, symbol, values):
    """Both files under their final names only when they are whole."""
    import mxnet

    symbol_file, params_file = Path(request["save_symbol"]), Path(request["save_params"])
    parts = [path.with_name(".part-" + path.name) for path in (symbol_file, params_file)]
    symbol.save(str(parts[0]))
    mxnet.nd.save(str(parts[1]), values)
    parts[1].replace(params_file)
    parts[0].replace(symbol_file)


def first_line(error):
    """An exception's words without MXNet's stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = [line for line in lines if "Error in operator" in line or "Check failed" in line] or lines[:1]
    return (found[0] if found else type(error).__name__)[:300]


def load_random_weight():
    """From the file beside this one; its folder is not searched for modules, where it would shadow packages."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("random_weights", HERE + "/random_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.random_weight


def main():
    """Does one request; leaves its answer as JSON in the file that the request names."""
    request = json.load(sys.stdin)
    del sys.path[0]  # this file's folder would shadow packages
    try:
        answer = {"generate": generate, "prepare": prepare}[request["do"]](request)
    except Refused as refused:
        traceback.print_exc()
        answer = {"error": list(refused.args)}
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
