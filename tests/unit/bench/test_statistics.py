"""Laws of the statistics that reports show."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvmops.bench import statistics as ours

seconds = st.floats(min_value=1e-7, max_value=100.0, allow_nan=False)
samples = st.lists(seconds, min_size=1, max_size=30)


@given(samples)
@settings(max_examples=40, deadline=None)
def test_a_summary_is_ordered_and_inside_its_samples(values: list[float]) -> None:
    """minimum <= interval <= maximum, and the median lies between minimum and 90 % quantile or above."""
    found = ours.summarise(values)
    assert found.minimum <= found.low <= found.high <= found.maximum
    assert found.minimum <= found.median <= found.maximum
    assert found.minimum <= found.p90 <= found.maximum
    assert found.median == statistics.median(values)
    assert found.mad >= 0
    assert found.count == len(values)


@given(samples)
@settings(max_examples=20, deadline=None)
def test_the_same_samples_give_the_same_interval(values: list[float]) -> None:
    """Two reports of the same data never differ."""
    assert ours.summarise(values) == ours.summarise(list(values))


@given(samples, st.floats(min_value=0.25, max_value=16.0).map(lambda value: 2.0 ** round(value / 4)))
@settings(max_examples=30, deadline=None)
def test_scaling_the_samples_scales_median_and_spread(values: list[float], factor: float) -> None:
    """A unit is only a unit. Powers of two, so that nothing is rounded."""
    plain, scaled = ours.summarise(values), ours.summarise([value * factor for value in values])
    assert scaled.median == plain.median * factor
    assert scaled.mad == plain.mad * factor
    assert scaled.p90 == pytest.approx(plain.p90 * factor)


@given(samples)
@settings(max_examples=20, deadline=None)
def test_a_ratio_with_itself_is_one(values: list[float]) -> None:
    """and its interval holds one."""
    found = ours.ratio(values, values)
    assert found.value == 1.0
    assert found.low <= 1.0 <= found.high


@given(samples, samples)
@settings(max_examples=20, deadline=None)
def test_a_ratio_and_its_inverse_agree(above: list[float], below: list[float]) -> None:
    """Twice as slow one way is half as slow the other way."""
    assert ours.ratio(above, below).value * ours.ratio(below, above).value == pytest.approx(1.0)


@given(samples, st.floats(min_value=0, max_value=1))
def test_a_quantile_lies_between_its_neighbours(values: list[float], fraction: float) -> None:
    """Never outside the data, whatever the rounding."""
    assert min(values) <= ours.quantile(values, fraction) <= max(values)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    """95 % intervals of 200 random draws cover the median that they were drawn around in at least 85 %."""
    import random

    source = random.Random(7)
    covered = 0
    for _ in range(200):
        found = ours.summarise([source.gauss(10.0, 1.0) for _ in range(20)])
        covered += found.low <= 10.0 <= found.high
    assert covered >= 170


def test_no_samples_are_refused() -> None:
    """Nothing measured is not zero."""
    for function in (ours.summarise, lambda values: ours.quantile(values, 0.5)):
        with pytest.raises(ValueError, match="no samples"):
            function([])
    with pytest.raises(ValueError, match="above zero"):
        ours.ratio([1.0], [0.0])
