"""Medians, MAD and the outliers of a group."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.stats.robust import median, modified_z, outliers

WHOLE = st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=60)


def test_known_values() -> None:
    assert median([1, 1, 2, 2, 4, 6, 9]) == 2.0
    assert modified_z([1, 1, 2, 2, 4, 6, 9])[-1] == pytest.approx(0.6745 * 7)


def test_where_most_are_equal_the_mean_deviation_takes_the_place_of_the_mad() -> None:
    values = [10.0] * 9 + [20.0]
    assert modified_z(values).tolist() == pytest.approx([0.0] * 9 + [10 / 1.253314])


@given(WHOLE, st.integers(-1000, 1000), st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_scores_do_not_depend_on_zero_or_unit(values: list[float], shift: int, times: float) -> None:
    moved = np.array(values) * times + shift
    assert modified_z(moved).tolist() == pytest.approx(modified_z(values).tolist(), abs=1e-9)


@given(WHOLE, st.floats(allow_nan=False, allow_infinity=False, min_value=1e6, max_value=1e12))
def test_one_wild_value_moves_the_median_no_further_than_to_its_neighbour(values: list[float], wild: float) -> None:
    assert min(values) <= median(values) <= median([*values, wild]) or len(values) == 1
    assert median([*values, wild]) <= max(values) or len(values) == 1


def test_the_slow_one_of_a_group_is_found_with_its_factor() -> None:
    (found,) = outliers([100, 104, math.nan, 98, 101, 300, 99, 102])
    assert (found.index, found.value, found.median, found.factor) == (5, 300.0, 101.0, pytest.approx(300 / 101))
    assert found.z > 3.5


def test_the_farthest_outlier_comes_first_and_a_low_one_has_a_score_below_0() -> None:
    values = [100.0, 101, 99, 100, 102, 98, 100, 101, 99, 10, 500]
    assert [one.index for one in outliers(values)] == [10, 9]
    assert outliers(values)[1].z < 0


def test_a_tiny_difference_among_equals_is_no_outlier() -> None:
    values = [100.0, 100.1, 100.0, 99.9, 100.0, 100.1, 103.0]
    assert modified_z(values)[-1] > 3.5
    assert outliers(values) == ()
    assert outliers([0.1, 0.11, 0.1, 0.1, 0.1, 0.9], least_difference=1.0) == ()


def test_a_factor_of_a_median_of_0_is_not_given() -> None:
    (found,) = outliers([0.0, 0.0, 0.0, 0.0, 0.0, 0.2])
    assert (found.index, found.factor) == (5, None)


@given(st.lists(st.floats(0, 1e6), max_size=4), st.integers(0, 5))
def test_in_a_group_of_four_nobody_is_the_exception(values: list[float], gaps: int) -> None:
    assert outliers([*values, *[math.nan] * gaps]) == ()


@given(st.floats(-1e9, 1e9), st.integers(5, 50))
def test_equals_have_no_outliers(value: float, n: int) -> None:
    assert outliers([value] * n) == ()


def test_without_values_there_is_no_median() -> None:
    assert math.isnan(median([]))
    assert np.isnan(modified_z([math.nan, math.nan])).all()
