"""Is an output the reference's, within the workload's tolerance?"""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from .failures import JobError

DEFAULT_TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


def tolerance_of(workload: Dict[str, Any]) -> Dict[str, float]:
    """The workload's rtol and atol, as in numpy.allclose, or its least correlation. Raises JobError (BadInput)."""
    given = workload.get("tolerance") or {}
    if "correlation" not in given:
        return {name: float(given.get(name, default)) for name, default in DEFAULT_TOLERANCE.items()}
    if len(given) > 1:
        raise JobError("BadInput", "tolerance: give either correlation, or rtol and atol")
    least = given["correlation"]
    if isinstance(least, bool) or not isinstance(least, (int, float)) or not 0 < least <= 1:
        raise JobError("BadInput", f"tolerance.correlation must be above 0 and at most 1, not {least!r}")
    return {"correlation": float(least)}


def differences(expected: np.ndarray, actual: np.ndarray, atol: float) -> Dict[str, float]:
    """The largest absolute and relative difference. Values below `atol` count as `atol` in the relative one."""
    wide = np.complex128 if np.iscomplexobj(expected) else np.float64
    gap = np.abs(actual.astype(wide) - expected.astype(wide))
    if gap.size == 0:
        return {"max_abs": 0.0, "max_rel": 0.0}
    scale = np.maximum(np.abs(expected.astype(wide)), max(atol, np.finfo(np.float64).tiny))
    return {"max_abs": float(gap.max()), "max_rel": float((gap / scale).max())}


def correlation(expected: np.ndarray, actual: np.ndarray) -> float:
    """Pearson's, over all values. Outputs that do not vary correlate only with themselves."""
    want, have = expected.astype(np.float64).ravel(), actual.astype(np.float64).ravel()
    want, have = want - want.mean(), have - have.mean()
    scale = float(np.sqrt((want * want).sum() * (have * have).sum()))
    if scale == 0.0:
        return float(np.array_equal(expected, actual))
    return float((want * have).sum() / scale)


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
        found[name] = _compare_one(name, want, have, tolerance)
    return found


def _compare_one(name: str, want: np.ndarray, have: np.ndarray, tolerance: Dict[str, float]) -> Dict[str, float]:
    finite = np.isfinite(want)
    found = differences(want[finite], have[finite], tolerance.get("atol", DEFAULT_TOLERANCE["atol"]))
    if "correlation" in tolerance:
        found["correlation"] = correlation(want[finite], have[finite])
        if found["correlation"] < tolerance["correlation"]:
            raise JobError("WrongOutput", _unlike(name, found, tolerance))
    elif not np.allclose(have, want, rtol=tolerance["rtol"], atol=tolerance["atol"], equal_nan=True):
        raise JobError("WrongOutput", _beyond(name, found, tolerance))
    return found


def _unlike(name: str, found: Dict[str, float], tolerance: Dict[str, float]) -> str:
    return (
        f"output '{name}' correlates with the reference by {found['correlation']:.4f} only, the workload asks for "
        f"{tolerance['correlation']:g}; nothing was timed. If quantization costs that much, lower the 'tolerance'"
    )


def _beyond(name: str, found: Dict[str, float], tolerance: Dict[str, float]) -> str:
    return (
        f"output '{name}' differs from the reference by up to {found['max_abs']:.3g} "
        f"(relative {found['max_rel']:.3g}), beyond rtol {tolerance['rtol']:g} and atol {tolerance['atol']:g}; "
        f"nothing was timed. If this is only rounding, raise the workload's 'tolerance'"
    )
