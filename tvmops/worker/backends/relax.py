"""TVM 0.20 and later: Relax and its virtual machine."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

from ..failures import JobError, failing_as, first_words
from ..prepared import Prepared
from .api_names import find
from .base import Backend, Built
from .linking import export_library
from .rpc_board import RpcBoard
from .targets import target_settings

# TVM renames things between releases; each entry lists an API's names, newest first.
NAMES: Dict[str, List[str]] = {
    "compile": ["tvm.compile", "tvm.relax.build"],
    "tensor": ["tvm.runtime.tensor", "tvm.nd.array"],
    "cross_compiler": ["tvm.support.cc.cross_compiler", "tvm.contrib.cc.cross_compiler"],
}


def api(name: str) -> Any:
    """The object behind a name of NAMES in this release of TVM, or None where it has none."""
    return find(NAMES, name)


def create() -> "RelaxBackend":
    """The backend, its versions read once."""
    return RelaxBackend()


class RelaxBackend(Backend):
    """Compiles with tvm.compile, runs on the Relax virtual machine behind an RPC server."""

    def __init__(self) -> None:
        self._versions = _versions()

    def versions(self) -> Dict[str, Optional[str]]:
        """Everything that decides what code comes out."""
        return dict(self._versions)

    def import_model(self, prepared: Prepared, options: Dict[str, Any]) -> Any:
        """From torch's exported program where there is one, else from ONNX."""
        importer = _from_exported_program if prepared.exported_program else _from_onnx
        try:
            return importer(prepared)
        except tvm.error.OpNotImplemented as error:
            raise JobError("UnsupportedOperator", _operators(error)) from error
        except NotImplementedError as error:
            raise JobError("UnsupportedOperator", f"TVM's importer lacks this: {first_words(error)}") from error
        except AssertionError as error:
            if "nsupported function type" not in str(error):
                raise JobError("Compile", f"TVM cannot import the model: {first_words(error)}") from error
            raise JobError("UnsupportedOperator", f"TVM's importer lacks this: {first_words(error)}") from error
        except Exception as error:
            raise JobError("Compile", f"TVM cannot import the model: {first_words(error)}") from error

    def build(self, module: Any, target: Dict[str, Any], options: Dict[str, Any], tuning: Dict[str, Any]) -> Built:
        """Untuned code for `target`, or with a log of MetaSchedule."""
        tvm_target = self.target(target)
        coverage: Dict[str, Optional[int]] = {"tasks": None, "untuned": None}
        if tuning["kind"] != "none":
            module, coverage = _tuned(module, tvm_target, tuning)
        with failing_as("Compile", f"TVM cannot compile the model for {target}"):
            return Built(api("compile")(module, target=tvm_target), coverage)

    def target(self, target: Dict[str, Any]) -> Any:
        """TVM's object for a host's `tvm_target`. Raises JobError: BadInput, Compile."""
        with failing_as("Compile", f"TVM refuses the target {target}"):
            return tvm.target.Target(target_settings(target, _expand))

    def tasks(self, module: Any, target: Dict[str, Any], method: str) -> List[Dict[str, Any]]:
        """MetaSchedule's."""
        return [
            {"name": str(task.task_name), "weight": int(task.weight)} for task in self._tasks(module, target, method)
        ]

    def tune(
        self, module: Any, target: Dict[str, Any], plan: Any, report: Callable[[Dict[str, Any]], None]
    ) -> Dict[str, Any]:
        """With MetaSchedule."""
        from ..tuning import meta_schedule

        return meta_schedule.tune(self._tasks(module, target, plan.method), target, plan, report)

    def _tasks(self, module: Any, target: Dict[str, Any], method: str) -> List[Any]:
        if method != "meta_schedule":
            raise JobError("BadInput", f"TVM {tvm.__version__} does not tune with {method}; it has meta_schedule")
        from ..tuning import meta_schedule

        tvm_target = self.target(target)
        with failing_as("Compile", f"TVM cannot lower the model for {target}"):
            return meta_schedule.extract(meta_schedule.prepared(module, tvm_target), tvm_target)

    def export(self, built: Built, artifact: Path, cross_compiler: Optional[str]) -> None:
        """A shared library."""
        export_library(built.library, artifact, cross_compiler, api("cross_compiler"))

    def connect(self, rpc: Dict[str, Any], target: Dict[str, Any]) -> "VmBoard":
        """A session with the Relax virtual machine's device."""
        return VmBoard(rpc, target)


class VmBoard(RpcBoard):
    """A board that runs the Relax virtual machine."""

    _machine: Any = None
    _held: List[Any] = []

    def start(self, library: Any, inputs: Dict[str, np.ndarray]) -> None:
        """Inputs go by their order."""
        tensor = api("tensor")
        self._machine = relax.VirtualMachine(library, self.device)
        self._held = [tensor(np.ascontiguousarray(array), self.device) for array in inputs.values()]
        self._machine.set_input("main", *self._held)

    def infer(self) -> None:
        """One call of main."""
        self._machine.invoke_stateful("main")

    def fetch(self) -> List[np.ndarray]:
        """In the model's order."""
        return _flatten(self._machine.get_outputs("main"))

    def samples(self, repeat: int, number: int) -> List[float]:
        """TVM's time evaluator."""
        timer = self._machine.time_evaluator("invoke_stateful", self.device, number=number, repeat=repeat)
        return list(timer("main").results)

    def forget(self) -> None:
        """Machine and inputs."""
        self._machine = None
        self._held = []


def _from_onnx(prepared: Prepared) -> Any:
    import onnx

    if prepared.onnx is None:
        raise JobError("BadInput", "TVM imports ONNX models and torch's exported programs; this is neither")
    return from_onnx(onnx.load(str(prepared.onnx)), keep_params_in_input=False)


def _from_exported_program(prepared: Prepared) -> Any:
    import torch
    from tvm.relax.frontend.torch import from_exported_program

    return from_exported_program(torch.export.load(str(prepared.exported_program)))


def _tuned(module: Any, target: Any, tuning: Dict[str, Any]) -> Any:
    """The module with the log's records in it, and the coverage. MetaSchedule takes long to import."""
    if tuning["kind"] != "log" or tuning.get("method") != "meta_schedule":
        method = f" of {tuning['method']}" if tuning.get("method") else ""
        raise JobError("BadInput", f"TVM {tvm.__version__} has no use for tuning '{tuning['kind']}'{method}")
    from ..tuning.applying import applied

    with failing_as("Compile", f"TVM cannot apply the log {tuning['path']}"):
        return applied(module, target, Path(tuning["path"]))


def _expand(tag: str) -> Dict[str, Any]:
    return dict(tvm.target.Target(tag).export())


def _operators(error: Exception) -> str:
    names = str(error).split("frontend ONNX:")[-1].strip()
    return f"TVM's importer lacks the operator {names}; export the model without it, or choose another stack"


def _flatten(value: Any) -> List[np.ndarray]:
    if isinstance(value, (tuple, list)) or type(value).__name__ == "Array":
        return [array for item in value for array in _flatten(item)]
    return [value.numpy()]


def _versions() -> Dict[str, Optional[str]]:
    import onnx
    import onnxruntime
    import tvm_ffi

    llvm: Optional[Callable[[], int]] = tvm.get_global_func("target.llvm_version_major", allow_missing=True)
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tvm": tvm.__version__,
        "tvm_ffi": tvm_ffi.__version__,
        "llvm": str(llvm()) if llvm else None,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
