"""What a user's own script does, with nothing but TVM: run by benchmarks/bare.py inside the environment of relay-0.19.

    python bare_peer.py '{"models": [...], "port": 9090, "target": {...}, "warmup": 3, "repeat": 20}'

Compiles each of TVM's testing networks, sends it to the RPC server on 127.0.0.1, runs and times it there.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import tvm
from tvm import relay, rpc
from tvm.contrib import graph_executor
from tvm.relay import testing

NETWORKS = {
    "mobilenet": lambda: testing.mobilenet.get_workload(batch_size=1),
    "resnet-18": lambda: testing.resnet.get_workload(num_layers=18, batch_size=1),
    "squeezenet_v1.1": lambda: testing.squeezenet.get_workload(batch_size=1, version="1.1"),
}


def main(settings):
    """A line per network: its median in ms."""
    target = tvm.target.Target(settings["target"])
    for name in settings["models"]:
        module, params = NETWORKS[name]()
        with tvm.transform.PassContext(opt_level=3):
            library = relay.build(module, target=target, params=params)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.so"
            library.export_library(str(path))
            session = rpc.connect("127.0.0.1", settings["port"], session_timeout=600)
            session.upload(str(path))
            remote = session.load_module("net.so")
        session.get_function("runtime.config_threadpool")(1, settings["threads"])
        device = session.cpu(0)
        executor = graph_executor.GraphModule(remote["default"](device))
        data = np.random.RandomState(0).rand(1, 3, 224, 224).astype("float32")
        executor.set_input("data", data)
        executor.run()
        executor.get_output(0).numpy()
        executor.module.time_evaluator("run", device, number=settings["warmup"], repeat=1)()
        found = executor.module.time_evaluator("run", device, number=1, repeat=settings["repeat"])()
        print(f"{name}: {1000 * np.median(found.results):.2f} ms", flush=True)
        del executor, remote, device, session


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
