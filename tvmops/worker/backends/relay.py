"""TVM 0.8 to 0.19: Relay and its graph executor."""

from __future__ import annotations

import importlib
import os
import platform
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

# TVM reads it whenever it would fetch tophub's files; nothing is fetched while compiling.
os.environ["TOPHUB_LOCATION"] = "NONE"

import numpy as np
import tvm

from ..failures import JobError, failing_as
from ..prepared import Prepared
from ..vta.hardware import is_vta
from .base import Backend, Built
from .linking import export_library
from .relay_board import GraphBoard
from .relay_import import RelayModule, import_model
from .relay_names import api
from .relay_records import applied
from .targets import relay_target

OPT_LEVEL = 3


def create() -> "RelayBackend":
    """The backend, its versions read once."""
    return RelayBackend()


class RelayBackend(Backend):
    """Compiles with relay.build, runs on the graph executor behind an RPC server."""

    def __init__(self) -> None:
        self._versions = _versions()

    def versions(self) -> Dict[str, Optional[str]]:
        """Everything that decides what code comes out."""
        return dict(self._versions)

    def import_model(self, prepared: Prepared, options: Dict[str, Any]) -> RelayModule:
        """From the form nearest to the model's own."""
        del options
        return import_model(prepared)

    def tasks(self, module: RelayModule, target: Dict[str, Any], method: str) -> List[Dict[str, Any]]:
        """AutoTVM's, or auto_scheduler's; AutoTVM does not know how often each occurs."""
        search, found = self._tasks(module, target, method)
        return [{"name": search.name_of(task), "weight": search.weight_of(task)} for task in found]

    def tune(
        self, module: RelayModule, target: Dict[str, Any], plan: Any, report: Callable[[Dict[str, Any]], None]
    ) -> Dict[str, Any]:
        """With AutoTVM or auto_scheduler."""
        search, found = self._tasks(module, target, plan.method)
        return search.tune(found, target, plan, report)

    def _tasks(self, module: RelayModule, target: Dict[str, Any], method: str) -> Any:
        if method not in ("autotvm", "ansor"):
            raise JobError("BadInput", f"TVM {tvm.__version__} does not tune with {method}; it has autotvm and ansor")
        search = importlib.import_module(f"..tuning.{method}", __package__)
        tvm_target = self.target(target)
        with failing_as("Compile", f"TVM cannot find the model's tasks for {target}"):
            return search, search.extract(module.mod, module.params, tvm_target)

    def build(
        self, module: RelayModule, target: Dict[str, Any], options: Dict[str, Any], tuning: Dict[str, Any]
    ) -> Built:
        """`options` may have opt_level (3 unless given), and `vta` for targets of that device."""
        if is_vta(target):
            from ..vta import packing

            return Built(*packing.build(module.mod, module.params, target, options, tuning))
        tvm_target = self.target(target)
        level = options.get("opt_level", OPT_LEVEL)
        refused = f"TVM cannot compile the model for {target}"
        with applied(tuning, tvm_target) as records, failing_as("Compile", refused):
            context = api("pass_context")(opt_level=level, config=records.config)
            with context:
                library = api("build")(module.mod, target=tvm_target, params=module.params)
        return Built(library, records.coverage)

    def target(self, target: Dict[str, Any]) -> Any:
        """TVM's object for a host's `tvm_target`. Raises JobError: BadInput, Compile."""
        with failing_as("Compile", f"TVM refuses the target {target}"):
            device, host = relay_target(target, _expand, tvm.__version__)
            return tvm.target.Target(tvm.target.Target(device), host=tvm.target.Target(host))

    def export(self, built: Built, artifact: Path, cross_compiler: Optional[str]) -> None:
        """A shared library."""
        export_library(built.library, artifact, cross_compiler, api("cross_compiler"))

    def connect(self, rpc: Dict[str, Any], target: Dict[str, Any]) -> GraphBoard:
        """A session with the graph executor's device; for VTA its simulator, or the FPGA behind RPC."""
        if is_vta(target):
            from ..vta import boards

            return boards.connect(rpc, target)
        return GraphBoard(rpc, target)


def _expand(tag: str) -> Dict[str, Any]:
    try:
        return dict(tvm.target.Target(tag).export())
    except Exception as error:
        raise JobError("BadInput", f"TVM {tvm.__version__} has no target tag '{tag}'") from error


def _versions() -> Dict[str, Optional[str]]:
    llvm: Optional[Callable[[], int]] = tvm.get_global_func("target.llvm_version_major", allow_missing=True)
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tvm": tvm.__version__,
        "llvm": str(llvm()) if llvm else None,
        **{name: _version_of(name) for name in ("onnx", "onnxruntime")},
    }


def _version_of(package: str) -> Optional[str]:
    try:
        return str(__import__(package).__version__)
    except ImportError:
        return None
