"""TVM 0.20 and later: Relax and its virtual machine. The only file that imports tvm."""

from __future__ import annotations

import contextlib
import gc
import platform
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import tvm
from tvm import relax, rpc
from tvm.relax.frontend.onnx import from_onnx

from ..failures import JobError, failing_as, first_words
from ..prepared import Prepared
from .base import Backend, Board, Built
from .devices import device_of

# TVM renames things between releases; each entry lists an API's names, newest first.
NAMES: Dict[str, List[str]] = {
    "compile": ["tvm.compile", "tvm.relax.build"],
    "tensor": ["tvm.runtime.tensor", "tvm.nd.array"],
    "cross_compiler": ["tvm.support.cc.cross_compiler", "tvm.contrib.cc.cross_compiler"],
    "session_timeout": ["tvm.error.RPCSessionTimeoutError", "tvm.rpc.base.RPCSessionTimeoutError"],
}
LIBRARY = "model.so"

# Mode 1 of TVM's thread pool: the fastest cores first, one thread each.
FASTEST_CORES = 1


def api(name: str) -> Any:
    """The object behind a name of NAMES in this release of TVM, or None where it has none."""
    for path in NAMES[name]:
        found: Any = tvm
        with contextlib.suppress(AttributeError, ImportError):
            parts = path.split(".")[1:]
            for depth, part in enumerate(parts):
                if not hasattr(found, part):
                    __import__("tvm." + ".".join(parts[: depth + 1]))
                found = getattr(found, part)
            return found
    return None


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
            return tvm.target.Target(_target(target))

    def tasks(self, module: Any, target: Dict[str, Any], method: str) -> List[Dict[str, Any]]:
        """MetaSchedule's."""
        return [{"name": str(task.task_name), "weight": int(task.weight)} for task in self._tasks(module, target, method)]

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
        """A shared library. It is linked under another name first: `artifact` is whole or absent."""
        part = artifact.with_name("part-" + artifact.name)
        options = {"fcompile": api("cross_compiler")(cross_compiler)} if cross_compiler else {}
        with failing_as("Compile", f"the library cannot be linked with {cross_compiler or 'the C++ compiler'}"):
            built.library.export_library(str(part), **options)
        part.replace(artifact)

    def connect(self, rpc: Dict[str, Any], target: Dict[str, Any]) -> "RpcBoard":
        """A session that the server ends by itself after `session_timeout` seconds."""
        if not rpc.get("host") or not rpc.get("port"):
            raise JobError("BadInput", "job.json of a measure job needs 'rpc' with host and port")
        timeout = int(rpc.get("session_timeout", 300))
        return RpcBoard(rpc["host"], int(rpc["port"]), timeout, str(rpc.get("key", "")), device_of(target))


class RpcBoard(Board):
    """A board behind TVM's RPC server."""

    def __init__(self, host: str, port: int, session_timeout: int, key: str = "", device: str = "cpu") -> None:
        self._device_name = device
        self._where = f"{host}:{port}"
        self._session_timeout = session_timeout
        with self._explained("connect to"):
            self._session = rpc.connect(host, port, key=key, session_timeout=session_timeout)
        self._machine: Any = None
        self._device: Any = None
        self._held: List[Any] = []

    def upload(self, artifact: Path) -> None:
        """Into the session's own folder on the board, which the server removes afterwards."""
        with self._explained("upload the library to"):
            self._session.upload(str(artifact), LIBRARY)

    def load(self, artifact: Path, inputs: Dict[str, np.ndarray], threads: int, options: Dict[str, Any]) -> None:
        """The thread pool must be set before the first run starts it."""
        tensor = api("tensor")
        with self._explained("load the library on"):
            self._session.get_function("runtime.config_threadpool")(FASTEST_CORES, threads)
            self._device = self._session.device(self._device_name, 0)
            self._machine = relax.VirtualMachine(self._session.load_module(LIBRARY), self._device)
            self._held = [tensor(np.ascontiguousarray(array), self._device) for array in inputs.values()]
            self._machine.set_input("main", *self._held)

    def run(self) -> float:
        """One inference, with the round trip."""
        begin = time.perf_counter()
        with self._explained("run the model on"):
            self._machine.invoke_stateful("main")
        return time.perf_counter() - begin

    def outputs(self) -> List[np.ndarray]:
        """Fetched from the board."""
        with self._explained("fetch the outputs from"):
            return _flatten(self._machine.get_outputs("main"))

    def warm_up(self, runs: int) -> float:
        """One sample of `runs` runs."""
        return self.measure(1, runs)[0]

    def measure(self, repeat: int, number: int) -> List[float]:
        """TVM's own loop, on the board: the network is not in the numbers."""
        with self._explained("measure on"):
            timer = self._machine.time_evaluator("invoke_stateful", self._device, number=number, repeat=repeat)
            return list(timer("main").results)

    def close(self) -> None:
        """The session ends when the last object that lives on the board is gone."""
        self._machine = self._device = self._session = None
        self._held = []
        gc.collect()

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Any:
        try:
            yield
        except api("session_timeout") as error:
            message = f"the board behind {self._where} needed more than the session's {self._session_timeout} s"
            raise JobError("Rpc", f"{message}; raise rpc.session_timeout or measure less") from error
        except Exception as error:
            raise JobError("Rpc", f"cannot {doing} the board behind {self._where}: {_rpc_reason(error)}") from error


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


def _target(target: Dict[str, Any]) -> Any:
    """A dict as it is, or a tag with further keys over it."""
    settings = dict(target)
    if not settings:
        raise JobError("BadInput", "job.json of a compile job needs a 'target'")
    tag = settings.pop("tag", None)
    if tag is None:
        return settings
    return {**tvm.target.Target(tag).export(), **settings} if settings else tag


def _operators(error: Exception) -> str:
    names = str(error).split("frontend ONNX:")[-1].strip()
    return f"TVM's importer lacks the operator {names}; export the model without it, or choose another stack"


def _rpc_reason(error: Exception) -> str:
    words = first_words(error, 300)
    if "kShutdown" in words:
        return "the server ended the session (it crashed, or its listener is dead); restart the RPC server on the board"
    if "Connect to" in words:
        return "nothing listens there; is the RPC server up and the tunnel open?"
    return words


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
