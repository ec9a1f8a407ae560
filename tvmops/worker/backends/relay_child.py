"""Run as a program of its own by relay_import.py: a framework's model into Relay. Request: JSON on stdin.

The framework is loaded first, and neither in the worker's process: MXNet and TVM have functions of the same names, of
which the one loaded later calls the other's, and two LLVMs in one process have crashed.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path


def from_mxnet(files, inputs):
    """Symbol and parameters, as MXNet saves them."""
    import mxnet

    symbol = mxnet.sym.load(files[0])
    stored = mxnet.nd.load(files[1])
    from tvm import relay

    arguments = {name[4:]: value for name, value in stored.items() if name.startswith("arg:")}
    auxiliary = {name[4:]: value for name, value in stored.items() if name.startswith("aux:")}
    shapes = {name: tuple(spec["shape"]) for name, spec in inputs.items()}
    dtypes = {name: spec["dtype"] for name, spec in inputs.items()}
    return relay.frontend.from_mxnet(symbol, shapes, dtypes, arguments, auxiliary)


def from_torch(files, inputs):
    """TorchScript; its inputs get the workload's names."""
    import torch

    network = torch.jit.load(files[0], map_location="cpu").eval()
    from tvm import relay

    shapes = [(name, (tuple(spec["shape"]), spec["dtype"])) for name, spec in inputs.items()]
    return relay.frontend.from_pytorch(network, shapes)


FRAMEWORKS = {"mxnet": from_mxnet, "torch": from_torch}


def main() -> None:
    """Leaves relay.json and relay.params in the request's folder and, last, its answer where the request says."""
    request = json.load(sys.stdin)
    del sys.path[0]  # this file's folder would shadow packages
    folder = Path(request["folder"])
    try:
        mod, params = FRAMEWORKS[request["framework"]](request["files"], request["inputs"])
        import tvm

        (folder / "relay.json").write_text(tvm.ir.save_json(mod), encoding="utf-8")
        (folder / "relay.params").write_bytes(tvm.runtime.save_param_dict(params))
        answer = {"ok": True}
    except Exception as error:
        traceback.print_exc()
        answer = {"ok": False, "type": type(error).__name__, "message": str(error)}
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
