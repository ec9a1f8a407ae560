"""Child side: builds one trial of AutoTVM or auto_scheduler as a library for the board. TVM up to 0.19."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, Dict

os.environ.setdefault("TOPHUB_LOCATION", "NONE")

import tvm
import tvm.relay
import tvm.topi
from tvm import auto_scheduler, autotvm
from tvm.autotvm.env import GLOBAL_SCOPE
from tvm.autotvm.measure.measure_methods import _build_func_common
from tvm.autotvm.utils import get_const_tuple
from tvm.contrib import cc

from .libraries import new_library

# As in AutoTVM's own builder processes: templates look at it, and leave out work that a model does once.
GLOBAL_SCOPE.in_tuning = True


class InstantiationError(Exception):
    """The configuration contradicts itself."""


def autotvm_trial(request: Dict[str, Any]) -> Dict[str, Any]:
    """`data`: a pickled (target, task, config)."""
    target, task, config = pickle.loads(request["data"])  # noqa: S301  from our own worker
    try:
        library, args = _build_func_common(
            autotvm.MeasureInput(tvm.target.Target(target), task, config), checks=request.get("checks") or {}
        )
    except autotvm.task.space.InstantiationError as error:
        raise InstantiationError(str(error)) from error
    except Exception as error:
        if "InstantiationError" in str(error):
            raise InstantiationError(str(error).strip().splitlines()[-1]) from error
        raise
    return _exported(library, args, request)


def ansor_trial(request: Dict[str, Any]) -> Dict[str, Any]:
    """`data`: what MeasureInput.serialize() gave, pickled."""
    data = pickle.loads(request["data"])  # noqa: S301  from our own worker
    found = auto_scheduler.measure.MeasureInput.deserialize(data)
    task = found.task
    task.target, task.target_host = tvm.target.Target.canon_target_and_host(task.target, task.target_host)
    try:
        schedule, args = task.compute_dag.apply_steps_from_state(found.state, layout_rewrite=task.layout_rewrite_option)
    except Exception as error:
        raise InstantiationError(str(error).strip().splitlines()[-1]) from error
    library = tvm.driver.build(schedule, args, target=task.target)
    return _exported(library, [(get_const_tuple(arg.shape), arg.dtype) for arg in args], request)


def _exported(library: Any, args: Any, request: Dict[str, Any]) -> Dict[str, Any]:
    path = new_library(Path(request["folder"]))
    compiler = request.get("cross_compiler")
    library.export_library(str(path), **({"cc": compiler} if compiler else {"fcompile": cc.create_shared}))
    infos = [([int(size) for size in shape], str(dtype)) for shape, dtype in args]
    return {"artifact": str(path), "args": infos, "entry": None}
