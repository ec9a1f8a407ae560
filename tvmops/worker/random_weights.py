"""Weights from a seed for networks whose trained ones are not to be had.

Zeros and ones, or too small values, would make every output the same, and comparing outputs would say nothing. These
keep signals at about their size from layer to layer and differ everywhere, the statistics of normalisations included.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

GAIN = 0.7
ROUND_ONE = ("gamma", "var")
ROUND_ZERO = ("beta", "mean", "bias")


def random_weight(generator: Any, name: str, shape: Sequence[int]) -> np.ndarray:
    """One parameter by its name's ending: gamma and var around one; beta, mean and bias around zero; else a kernel."""
    if name.endswith(ROUND_ONE):
        values = generator.uniform(0.8, 1.2, shape)
    elif name.endswith(ROUND_ZERO):
        values = generator.normal(0.0, 0.3, shape)
    else:
        fan_in = max(1, int(np.prod(shape[1:])))
        values = generator.normal(0.0, GAIN * np.sqrt(2.0 / fan_in), shape)
    return values.astype(np.float32)
