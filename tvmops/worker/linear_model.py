"""Models of format `linear`: y = x @ weight + bias, with no framework at all. They test the pipeline, not TVM."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Dict

import numpy as np

from .failures import JobError
from .models.base import Model
from .prepared import Prepared

INPUT, OUTPUT = "x", "y"


def input_specs(model: Model, wanted: Dict[str, Any]) -> Dict[str, Any]:
    """One row by default; the workload may ask for more."""
    columns = int(_read(model.path)["weight"].shape[0])
    spec = wanted.get(INPUT, {"shape": [1, columns], "dtype": "float32"})
    if set(wanted) - {INPUT} or len(spec["shape"]) != 2 or spec["shape"][1] != columns:
        raise JobError("BadInput", f"a linear model has the one input '{INPUT}' of shape [rows, {columns}]")
    return {INPUT: spec}


def prepare(model: Model, specs: Dict[str, Any], inputs: Dict[str, np.ndarray], directory: Path) -> Prepared:
    """Nothing to fold."""
    del specs, inputs
    target = directory / "model.npz"
    shutil.copyfile(str(model.path), str(target))
    return Prepared([INPUT], [OUTPUT], linear=target)


def run_reference(prepared: Prepared, inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """In double precision, as a reference should be."""
    values = _read(prepared.linear)
    exact = inputs[INPUT].astype(np.float64) @ values["weight"] + values["bias"]
    return {OUTPUT: exact.astype(np.float32)}


def _read(path: Any) -> Dict[str, np.ndarray]:
    with np.load(str(path), allow_pickle=False) as stored:
        return {name: stored[name] for name in ("weight", "bias")}
