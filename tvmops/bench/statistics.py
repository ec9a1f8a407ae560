"""Statistics of raw samples. Derived when reporting, never stored, so that a better method can be applied later.

Every value is in seconds; ratios have no unit. Bootstraps are seeded by their samples: the same samples always give
the same interval.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import struct
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """One distribution in a few numbers. `low` and `high` bound the median with 95 % confidence."""

    count: int
    minimum: float
    median: float
    p90: float
    maximum: float
    mad: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """A quotient of two medians with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def quantile(samples: Sequence[float], fraction: float) -> float:
    """The value below which `fraction` of the samples lie, interpolated linearly. Raises ValueError when empty."""
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("no samples")
    position = fraction * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    value = ordered[below] + (ordered[above] - ordered[below]) * (position - below)
    # Rounding must not push the value outside its two neighbours.
    return min(max(value, ordered[below]), ordered[above])


def mad(samples: Sequence[float]) -> float:
    """The median absolute deviation from the median: a spread that outliers do not move."""
    centre = statistics.median(samples)
    return statistics.median(abs(value - centre) for value in samples)


def bootstrap_medians(samples: Sequence[float], resamples: int = RESAMPLES) -> list[float]:
    """Medians of `resamples` random draws with replacement, sorted."""
    source = random.Random(_seed(samples))  # noqa: S311 (statistics, not secrets)
    size = len(samples)
    return sorted(statistics.median(source.choices(samples, k=size)) for _ in range(resamples))


def summarise(samples: Sequence[float]) -> Summary:
    """The summary of one measurement's samples. Raises ValueError when there are none."""
    if not samples:
        raise ValueError("no samples")
    medians = bootstrap_medians(samples)
    tail = (1 - CONFIDENCE) / 2
    return Summary(
        count=len(samples),
        minimum=min(samples),
        median=statistics.median(samples),
        p90=quantile(samples, 0.9),
        maximum=max(samples),
        mad=mad(samples),
        low=quantile(medians, tail),
        high=quantile(medians, 1 - tail),
    )


def ratio(samples: Sequence[float], baseline: Sequence[float]) -> Ratio:
    """How many times slower `samples` are than `baseline` (2.0 = takes twice as long)."""
    if not samples or not baseline or min(baseline) <= 0:
        raise ValueError("a ratio needs samples on both sides, above zero")
    # Both lists are shuffled independently: sorted against sorted would pair the best with the best.
    shuffle = random.Random(_seed([*samples, *baseline]))  # noqa: S311
    upper, lower = bootstrap_medians(samples), bootstrap_medians(baseline)
    shuffle.shuffle(upper)
    shuffle.shuffle(lower)
    ratios = [above / below for above, below in zip(upper, lower, strict=True)]
    tail = (1 - CONFIDENCE) / 2
    return Ratio(
        value=statistics.median(samples) / statistics.median(baseline),
        low=quantile(ratios, tail),
        high=quantile(ratios, 1 - tail),
    )


def geometric_mean(values: Sequence[float]) -> float:
    """The mean that fits ratios: twice as slow and twice as fast average to 1. Raises ValueError when empty."""
    return statistics.geometric_mean(values)


def _seed(samples: Sequence[float]) -> int:
    packed = struct.pack(f"<{len(samples)}d", *samples)
    return int.from_bytes(hashlib.sha256(packed).digest()[:8], "big")
