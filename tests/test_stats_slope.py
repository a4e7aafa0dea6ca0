"""Theil-Sen and Mann-Kendall against all orders of small series, and against what must not matter."""

from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from checker.stats.slope import MOST_POINTS, Trend, trend

POINTS = st.lists(st.tuples(st.integers(-500, 500), st.integers(-500, 500)), min_size=8, max_size=40)
"""Whole numbers, so that moving and scaling them is exact and ties stay ties."""


def found(points: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, Trend]:
    """The points as arrays with their trend; a series without one is not looked at."""
    x, y = np.array(points, dtype=float).T
    line = trend(x, y)
    assume(line is not None)
    assert line is not None
    return x, y, line


def test_known_values() -> None:
    """As scipy.stats.theilslopes has them, with gaps in x and with ties in both."""
    y = [3, 5, 4, 8, 9, 9, 13, 12, 15, 14]
    line = trend([0, 1, 2, 4, 5, 7, 8, 9, 12, 13], y)
    assert line is not None
    assert (line.slope, line.slope_low, line.slope_high) == pytest.approx((10 / 11, 2 / 3, 1.2))
    tied = trend([0, 0, 1, 2, 2, 3, 4, 5, 6, 7], y)
    assert tied is not None
    assert (tied.slope, tied.slope_low, tied.slope_high) == pytest.approx((5 / 3, 1.0, 2.2))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([0, 1, 2, 5, 6, 7, 9, 30], [1, 3, 2, 5, 4, 8, 6, 7]),
        ([0, 1, 2, 5, 6, 7, 9, 30], [1, 1, 2, 2, 2, 8, 6, 6]),
        ([0, 0, 0, 5, 6, 6, 9, 30], [1, 1, 2, 2, 2, 8, 6, 6]),
    ],
)
def test_the_p_value_rests_on_the_spread_of_the_score_over_all_orders(x: list[int], y: list[int]) -> None:
    pairs = list(combinations(range(8), 2))
    left, right = np.array(pairs).T
    orders = np.array(list(permutations(y)))
    signs = np.sign(np.subtract(*np.array(x)[[right, left]]))
    scores = (np.sign(orders[:, right] - orders[:, left]) * signs).sum(axis=1)
    line = trend(x, y)
    assert line is not None
    z = (abs(scores[0]) - 1) / scores.std()
    assert line.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-9)
    assert line.p_value == pytest.approx(float(np.mean(np.abs(scores) >= abs(scores[0]))), abs=0.02)


@given(POINTS, st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_the_slope_does_not_depend_on_where_zero_is(points: list[tuple[int, int]], dx: int, dy: int) -> None:
    x, y, line = found(points)
    moved = trend(x + dx, y + dy)
    assert moved is not None
    assert (line.slope, line.slope_low, line.slope_high, line.p_value) == (
        moved.slope,
        moved.slope_low,
        moved.slope_high,
        moved.p_value,
    )
    assert moved.at(5.0 + dx) == pytest.approx(line.at(5.0) + dy, abs=1e-6)


@given(POINTS, st.sampled_from([0.25, 0.5, 4.0, 1024.0]))
def test_the_slope_goes_down_as_the_unit_of_x_gets_finer(points: list[tuple[int, int]], times: float) -> None:
    x, y, line = found(points)
    scaled = trend(x * times, y)
    assert scaled is not None
    assert (line.slope, line.slope_low, line.slope_high) == (
        scaled.slope * times,
        scaled.slope_low * times,
        scaled.slope_high * times,
    )
    assert line.p_value == scaled.p_value


@given(POINTS)
def test_backwards_it_falls_as_it_rose(points: list[tuple[int, int]]) -> None:
    x, y, line = found(points)
    back = trend(-x, y)
    assert back is not None
    assert (line.slope, line.p_value) == (-back.slope, back.p_value)


@given(POINTS, st.randoms(use_true_random=False))
def test_the_order_of_the_points_and_gaps_do_not_matter(points: list[tuple[int, int]], random: object) -> None:
    x, y, line = found(points)
    order = list(range(len(points)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert line == trend([*x[order], 3.0, math.nan], [*y[order], math.nan, 4.0])


@given(POINTS)
def test_the_interval_holds_the_slope_and_the_p_value_is_one(points: list[tuple[int, int]]) -> None:
    _, _, line = found(points)
    assert line.slope_low <= line.slope <= line.slope_high
    assert 0.0 <= line.p_value <= 1.0


@given(st.integers(8, 1000), st.integers(-9, 9), st.integers(-99, 99))
def test_a_straight_line_is_found_as_it_is(n: int, slope: int, offset: int) -> None:
    x = np.arange(n, dtype=float)
    line = trend(x, slope * x + offset)
    assert line is not None
    assert (line.slope, line.slope_low, line.slope_high, line.n) == (slope, slope, slope, n)
    assert line.at(-3.0) == slope * -3 + offset
    assert (line.p_value < 0.01) == (slope != 0)


def test_a_third_of_wild_values_does_not_turn_the_line() -> None:
    random = np.random.default_rng(1)
    x = np.arange(90.0)
    y = 100 + 0.5 * x + random.normal(0, 1, 90)
    y[random.choice(90, 20, replace=False)] += 10_000 * random.random(20)
    line = trend(x, y)
    assert line is not None
    assert 0.4 < line.slope_low < 0.5 < line.slope_high < 0.7


def test_noise_has_a_trend_about_as_often_as_alpha_says() -> None:
    rows = np.random.default_rng(5).standard_cauchy((400, 30))
    lines = [trend(np.arange(30.0), row) for row in rows]
    assert 8 <= sum(line.p_value < 0.05 for line in lines if line) <= 32
    assert 8 <= sum(not line.slope_low <= 0 <= line.slope_high for line in lines if line) <= 36


def test_a_long_series_is_thinned_and_keeps_its_ends() -> None:
    x = np.arange(5000.0)
    y = np.where(x < 4999, x, 1e9)
    line, short = trend(x, y), trend(x[:: 5000 // MOST_POINTS], x[:: 5000 // MOST_POINTS])
    assert line is not None
    assert short is not None
    assert (line.n, line.slope) == (5000, short.slope)


def test_milliseconds_of_the_epoch_lose_nothing() -> None:
    x = 1.8e12 + 60_000.0 * np.arange(50)
    line = trend(x, np.arange(50.0))
    assert line is not None
    assert line.slope * 60_000 == pytest.approx(1.0, rel=1e-12)
    assert line.at(float(x[-1])) == pytest.approx(49.0, rel=1e-9)


def test_too_few_points_or_one_x_have_no_trend() -> None:
    assert trend(range(7), range(7)) is None
    assert trend([*range(7), math.nan], range(8)) is None
    assert trend([3.0] * 9, range(9)) is None
