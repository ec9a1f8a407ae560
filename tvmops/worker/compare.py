"""Is an output the reference's, within the workload's tolerance?"""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from .failures import JobError

DEFAULT_TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


def tolerance_of(workload: Dict[str, Any]) -> Dict[str, float]:
    """The workload's rtol and atol, as in numpy.allclose."""
    given = workload.get("tolerance") or {}
    return {name: float(given.get(name, default)) for name, default in DEFAULT_TOLERANCE.items()}


def differences(expected: np.ndarray, actual: np.ndarray, atol: float) -> Dict[str, float]:
    """The largest absolute and relative difference. Values below `atol` count as `atol` in the relative one."""
    wide = np.complex128 if np.iscomplexobj(expected) else np.float64
    gap = np.abs(actual.astype(wide) - expected.astype(wide))
    if gap.size == 0:
        return {"max_abs": 0.0, "max_rel": 0.0}
    scale = np.maximum(np.abs(expected.astype(wide)), max(atol, np.finfo(np.float64).tiny))
    return {"max_abs": float(gap.max()), "max_rel": float((gap / scale).max())}


def compare(
    expected: Dict[str, np.ndarray], actual: Dict[str, np.ndarray], tolerance: Dict[str, float]
) -> Dict[str, Dict[str, float]]:
    """The differences per output. Raises JobError (WrongOutput) at the first output beyond the tolerance."""
    if len(expected) != len(actual):
        raise JobError("WrongOutput", f"{len(actual)} outputs came back, the reference has {len(expected)}")
    found = {}
    for (name, want), have in zip(expected.items(), actual.values()):
        if want.shape != have.shape:
            raise JobError("WrongOutput", f"output '{name}' has shape {have.shape}, the reference {want.shape}")
        if not np.array_equal(np.isfinite(want), np.isfinite(have)):
            raise JobError("WrongOutput", f"output '{name}' has NaN or infinite values where the reference has none")
        finite = np.isfinite(want)
        found[name] = differences(want[finite], have[finite], tolerance["atol"])
        if not np.allclose(have, want, rtol=tolerance["rtol"], atol=tolerance["atol"], equal_nan=True):
            raise JobError("WrongOutput", _beyond(name, found[name], tolerance))
    return found


def _beyond(name: str, found: Dict[str, float], tolerance: Dict[str, float]) -> str:
    return (
        f"output '{name}' differs from the reference by up to {found['max_abs']:.3g} "
        f"(relative {found['max_rel']:.3g}), beyond rtol {tolerance['rtol']:g} and atol {tolerance['atol']:g}; "
        f"nothing was timed. If this is only rounding, raise the workload's 'tolerance'"
    )
