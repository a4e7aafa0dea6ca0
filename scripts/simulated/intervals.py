"""How often intervals hold the truth that samples were drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from checker.stats.compare import LevelDifference, Rules, Runs, compared, median_difference, told
from checker.stats.histogram import Cells
from checker.stats.intervals import FEWEST_INCIDENTS, outages, ranks_of_many, wilson
from checker.stats.slope import trend
from simulated.figures import COVERAGE, Figure


def percentiles(scale: float) -> Iterator[Figure]:
    """Percentiles from histograms, of durations of which the bins are a small part and of some that fill few bins."""
    random = np.random.default_rng(1)
    fleets = round(2000 * scale)
    for sigma in (0.5, 1.0):
        for n, quantiles in ((60, (0.5,)), (1440, (0.5, 0.95, 0.99))):
            medians = random.uniform(20_000, 200_000, fleets)
            values = medians[:, None] * np.exp(random.normal(0, sigma, (fleets, n)))
            cells = Cells.of_values(np.repeat(np.arange(fleets), n), np.rint(values).astype(np.int64).ravel())
            for q in quantiles:
                low, high = ranks_of_many([n], q)[0]
                ends = cells.around_ranks(np.full((fleets, 1), low), np.full((fleets, 1), high))
                true = medians * np.exp(sigma * NormalDist().inv_cdf(q))
                held = int(np.sum((ends[0][:, 0] <= true) & (true <= ends[1][:, 0])))
                case = f"{n:,} answers, spread {sigma}"
                yield Figure("coverage", f"interval of p{100 * q:g}", case, held, fleets, COVERAGE)


def shares(scale: float) -> Iterator[Figure]:
    """Good checks: independent ones, and outages of which each takes its time."""
    random = np.random.default_rng(2)
    cases = round(4000 * scale)
    for ratio in (0.9, 0.99):
        found = random.binomial(1000, ratio, cases)
        ends = {int(one): wilson(int(one), 1000) for one in np.unique(found)}
        held = sum(ends[int(one)].low <= ratio <= ends[int(one)].high for one in found)
        yield Figure("coverage", "share of checks (Wilson)", f"1,000 checks, {ratio:.0%} good", held, cases, COVERAGE)
    for mean in (5, 10, 30):
        held = counted = 0
        true = 0.01
        for number in random.poisson(mean, cases):
            if number < FEWEST_INCIDENTS:
                continue
            lengths = random.exponential(true / mean, number)
            ends_of = outages(float(lengths.sum()), 1.0, lengths.tolist())
            held += ends_of.low <= true <= ends_of.high
            counted += 1
        case = f"{mean} incidents on average, exponential lengths"
        yield Figure("coverage", "share that was down", case, held, counted, COVERAGE)


def slopes(scale: float) -> Iterator[Figure]:
    """Sen's interval of a slope."""
    random = np.random.default_rng(3)
    cases = round(1500 * scale)
    for n in (14, 30, 90):
        days = np.arange(float(n))
        held = 0
        for _ in range(cases):
            one = trend(days, 100 + 0.5 * days + random.normal(0, 5, n))
            held += one is not None and one.slope_low <= 0.5 <= one.slope_high
        yield Figure("coverage", "slope of a trend", f"{n} slots", held, cases, COVERAGE)


def differences(scale: float) -> Iterator[Figure]:
    """The difference of two periods (bootstrap over slots), and of load tests (t over runs)."""
    random = np.random.default_rng(4)
    cases = round(1500 * scale)
    for n in (8, 24, 30):
        held = 0
        for _ in range(cases):
            before, after = 100 * random.lognormal(0, 0.1, n), 120 * random.lognormal(0, 0.1, n)
            one = median_difference(before, after)
            held += one.low <= 20 <= one.high
        yield Figure("coverage", "difference of two periods", f"{n} slots each", held, cases, COVERAGE)
    none = np.zeros(0)
    for first, second in ((5, 1), (5, 5), (10, 1)):
        held = 0
        for _ in range(cases):
            sides = [
                Runs(level * random.lognormal(0, 0.06, n), np.zeros(n)) for level, n in ((50, first), (60, second))
            ]
            one_of = told(sides[0], sides[1], Runs(none, none), share=False)
            found = compared(one_of, one_of.p_value, Rules(), share=False).difference
            assert found is not None
            held += found.low / one_base(one_of) <= 0.2 <= found.high / one_base(one_of)
        case = f"{first} runs against {second}, 6% apart"
        yield Figure("coverage", "difference of load tests", case, held, cases, COVERAGE)


def one_base(one: LevelDifference) -> float:
    """The level that a difference is relative to: ends are those of the ratio, times the baseline."""
    return float(np.exp(one.before))


INTERVALS = (percentiles, shares, slopes, differences)
