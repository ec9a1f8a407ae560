"""VTA's RPC server without VTA, run in the stack's environment: what vta/exec/rpc_server.py registers, in its order.

    python vta_server.py PORT LOG [TRACKER_PORT]

Calls go to LOG, one JSON line each. As on a board, a runtime cannot be reconfigured once a library is loaded, and a
library is loaded only onto an FPGA that was programmed. The device ext_dev is this machine's CPU.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import tvm
from tvm.rpc.server import PopenRPCServerState


def server_start() -> None:
    """Runs in the process of each session."""
    log = Path(sys.argv[2])
    plain_load = tvm.get_global_func("tvm.rpc.server.load_module")
    done = []

    def note(call: str, **what: object) -> None:
        done.append(call)
        with log.open("a") as stream:
            stream.write(json.dumps({"call": call, **what}) + "\n")

    @tvm.register_func("tvm.contrib.vta.reconfig_runtime", override=True)
    def reconfig_runtime(cfg_json: str) -> None:
        if "load_module" in done:
            raise RuntimeError("Can only reconfig in the beginning of session...")
        note("reconfig_runtime", config=json.loads(cfg_json))

    @tvm.register_func("tvm.contrib.vta.init", override=True)
    def program_fpga(file_name: str) -> None:
        path = Path(tvm.get_global_func("tvm.rpc.server.workpath")(file_name))
        data = path.read_bytes()
        if not data.startswith(b"BIT"):
            raise RuntimeError("Could not find bitstream signature")
        note("init", file=path.name, sha256=hashlib.sha256(data).hexdigest())

    @tvm.register_func("tvm.rpc.server.load_module", override=True)
    def load_module(file_name: str) -> object:
        if "init" not in done:
            raise RuntimeError("no bitstream")
        note("load_module")
        return plain_load(file_name)

    @tvm.register_func("device_api.ext_dev", override=True)
    def ext_dev() -> object:
        return tvm.get_global_func("device_api.cpu")()


def serve(port: int, tracker: int | None) -> None:
    """Until it is ended. Sessions are forked from here, with `server_start` as the first that they call."""
    tvm.register_func("tvm.rpc.server.start", server_start, override=True)
    address = ("127.0.0.1", tracker) if tracker else None
    key = "pynq" if tracker else ""
    PopenRPCServerState("127.0.0.1", port, port + 1, key=key, tracker_addr=address).thread.join()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
