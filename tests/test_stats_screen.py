"""Tests of many rows at once say what the tests of one series say of each."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.stats.compare import Rules, compare_all, holm
from checker.stats.intervals import quantile_ranks, ranks_of_many
from checker.stats.multiple_comparisons import erfc, kendall_rows, mann_whitney_rows, slope_rows
from checker.stats.ranks import mann_whitney, split_p_values
from checker.stats.robust import medians
from checker.stats.slope import FEWEST_SLOPE_POINTS, trend

VALUE = st.one_of(st.integers(0, 20).map(float), st.floats(0, 1000), st.just(math.nan))


@st.composite
def matrices(draw: st.DrawFn, columns: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rows = draw(st.lists(st.lists(VALUE, min_size=columns, max_size=columns), min_size=1, max_size=4))
    return np.array(rows, dtype=np.float64)


@given(matrices(12))
def test_kendall_and_slopes_of_rows_are_those_of_trend(
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    p_values, slopes = kendall_rows(values), slope_rows(values)
    for row, p_value, slope in zip(values, p_values.tolist(), slopes.tolist(), strict=True):
        one = trend(np.arange(len(row)), row)
        if one is None:
            assert np.sum(~np.isnan(row)) < FEWEST_SLOPE_POINTS
            assert math.isnan(p_value)
        else:
            assert (p_value, slope) == (pytest.approx(one.p_value), pytest.approx(one.slope))


@given(matrices(6), matrices(7))
def test_mann_whitney_of_rows_is_that_of_each(
    first: np.ndarray[tuple[int, int], np.dtype[np.float64]], second: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> None:
    rows = min(len(first), len(second))
    seen = mann_whitney_rows(first[:rows], second[:rows], 5)
    for row in range(rows):
        sides = [side[row][~np.isnan(side[row])] for side in (first, second)]
        if min(map(len, sides)) < 5:
            assert math.isnan(seen[row])
        else:
            assert seen[row] == pytest.approx(mann_whitney(*sides).p_value)


def test_mann_whitney_of_long_rows_is_the_approximation_of_each() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(0, 1, (20, 40)), random.normal(0.3, 1, (20, 50))
    expected = [mann_whitney(*sides).p_value for sides in zip(first, second, strict=True)]
    assert mann_whitney_rows(first, second, 5) == pytest.approx(expected)


@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=20), st.sampled_from((0.5, 0.9, 0.95, 0.99, 0.999)))
def test_ranks_of_many_samples_are_beside_the_exact_ones_at_most(sizes: list[int], q: float) -> None:
    for size, (low, high) in zip(sizes, ranks_of_many(sizes, q).tolist(), strict=True):
        exact = quantile_ranks(size, q)
        assert abs(low - (exact.low or 0)) <= 1
        assert abs(high - (exact.high or 0)) <= 1
        if size * q * (1 - q) < 25:
            assert (low, high) == (exact.low or 0, exact.high or 0)


def test_the_correction_counts_a_family_that_is_not_shown() -> None:
    random = np.random.default_rng(1)
    pairs = [(random.normal(100, 5, 8), random.normal(100 + 3 * place, 5, 8)) for place in range(6)]
    rules = Rules(resamples=100)
    every = compare_all(pairs, rules)
    p_values = [one.p_value for one in every]
    assert compare_all(pairs[2:4], rules, family=[*p_values[:2], *p_values[4:]]) == every[2:4]
    assert [one.p_adjusted for one in every] == holm(p_values).tolist()


def test_erfc_of_many() -> None:
    assert erfc([[0.0, 1.0]]).tolist() == [[1.0, math.erfc(1.0)]]


@given(matrices(9), st.data())
def test_splits_of_rows_are_mann_whitney_of_each(
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]], data: st.DataObject
) -> None:
    values = np.nan_to_num(values)
    sizes = np.array([data.draw(st.integers(2, 9)) for _ in values])
    cuts = np.array([data.draw(st.integers(1, size - 1)) for size in sizes.tolist()])
    padded = np.where(np.arange(9) < sizes[:, None], values, np.inf)
    expected = [
        mann_whitney(row[:cut], row[cut:size]).p_value for row, cut, size in zip(values, cuts, sizes, strict=True)
    ]
    assert split_p_values(padded, cuts, sizes) == expected


@given(matrices(6))
def test_medians_of_rows_are_those_of_numpy(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    expected = [np.median(known) if (known := row[~np.isnan(row)]).size else math.nan for row in values]
    assert np.array_equal(medians(values), expected, equal_nan=True)
