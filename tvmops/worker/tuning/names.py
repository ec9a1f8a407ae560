"""Names that moved between releases of TVM with Relax."""

from __future__ import annotations

import importlib
from typing import Any


def _first(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ImportError(f"this TVM has none of {', '.join(names)}")


def meta_schedule() -> Any:
    """MetaSchedule; tvm.meta_schedule before 0.24."""
    return _first("tvm.s_tir.meta_schedule", "tvm.meta_schedule")


def schedule_transforms() -> Any:
    """Where RemoveWeightLayoutRewriteBlock is."""
    return _first("tvm.s_tir.transform", "tvm.tir.transform")


def prim_function() -> Any:
    """The class of functions that are loops, not calls."""
    return _first("tvm.tirx", "tvm.tir").PrimFunc


def cross_compiler() -> Any:
    """The function that makes a linker of a compiler's name; in tvm.contrib before 0.25."""
    return _first("tvm.support.cc", "tvm.contrib.cc").cross_compiler


def estimate_flops() -> Any:
    """The function that counts a module's operations."""
    return _first("tvm.s_tir.analysis", "tvm.tir.analysis").estimate_tir_flops
