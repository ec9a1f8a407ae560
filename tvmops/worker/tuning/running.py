"""Child side: runs one built trial on a board, or here, and takes its time. Serves TVM with Relay and with Relax."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Dict, List

os.environ.setdefault("TOPHUB_LOCATION", "NONE")

import numpy as np
import tvm
from tvm import rpc

FASTEST_CORES = 1
FILLS = ("tvm.contrib.random.random_fill_for_measure", "tvm.contrib.random.random_fill")


class NoSession(Exception):
    """No session with the board came about."""


def run(request: Dict[str, Any]) -> List[float]:
    """Seconds per run of `artifact` with random arguments (`args`: shape and dtype), one per repeat."""
    session = connect(request["rpc"], request["session_timeout"]) if request["rpc"] else None
    path = Path(request["artifact"])
    if session is not None:
        session.upload(str(path), path.name)
        library, device = session.load_module(path.name), session.device(request["device"], 0)
    else:
        library, device = tvm.runtime.load_module(str(path)), tvm.device(request["device"], 0)
    function = session.get_function if session is not None else tvm.get_global_func
    if request.get("threads"):
        function("runtime.config_threadpool")(FASTEST_CORES, request["threads"])
    try:
        arguments = _arguments(request["args"], device, function)
        timer = library.time_evaluator(
            request["entry"] or library.entry_name,
            device,
            number=request["number"],
            repeat=request["repeat"],
            min_repeat_ms=request["min_repeat_ms"],
        )
        device.sync()
        return [float(cost) for cost in timer(*arguments).results]
    finally:
        if session is not None:
            with contextlib.suppress(Exception):
                session.remove(path.name)


def probe(request: Dict[str, Any]) -> bool:
    """Whether the board gives a session within `patience` seconds: a server that crashed may be coming up again."""
    deadline = time.monotonic() + request["patience"]
    while True:
        try:
            return bool(connect(request["rpc"], 10).cpu(0).exist)
        except NoSession:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def limits(request: Dict[str, Any]) -> Dict[str, Any]:
    """What the board's GPU can hold, for AutoTVM to leave out what cannot run."""
    session = connect(request["rpc"], 60) if request["rpc"] else None
    device = session.device(request["device"], 0) if session is not None else tvm.device(request["device"], 0)
    sizes = device.max_thread_dimensions
    return {
        "max_shared_memory_per_block": device.max_shared_memory_per_block,
        "max_threads_per_block": device.max_threads_per_block,
        "max_thread_x": sizes[0],
        "max_thread_y": sizes[1],
        "max_thread_z": sizes[2],
    }


def connect(board: Dict[str, Any], session_timeout: int) -> Any:
    """A session. Raises NoSession."""
    try:
        return rpc.connect(board["host"], board["port"], key=board["key"], session_timeout=session_timeout)
    except Exception as error:
        raise NoSession(f"{board['host']}:{board['port']} gives no session: {str(error).splitlines()[-1]}") from error


def _arguments(infos: Any, device: Any, function: Any) -> List[Any]:
    empty = getattr(tvm.runtime, "empty", None) or tvm.nd.empty
    arrays = [empty(tuple(shape), dtype, device) for shape, dtype in infos]
    for name in FILLS:
        fill = _found(function, name)
        if fill is not None:
            for array in arrays:
                fill(array)
            return arrays
    # A runtime without random functions: the values travel, which takes longer and measures the same.
    draw = np.random.default_rng(0)
    for array in arrays:
        array.copyfrom((draw.random(array.shape) * 10).astype(array.dtype))
    return arrays


def _found(function: Any, name: str) -> Any:
    try:
        return function(name)
    except (AttributeError, ValueError):
        return None
