"""A TVM 0.19 client, run in the environment of stack relay-0.19: compiles, talks RPC, prints one JSON object.

    python relay_client.py ACTION key=value...

Actions are the functions below; what they print, tests compare.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TOPHUB_LOCATION", "NONE")
logging.disable(logging.WARNING)  # "operators have not been tuned"

# TVM reads TOPHUB_LOCATION when it is imported.
import numpy as np  # noqa: E402
import tvm  # noqa: E402
from tvm import relay, rpc  # noqa: E402
from tvm.contrib import graph_executor  # noqa: E402

TARGETS = {
    "x86_64": ("llvm", "g++"),
    "aarch64": ("llvm -mtriple=aarch64-linux-gnu", "aarch64-linux-gnu-g++"),
    # Without -mfloat-abi=hard the linker refuses: "uses VFP register arguments".
    "armv7l": ("llvm -mtriple=armv7l-linux-gnueabihf -mattr=+neon -mfloat-abi=hard", "arm-linux-gnueabihf-g++"),
}
SECONDS = 60


def small_net() -> tuple[Any, dict[str, Any], np.ndarray, np.ndarray]:
    """A separable convolution as MobileNet has it: (module, parameters, input, what numpy says of it)."""
    draw = np.random.default_rng(7)
    data = draw.standard_normal((1, 4, 12, 12), dtype="float32")
    deep = draw.standard_normal((4, 1, 3, 3), dtype="float32")
    wide = draw.standard_normal((8, 4, 1, 1), dtype="float32")
    x = relay.var("data", shape=data.shape)
    y = relay.nn.conv2d(
        x, relay.var("deep", shape=deep.shape), padding=(1, 1), groups=4, channels=4, kernel_size=(3, 3)
    )
    y = relay.nn.conv2d(relay.nn.relu(y), relay.var("wide", shape=wide.shape), channels=8, kernel_size=(1, 1))
    function = relay.Function(relay.analysis.free_vars(y), y)
    padded = np.pad(data, ((0, 0), (0, 0), (1, 1), (1, 1)))
    between = np.zeros_like(data)
    for row in range(3):
        for column in range(3):
            between += padded[:, :, row : row + 12, column : column + 12] * deep[:, 0, row, column].reshape(1, 4, 1, 1)
    answer = np.einsum("nchw,oc->nohw", np.maximum(between, 0), wide[:, :, 0, 0])
    return tvm.IRModule.from_expr(function), {"deep": deep, "wide": wide}, data, answer


def build(arch: str, folder: str, ending: str = "so") -> Path:
    """The small net compiled for `arch`, exported into `folder`."""
    target, compiler = TARGETS[arch]
    module, parameters, _, _ = small_net()
    with tvm.transform.PassContext(opt_level=3):
        library = relay.build(module, target=target, params=parameters)
    path = Path(folder) / f"net.{ending}"
    library.export_library(str(path), **({"cc": compiler} if ending == "so" else {}))
    return path


def connect(port: str, key: str = "", seconds: float = SECONDS) -> Any:
    return rpc.connect("127.0.0.1", int(port), key=key, session_timeout=seconds)


def run(session: Any, path: Path, name: str) -> dict[str, Any]:
    """Upload a library, run the net in it and time it."""
    _, _, data, answer = small_net()
    session.upload(str(path), name)
    loaded = session.load_module(name)
    device = session.cpu(0)
    executor = graph_executor.GraphModule(loaded["default"](device))
    executor.set_input("data", data)
    executor.run()
    difference = float(np.abs(executor.get_output(0).numpy() - answer).max())
    samples = executor.module.time_evaluator("run", device, number=2, repeat=3)().results
    return {"difference": difference, "largest": float(np.abs(answer).max()), "samples": list(samples)}


def failure(action: Any) -> str:
    """What it fails with."""
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def everything(port: str, arch: str = "x86_64") -> dict[str, Any]:
    """One session that does all that TVM's own server is used for."""
    with tempfile.TemporaryDirectory() as folder:
        path = build(arch, folder)
        session = connect(port)
        found = run(session, path, "net.so")
        found["cpu"] = bool(session.cpu(0).exist)
        found["same bytes"] = bytes(session.download("net.so")) == path.read_bytes()
        listdir = session.get_function("tvm.rpc.server.listdir")
        found["listed"] = [Path(name).name for name in listdir(".").split(",") if name]
        found["folder"] = str(Path(session.get_function("tvm.rpc.server.workpath")(".")).resolve())
        session.remove("net.so")
        found["after removal"] = failure(lambda: session.load_module("net.so"))
    return found


def linked(port: str) -> dict[str, Any]:
    """Objects and archives, which the board has to link."""
    with tempfile.TemporaryDirectory() as folder:
        path = build("x86_64", folder, "tar")
        session = connect(port)
        session.upload(bytearray(b"no archive"), "broken.tar")
        session.upload(bytearray(b"no object"), "broken.o")
        found: dict[str, Any] = {"broken.tar": failure(lambda: session.load_module("broken.tar"))}
        found["broken.o"] = failure(lambda: session.load_module("broken.o"))
        found["net.tar"] = failure(lambda: found.update(run(session, path, "net.tar")))
        if found["net.tar"] == "no error":
            library = session.get_function("tvm.rpc.server.download_linked_module")("net.tar")
            found["linked"] = bytes(library[:4]) == b"\x7fELF"
    return found


def tracked(tracker: str, key: str, port: str = "") -> dict[str, Any]:
    """A session through the tracker; to `port` instead of what the tracker says when given (a tunnel)."""
    entry = rpc.connect_tracker("127.0.0.1", int(tracker))
    end = time.monotonic() + 20
    while not entry.summary()["queue_info"].get(key, {}).get("free") and time.monotonic() < end:
        time.sleep(0.1)
    found = {"summary": entry.summary()}
    session = entry.request(key, session_timeout=SECONDS)
    session.upload(bytearray(b"hello"), "greeting")
    found["said"] = bytes(session.download("greeting")).decode()
    del session
    found["without the tracker"] = failure(lambda: connect(port, key))
    return found


def shared(tracker: str, key: str) -> dict[str, Any]:
    """Compute on a board that others want, too; when the session began and ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = build("x86_64", folder)
        session = rpc.connect_tracker("127.0.0.1", int(tracker)).request(key, session_timeout=SECONDS)
        began = time.monotonic()
        found = run(session, path, "net.so")
        ended = time.monotonic()
    return {**found, "began": began, "ended": ended}


def holds(tracker: str, key: str) -> dict[str, Any]:
    """Have a board until killed."""
    session = rpc.connect_tracker("127.0.0.1", int(tracker)).request(key, session_timeout=SECONDS)
    print("holding", flush=True)
    time.sleep(SECONDS)
    return {"cpu": bool(session.cpu(0).exist)}


def waits(port: str, seconds: str) -> dict[str, Any]:
    """Two sessions at once: when each began, and what the one says that stays too long."""
    first = connect(port, seconds=float(seconds))
    started = time.monotonic()
    second = connect(port)
    waited = time.monotonic() - started
    return {"waited": waited, "first": failure(lambda: first.download("x")), "cpu": bool(second.cpu(0).exist)}


def compiled(folder: str) -> dict[str, Any]:
    """model.so and reference.npz as a compile job leaves them, and wrong.npz, which wants another output."""
    build("x86_64", folder).rename(Path(folder) / "model.so")
    _, _, data, answer = small_net()
    meta = json.dumps({"inputs": ["data"], "outputs": ["y"], "input_sha256": "", "knowledge": {}})
    for name, output in (("reference", answer), ("wrong", answer * 1.1)):
        arrays = {"input_0": data, "output_0": output, "meta": np.frombuffer(meta.encode(), np.uint8)}
        np.savez(Path(folder) / f"{name}.npz", **arrays)
    return {}


def native(port: str, library: str, function: str) -> dict[str, Any]:
    """Call a function of a library made by hand: one that hangs, or one that crashes."""
    session = connect(port)
    session.upload(library, "native.so")
    called = session.load_module("native.so").get_function(function)
    print("calling", flush=True)
    return {"ended": failure(called)}


ACTIONS = {action.__name__: action for action in (everything, linked, tracked, shared, holds, waits, compiled, native)}

if __name__ == "__main__":
    arguments = dict(word.split("=", 1) for word in sys.argv[2:])
    print(json.dumps(ACTIONS[sys.argv[1]](**arguments)))
