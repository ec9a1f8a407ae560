"""Where TVM 0.8 to 0.19 keep what the Relay backend uses: each entry lists an API's names, newest first."""

from __future__ import annotations

from typing import Any, Dict, List

from .api_names import find

NAMES: Dict[str, List[str]] = {
    "build": ["tvm.relay.build"],
    "pass_context": ["tvm.transform.PassContext"],
    "array": ["tvm.nd.array"],
    "graph_executor": ["tvm.contrib.graph_executor"],
    "cross_compiler": ["tvm.contrib.cc.cross_compiler"],
    "save_params": ["tvm.runtime.save_param_dict", "tvm.relay.save_param_dict"],
    "load_params": ["tvm.runtime.load_param_dict", "tvm.relay.load_param_dict"],
    "onnx_export": ["tvm.contrib.target.onnx.to_onnx"],
    # Up to 0.12 a session that is over is an RPCError of that name; its own class came with 0.13.
    "session_timeout": ["tvm.error.RPCSessionTimeoutError"],
    "autotvm_context": ["tvm.autotvm.task.DispatchContext"],
    "autotvm_history": ["tvm.autotvm.task.ApplyHistoryBest"],
    "autotvm_scope": ["tvm.autotvm.env.GLOBAL_SCOPE"],
    "tophub": ["tvm.autotvm.tophub"],
    "ansor_context": ["tvm.auto_scheduler.dispatcher.DispatchContext"],
    "ansor_history": ["tvm.auto_scheduler.ApplyHistoryBest"],
}


def api(name: str) -> Any:
    """The object behind a name of NAMES, or None where this release of TVM has none."""
    return find(NAMES, name)
