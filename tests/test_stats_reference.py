"""scipy is the reference of every statistical function of the reports."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from checker.stats.change_points import changes, level_p_values
from checker.stats.compare import Runs, median_difference, told
from checker.stats.intervals import outages, quantile_ranks, ranks_of_many, student_95, wilson
from checker.stats.multiple_comparisons import (
    discoveries,
    discoveries_of,
    erfc,
    kendall_rows,
    mann_whitney_rows,
    slope_rows,
)
from checker.stats.ranks import mann_whitney, ranking
from checker.stats.robust import modified_z
from checker.stats.slope import trend


def samples(seed: int, n: int, ties: bool) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.poisson(3, n).astype(float) if ties else random.lognormal(0, 1, n)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("m", "n"), [(5, 5), (7, 12), (30, 40)])
def test_ranks_and_mann_whitney(m: int, n: int, ties: bool) -> None:
    one, other = samples(1, m, ties), samples(2, n, ties)
    assert ranking(one).ranks == pytest.approx(stats.rankdata(one))
    found = mann_whitney(one, other)
    method = "exact" if found.exact else "asymptotic"
    assert (found.u, found.p_value) == pytest.approx(tuple(stats.mannwhitneyu(one, other, method=method)))
    assert mann_whitney_rows(one[None], other[None], 5)[0] == pytest.approx(found.p_value)


@pytest.mark.parametrize("ties", [False, True])
def test_slopes_and_kendall(ties: bool) -> None:
    values, at = samples(3, 40, ties), np.arange(40.0)
    one, reference = trend(at, values), stats.theilslopes(values, at, 0.95)
    assert one is not None
    assert (one.slope, slope_rows(values[None])[0]) == pytest.approx((reference.slope, reference.slope))
    # scipy takes the variance without ties for the interval.
    near = 0.02 if ties else 1e-9
    assert (one.slope_low, one.slope_high) == pytest.approx((reference.low_slope, reference.high_slope), abs=near)
    # scipy has no continuity correction: its z is that of S, ours of |S| - 1.
    plain = stats.kendalltau(at, values, method="asymptotic")
    z = stats.norm.isf(plain.pvalue / 2)
    score = abs(np.sum(np.sign(values[None, :] - values[:, None])[np.triu_indices(40, 1)]))
    assert one.p_value == pytest.approx(2 * stats.norm.sf(z * (score - 1) / score), rel=1e-6)
    assert kendall_rows(values[None])[0] == pytest.approx(one.p_value)


def test_intervals_of_ratios_and_quantiles() -> None:
    for k, n in ((0, 20), (8, 10), (59, 60), (997, 1000)):
        found, reference = wilson(k, n), stats.binomtest(k, n).proportion_ci(0.95, "wilson")
        assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-9)
    for n in (40, 500, 3000):
        for q in (0.5, 0.9, 0.99):
            low, high = int(stats.binom.ppf(0.025, n, q)), int(stats.binom.ppf(0.975, n, q)) + 1
            ranks = quantile_ranks(n, q)
            assert (ranks.low or 0, ranks.high or n + 1) == (low, min(high, n + 1))
            assert np.abs(ranks_of_many([n], q)[0] - [low, high if high <= n else 0]).max() <= 1
    for free in (1, 2, 5, 20, 21, 40, 1000):
        assert student_95(free) == pytest.approx(stats.t.ppf(0.975, free), rel=2e-4)


def test_an_interval_of_outages_is_that_of_their_effective_number() -> None:
    one = outages(10.0, 1000.0, [2.0] * 5)
    reach = math.exp(stats.t.ppf(0.975, 5) / math.sqrt(5))
    assert (one.low, one.high) == pytest.approx((0.01 / reach, 0.01 * reach), rel=1e-3)
    spread = outages(10.0, 1000.0, [8.0, 0.5, 0.5, 0.5, 0.5])
    assert spread.low < one.low < one.high < spread.high
    assert outages(0, 1000.0, []) == wilson(0, 1000)


def test_false_discoveries() -> None:
    p_values = np.random.default_rng(4).random(50) ** 3
    assert discoveries(p_values) == pytest.approx(stats.false_discovery_control(p_values))
    gaps = np.insert(p_values, [3, 3, 20], np.nan)
    assert discoveries(gaps)[~np.isnan(gaps)] == pytest.approx(stats.false_discovery_control(p_values))
    parts = discoveries_of([p_values[:20], p_values[20:]])
    assert np.concatenate(parts) == pytest.approx(stats.false_discovery_control(p_values))
    assert discoveries([]).size == 0


def test_the_bootstrap_of_a_difference_of_medians() -> None:
    before, after = samples(5, 30, ties=False), samples(6, 30, ties=False)
    found = median_difference(before, after)

    def moved(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        return np.median(second, axis=axis) - np.median(first, axis=axis)

    ends = stats.bootstrap(
        (before, after), moved, method="percentile", n_resamples=9999, random_state=1
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=0.08)


def test_spread_and_error_function() -> None:
    values = samples(7, 31, ties=False)
    scale = stats.median_abs_deviation(values, scale=0.6745)
    assert modified_z(values) == pytest.approx((values - np.median(values)) / scale)
    assert erfc(values) == pytest.approx(2 * stats.norm.sf(values * math.sqrt(2)))


def test_runs_are_compared_by_t_of_their_logarithms() -> None:
    random = np.random.default_rng(8)
    sides = [random.lognormal(3, 0.06, n) for n in (6, 4)]
    found = told(*(Runs(side, np.zeros(side.size)) for side in sides), Runs(np.zeros(0), np.zeros(0)), share=False)
    reference = stats.ttest_ind(np.log(sides[1]), np.log(sides[0]))
    ends = reference.confidence_interval(0.95)
    assert found.p_value == pytest.approx(reference.pvalue)
    moved = found.after - found.before
    assert (moved - found.reach(), moved + found.reach()) == pytest.approx((ends.low, ends.high))


def test_p_values_of_changes_are_uniform_where_nothing_changed_and_near_those_of_the_two_sides_where_it_did() -> None:
    series = np.random.default_rng(9).normal(0, 1, (1, 30))
    series[0, 15:] += 1.4
    (p_value,) = level_p_values(series)
    alone = stats.mannwhitneyu(series[0, :15], series[0, 15:]).pvalue
    assert alone / 3 < p_value < 40 * alone
    quiet = level_p_values(np.random.default_rng(10).normal(0, 1, (300, 30)))
    assert stats.kstest(quiet, "uniform").pvalue > 0.01
    assert changes(series[0] + 10) != ()
