"""Task `raw`: seeded random inputs, no question asked. Outputs are still compared with the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from .common import verdict


def prepare(
    settings: Dict[str, Any], specs: Dict[str, Any], model: Any, cache_dir: Path
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Floats in [0, 1), integers in [`low`, `high`) (0 and 2 unless given), from `seed`."""
    del model, cache_dir
    # RandomState's streams are frozen across numpy versions: the same seed is the same input everywhere.
    generator = np.random.RandomState(int(settings.get("seed", 0)))
    low, high = int(settings.get("low", 0)), int(settings.get("high", 2))
    return {name: _draw(generator, spec, low, high) for name, spec in specs.items()}, {}


def _draw(generator: Any, spec: Dict[str, Any], low: int, high: int) -> np.ndarray:
    dtype = np.dtype(spec["dtype"])
    if dtype.kind == "f":
        return generator.random_sample(spec["shape"]).astype(dtype)
    return generator.randint(low, high, spec["shape"]).astype(dtype)


def check(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """Anything that is a number."""
    finite = all(bool(np.isfinite(output).all()) for output in outputs)
    return verdict(finite, "finite numbers" if finite else "NaN or infinity", "finite numbers")
