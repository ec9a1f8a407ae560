"""Run as a program of its own by torch_model.py: loads a network, runs it, exports it. Request: JSON on stdin."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import traceback
import warnings
from pathlib import Path

OPSET = 17
HERE = str(Path(__file__).parent)


class Refused(Exception):
    """The request cannot be done: failure kind and message."""


def prepare(request):
    """Leaves torch_outputs.npz and, where torch can make them, model.pt, model.pt2 and model.onnx."""
    import numpy as np
    import torch

    directory = Path(request["directory"])
    network = load_network(request["load"])
    with np.load(str(directory / "torch_inputs.npz"), allow_pickle=False) as stored:
        inputs = tuple(torch.from_numpy(stored[f"input_{i}"]) for i in range(len(request["input_names"])))
    with torch.no_grad():
        outputs = run(network, inputs, request["input_names"])
        names = [f"output_{i}" for i in range(len(outputs))]
        options = {"input_names": request["input_names"], "output_names": names, "opset_version": OPSET}
        makers = {
            "model.pt": lambda path: save_script(network, inputs, path),
            "model.pt2": lambda path: torch.export.save(export_program(network, inputs), path),
            "model.onnx": lambda path: export_onnx(network, inputs, path, options),
        }
        missing = {}
        for name, make in makers.items():
            try:
                make(str(directory / name))
            except Exception as error:
                traceback.print_exc()
                missing[name] = first_line(error)
    np.savez(str(directory / "torch_outputs.npz"), **{f"output_{i}": value.numpy() for i, value in enumerate(outputs)})
    return {"output_names": names, "torch": torch.__version__, "missing": missing}


def load_network(load):
    """From a saved file, or made by a function; ready to answer."""
    import torch

    network = from_file(load["file"]) if "file" in load else from_call(load)
    if not callable(network):
        raise Refused("BadInput", f"{load.get('call')} gives {type(network).__name__}, which is no network")
    if isinstance(network, torch.nn.Module) and "file" not in load and "seed" in load:
        seed_weights(network, load["seed"])
    try:
        return network.eval()
    except (AttributeError, NotImplementedError):  # an exported program has no modes
        return network


def from_file(path):
    """TorchScript, or an ExportedProgram."""
    import torch

    problems = []
    for read in (torch.jit.load, lambda name: torch.export.load(name).module()):
        try:
            return read(path)
        except Exception as error:
            problems.append(first_line(error))
    words = f"{path} is neither TorchScript ({problems[0]}) nor an ExportedProgram ({problems[1]})"
    if zipped_pickle(path):
        words = (
            f"{path} has only weights or a pickled module; save the network with torch.jit.save or torch.export.save"
        )
    raise Refused("BadInput", words)


def zipped_pickle(path):
    """Whether torch.save made it: such a file needs the network's code, and may run any."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return False
    return "data.pkl" in names and not any(name.startswith("code/") for name in names)


def from_call(load):
    """What `call` gives for args and kwargs; weights by the argument that takes their file, or as its state."""
    import torch

    module, _, path = load["call"].partition(":")
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise Refused("BadInput", f"there is no {load['call']}: {first_line(error)}") from error
    named = dict(load.get("kwargs") or {})
    if load.get("weights_argument"):
        named[load["weights_argument"]] = load["weights"]
    try:
        network = found(*(load.get("args") or []), **named)
    except Exception as error:
        traceback.print_exc()
        raise Refused("BadInput", f"{load['call']} fails: {first_line(error)}") from error
    if load.get("weights") and not load.get("weights_argument"):
        try:
            network.load_state_dict(torch.load(load["weights"], map_location="cpu", weights_only=True))
        except Exception as error:
            raise Refused("BadInput", f"the weights do not fit {load['call']}: {str(error)[:400]}") from error
    return network


def seed_weights(network, seed):
    """The same weights on every machine, whatever torch's own generator does."""
    import numpy as np
    import torch

    spec = importlib.util.spec_from_file_location("random_weights", HERE + "/random_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    generator = np.random.RandomState(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                # A weight of one dimension is a normalisation's scale.
                role = "gamma" if name.endswith("weight") and value.dim() == 1 else name
                value.copy_(torch.from_numpy(module.random_weight(generator, role, tuple(value.shape))))


def run(network, inputs, names):
    """The outputs as a flat list of tensors."""
    import torch

    try:
        outputs = network(*inputs)
    except Exception as error:
        traceback.print_exc()
        given = ", ".join(f"{name} {list(value.shape)}" for name, value in zip(names, inputs))
        raise Refused("BadInput", f"the network does not take {given}: {first_line(error)}") from error
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    if not all(isinstance(value, torch.Tensor) for value in outputs):
        raise Refused("BadInput", "the network's outputs are not all tensors")
    return outputs


def save_script(network, inputs, path):
    """TorchScript: as it is, or traced."""
    import torch

    script = network if isinstance(network, torch.jit.ScriptModule) else torch.jit.trace(network, inputs)
    torch.jit.save(script, path)


def export_program(network, inputs):
    """An ExportedProgram; of TorchScript by torch's converter, which not every release has."""
    import torch

    if not isinstance(network, torch.jit.ScriptModule):
        return torch.export.export(network, inputs)
    from torch._export.converter import TS2EPConverter

    return TS2EPConverter(network, inputs).convert()


def export_onnx(network, inputs, path, options):
    """With torch's own tracing exporter, which needs no further package."""
    import torch

    try:
        torch.onnx.export(network, inputs, path, dynamo=False, **options)
    except TypeError:  # releases before `dynamo` only trace
        torch.onnx.export(network, inputs, path, **options)


def first_line(error):
    """An exception's first words that say something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line] or lines
    return (telling[-1] if len(lines) > 5 else telling[0])[:300] if telling else type(error).__name__


def main() -> None:
    """Does the request; its answer as JSON goes into the file that the request names."""
    request = json.load(sys.stdin)
    # This file's folder would shadow packages; the wheel holds the network's code.
    sys.path[0:1] = [request["load"]["code_wheel"]] if request["load"].get("code_wheel") else []
    warnings.simplefilter("ignore")
    try:
        answer = prepare(request)
    except Refused as refused:
        answer = {"error": list(refused.args)}
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
