"""Intervals of ratios and quantiles against what they promise, and against numbers from the literature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.stats.intervals import Interval, Ranks, enough, fewest, quantile, quantile_ranks, wilson

RATIOS = st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
SHARES = st.floats(0.01, 0.99)


@given(RATIOS)
def test_wilson_contains_the_ratio_and_stays_within_0_and_1(ratio: tuple[int, int]) -> None:
    k, n = ratio
    interval = wilson(k, n)
    assert 0.0 <= interval.low <= k / n <= interval.high <= 1.0


@given(RATIOS, st.integers(2, 50))
def test_wilson_shrinks_with_n(ratio: tuple[int, int], times: int) -> None:
    k, n = ratio
    few, many = wilson(k, n), wilson(k * times, n * times)
    assert many.high - many.low < few.high - few.low


@given(RATIOS)
def test_wilson_of_failures_mirrors_that_of_successes(ratio: tuple[int, int]) -> None:
    k, n = ratio
    good, bad = wilson(k, n), wilson(n - k, n)
    assert (good.low, good.high) == pytest.approx((1 - bad.high, 1 - bad.low), abs=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(60, 60, 0.93982, 1.0), (1440, 1440, 0.99734, 1.0), (8, 10, 0.49016, 0.94331), (59, 60, 0.91145, 0.99705)],
)
def test_wilson_has_the_known_values(k: int, n: int, low: float, high: float) -> None:
    interval = wilson(k, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-5)


def test_wilson_of_nothing_says_nothing_and_no_ratio_is_refused() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)
    for k, n in ((2, 1), (-1, 3)):
        with pytest.raises(ValueError, match="no ratio"):
            wilson(k, n)


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)])
def test_the_smallest_sample_with_a_finite_interval_is_the_known_one(q: float, n: int) -> None:
    assert (n, True, False) == (fewest(q), enough(n, q), enough(n - 1, q))
    assert n == quantile_ranks(n, q).high
    assert quantile_ranks(n - 1, q).high is None


@given(st.integers(1, 5000), SHARES)
def test_an_interval_has_two_ends_exactly_if_there_are_enough(n: int, q: float) -> None:
    ranks = quantile_ranks(n, q)
    assert (ranks.low is not None and ranks.high is not None) == enough(n, q)


def test_known_ranks_of_p99() -> None:
    assert Ranks(983, 997) == quantile_ranks(1000, 0.99)
    assert Ranks(9880, 9920) == quantile_ranks(10_000, 0.99)
    assert Ranks(None, None) == quantile_ranks(0, 0.99)


@given(st.integers(1, 60), SHARES)
def test_ranks_are_the_narrowest_that_the_binomial_allows(n: int, q: float) -> None:
    def at_most(count: int) -> float:
        return math.fsum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(count + 1))

    ranks = quantile_ranks(n, q)
    low = max((rank for rank in range(1, n + 1) if at_most(rank - 1) <= 0.025), default=None)
    high = min((rank for rank in range(1, n + 1) if 1 - at_most(rank - 1) <= 0.025), default=None)
    assert Ranks(low, high) == ranks


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300), SHARES)
def test_a_quantile_is_an_observed_value_inside_its_interval(values: list[float], q: float) -> None:
    found = quantile(values, q)
    assert found.value in values
    assert found.low is None or found.low <= found.value
    assert found.high is None or found.value <= found.high


def test_the_interval_encloses_the_true_quantile_about_as_often_as_it_says() -> None:
    rows = np.random.default_rng(4).random((1000, 200))
    found = [quantile(row, 0.9) for row in rows]
    assert 940 <= sum(one.low <= 0.9 <= one.high for one in found if one.low is not None and one.high is not None) < 990


def test_gaps_are_left_out_and_no_values_are_refused() -> None:
    assert quantile([3.0, math.nan, 1.0, 2.0], 0.5).value == 2.0
    with pytest.raises(ValueError, match="no values"):
        quantile([math.nan], 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile([1.0], 1.0)
