"""Child side: builds one trial of MetaSchedule as a library for the board. TVM with Relax.

Not TVM's LocalBuilder: that starts its processes anew for every batch, each imports all tensor intrinsics (20 s), and
gives up after 30 s; and it leaves linking to the board.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Dict

import tvm

from .libraries import new_library
from .names import cross_compiler, schedule_transforms


def meta_schedule_trial(request: Dict[str, Any]) -> Dict[str, Any]:
    """`data`: a pickled (module, target); `args` are known before."""
    module, target = pickle.loads(request["data"])  # noqa: S301  from our own worker
    # What TVM's default builder does: the rewriting of weights' layout is no part of what a model runs.
    module = schedule_transforms().RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(module)
    library = tvm.driver.build(module, target=target)
    path = new_library(Path(request["folder"]))
    options = {"fcompile": cross_compiler()(request["cross_compiler"])} if request.get("cross_compiler") else {}
    library.export_library(str(path), **options)
    return {"artifact": str(path), "args": request["args"], "entry": "main"}
