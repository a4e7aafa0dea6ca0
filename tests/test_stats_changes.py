"""Change points: found where there is one, and not where there is none."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from checker.stats import Floats, critical_strengths
from checker.stats.change_points import (
    FEWEST_POINTS,
    MOST_POINTS,
    SHORTEST,
    changes,
    changes_of_rows,
    critical_strength,
    rung,
)

NOISES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda random, n: random.normal(100, 10, n),
    "lognormal": lambda random, n: random.lognormal(3, 1, n),
    "student of 2 degrees": lambda random, n: 100 + 10 * random.standard_t(2, n),
    "counts with ties": lambda random, n: random.poisson(3, n).astype(float),
    "mostly one value": lambda random, n: np.where(random.random(n) < 0.1, 5.0, 1.0),
}


def stepped(seed: int, n: int, at: int, times: float = 1.3) -> Floats:
    """A level of 100 with 5% of noise, and another level from ``at`` on."""
    series = 100 * (1 + 0.05 * np.random.default_rng(seed).normal(size=n))
    series[at:] *= times
    return series


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", [10, 30, 90])
def test_where_nothing_changed_nothing_is_found(noise: str, n: int) -> None:
    found = [changes(NOISES[noise](np.random.default_rng(seed), n), least_change_ratio=0.0) for seed in range(100)]
    assert sum(map(bool, found)) <= 5


@pytest.mark.parametrize(
    ("n", "at", "times"),
    [(90, 45, 1.3), (90, 45, 0.7), (90, 20, 1.3), (90, 85, 1.3), (90, 5, 1.3), (30, 15, 1.3), (10, 5, 1.3)],
)
def test_a_step_is_found_where_it_is(n: int, at: int, times: float) -> None:
    found = [changes(stepped(seed, n, at, times)) for seed in range(100)]
    placed = [one for one in found if len(one) == 1 and abs(one[0].index - at) <= 1]
    assert len(placed) >= 95
    assert all(one[0].ratio == pytest.approx(times, abs=0.2) for one in placed)
    assert all(one[0].p_value <= 0.01 for one in placed)


def test_a_rise_with_a_return_is_two_changes() -> None:
    series = stepped(3, 90, 40)
    series[52:] /= 1.3
    up, down = changes(series)
    assert (up.index, down.index) == (40, 52)
    assert (up.before, up.after, down.after) == tuple(np.median(piece) for piece in np.split(series, [40, 52]))


def test_several_levels_are_several_changes() -> None:
    series = np.concatenate([stepped(seed, 20, 20) * level for seed, level in enumerate((1, 2, 4, 3))])
    assert [change.index for change in changes(series)] == [20, 40, 60]
    assert pytest.approx([change.ratio for change in changes(series)], rel=0.1) == [2, 2, 0.75]


def test_wild_values_do_not_hide_a_step() -> None:
    series = stepped(8, 90, 50)
    series[[3, 17, 44, 60, 61, 88]] = [900, 2, 5000, 1, 700, 9000]
    (change,) = changes(series)
    assert abs(change.index - 50) <= 1


def test_a_short_burst_of_wild_values_is_no_change_of_level() -> None:
    series = stepped(9, 90, 90)
    series[30:33] = 500
    assert changes(series) == ()


def test_a_certain_but_small_change_is_left_out() -> None:
    series = stepped(2, 90, 45, 1.5)
    assert len(changes(series)) == 1
    assert changes(series, least_change_ratio=0.8) == ()
    assert changes(series, least_change=80.0) == ()
    assert len(changes(np.round(series), least_change=30.0)) == 1


def test_a_long_series_keeps_the_exact_place() -> None:
    assert [change.index for change in changes(stepped(1, 1000, 701))] == [701]


def test_a_change_from_0_has_no_ratio() -> None:
    (change,) = changes([0.0] * 10 + [0.3] * 10)
    assert (change.index, change.before, change.after, change.ratio) == (10, 0.0, 0.3, None)


def test_the_index_counts_the_gaps() -> None:
    series = np.insert(stepped(4, 40, 20), [5, 5, 20, 30], math.nan)
    (change,) = changes(series)
    assert change.index == 23
    assert series[change.index] > 110


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=9))
def test_nine_points_have_no_changes(values: list[float]) -> None:
    assert changes(values) == ()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([1.0, 2.0, 3.0, 10.0]), min_size=1, max_size=5),
    st.integers(6, 20),
    st.integers(0, 1000),
    st.sampled_from([0.25, 8.0]),
)
def test_changes_keep_their_distance_and_do_not_depend_on_the_unit(
    levels: list[float], length: int, seed: int, unit: float
) -> None:
    random = np.random.default_rng(seed)
    series = np.concatenate([level * (1 + 0.1 * random.random(length)) for level in levels])
    found = changes(series)
    bounds = [0, *(change.index for change in found), series.size]
    assert all(after - before >= 5 for before, after in pairwise(bounds))
    assert all(0.0 < change.p_value <= 0.01 and change.before != change.after for change in found)
    assert [(one.index, one.p_value) for one in found] == [(one.index, one.p_value) for one in changes(series * unit)]
    assert found == changes(series)


def test_equal_values_have_no_changes() -> None:
    assert changes([7.0] * 500) == ()


def test_ninety_days_of_a_server_take_less_than_five_milliseconds() -> None:
    series = [NOISES["lognormal"](np.random.default_rng(seed), 90) for seed in range(90)]
    series += [stepped(seed, 90, 40) for seed in range(10)]
    changes(series[-1])  # draws the distribution for this length
    began = time.process_time()
    assert 10 <= sum(map(bool, map(changes, series))) <= 15
    assert (time.process_time() - began) / len(series) < 0.005


def test_changes_of_a_row_do_not_depend_on_the_rows_beside_it() -> None:
    random = np.random.default_rng(5)
    rows = np.array([stepped(seed, 60, at) for seed, at in enumerate((10, 20, 30, 40, 50))])
    rows[1] = np.round(rows[1])  # with ties
    rows[2, random.random(60) < 0.2] = np.nan
    rows[3, 20:30] *= 1.5
    together = changes_of_rows(rows, None)
    assert together == [changes(row) for row in rows]
    assert all(together)
    told = changes_of_rows(rows, [0.001 * place for place in range(5)])
    assert told == [tuple(replace(one, p_value=0.001 * place) for one in of) for place, of in enumerate(together)]


def test_the_table_of_critical_strengths_is_drawn_again() -> None:
    for n in (10, 15, 32, 90, 114, 408):
        drawn = critical_strength(n, SHORTEST, 0, critical_strengths.ALPHA)
        assert critical_strengths.STRENGTHS[n] == pytest.approx(drawn, rel=1e-9)
    assert {rung(n) for n in range(FEWEST_POINTS, MOST_POINTS + 1)} == set(critical_strengths.STRENGTHS)
