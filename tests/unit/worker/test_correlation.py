"""The tolerance of quantized models: outputs that go up and down together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tvmops.worker.compare import compare, tolerance_of
from tvmops.worker.failures import JobError

RISING = np.arange(12, dtype=np.float32).reshape(1, 12)


def tolerance(least: Any) -> dict[str, float]:
    return tolerance_of({"tolerance": {"correlation": least}})


def test_scale_and_offset_do_not_count_but_order_does() -> None:
    found = compare({"y": RISING}, {"y": RISING * 3 - 5}, tolerance(0.99))["y"]
    assert found["correlation"] == pytest.approx(1)
    assert found["max_abs"] == 17, "the differences are told all the same"
    with pytest.raises(JobError, match=r"output 'y' correlates with the reference by -1\.0000 only, .* asks for 0\.99"):
        compare({"y": RISING}, {"y": -RISING}, tolerance(0.99))


def test_the_threshold_is_numpys_coefficient() -> None:
    noisy = RISING + np.random.RandomState(3).standard_normal(RISING.shape).astype(np.float32)
    exactly = float(np.corrcoef(RISING.ravel(), noisy.ravel())[0, 1])
    assert compare({"y": RISING}, {"y": noisy}, tolerance(exactly - 1e-6))["y"]["correlation"] == pytest.approx(exactly)
    with pytest.raises(JobError):
        compare({"y": RISING}, {"y": noisy}, tolerance(exactly + 1e-6))


def test_outputs_that_do_not_vary() -> None:
    flat = np.full((1, 4), 2, np.float32)
    assert compare({"y": flat}, {"y": flat.copy()}, tolerance(0.9))["y"]["correlation"] == 1
    for other in (flat + 1, np.arange(4, dtype=np.float32).reshape(1, 4)):
        with pytest.raises(JobError, match="correlates"):
            compare({"y": flat}, {"y": other}, tolerance(0.9))


def test_nan_is_no_output() -> None:
    with pytest.raises(JobError, match="NaN"):
        compare({"y": RISING}, {"y": np.where(RISING == 3, np.nan, RISING)}, tolerance(0.5))


@pytest.mark.parametrize("least", [0, -1, 1.01, "0.9", True, None])
def test_thresholds_that_cannot_be(least: Any) -> None:
    with pytest.raises(JobError, match=r"tolerance\.correlation must be above 0 and at most 1"):
        tolerance(least)


def test_one_kind_of_tolerance_at_a_time() -> None:
    with pytest.raises(JobError, match="either correlation, or rtol and atol"):
        tolerance_of({"tolerance": {"correlation": 0.9, "rtol": 0.1}})
