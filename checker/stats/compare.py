"""Comparison of baseline and candidate: from blocks within runs, or from whole runs, with bootstrap intervals.

A block is a section of a run, a run, or an hour of a period: something whose statistic (such as its p95) is nearly
independent of the next one's. Single requests are not, and make every difference significant.

Effects of a single run (its hour, its machine, its memory layout) are shared by all its blocks: blocks show how precise
the run's own value is, but not how much the next run will differ. So the unit is the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from checker.stats import Floats
from checker.stats.ranks import mann_whitney, smallest_p_value

_DRAWN_AT_ONCE = 1_000_000  # places: 8 MB
# scipy.special is imported where whole runs are compared: loading it takes a quarter of a second, and blocks need none.


class Difference(Struct, frozen=True):
    """Median of the candidate - median of the baseline, in the unit of the values, with its bootstrap interval."""

    value: float
    low: float
    high: float


def median_difference(
    baseline: npt.ArrayLike, candidate: npt.ArrayLike, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """The difference of the medians, with its percentile interval; the same seed gives the same interval.

    Each side is resampled on its own. NaN are dropped. Pass block statistics, not single requests, which are too
    correlated to be resampled one by one. Raises ValueError if a side has no values.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    before, after = _ascending(baseline), _ascending(candidate)
    if min(before.size, after.size) == 0:
        raise ValueError("no values have no median")
    moved = _medians(after, resamples, seed, side=1) - _medians(before, resamples, seed, side=0)
    tail = (1 - confidence) / 2
    low, high = np.quantile(moved, [tail, 1 - tail])
    return Difference(float(np.median(after) - np.median(before)), float(low), float(high))


def _medians(ascending: Floats, resamples: int, seed: int, side: int) -> Floats:
    lower, upper = _middles(int(ascending.size), resamples, seed, side)
    return np.asarray((ascending[lower] + ascending[upper]) / 2, dtype=np.float64)


@lru_cache(maxsize=64)
def _middles(n: int, resamples: int, seed: int, side: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of the two middle values of each resample.

    The drawn indices do not depend on the values: series of one length share the draws, and the sorting.
    """
    random = np.random.default_rng((seed, side))
    middles = np.empty((2, resamples), dtype=np.intp)
    rows = max(1, _DRAWN_AT_ONCE // n)
    for first in range(0, resamples, rows):
        places = random.integers(0, n, (min(rows, resamples - first), n))
        places.sort(axis=1)
        middles[:, first : first + rows] = places[:, [(n - 1) // 2, n // 2]].T
    return middles[0], middles[1]


def _ascending(values: npt.ArrayLike) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    return np.sort(given[~np.isnan(given)])


FEWEST_BLOCKS = 5
"""Fewest blocks on each side: three against three cannot be significant, four against four only just."""

MOST_MORE_BLOCKS = 1000
"""Largest reported number of further blocks; it means this many or more."""


class CandidateOutcome(StrEnum):
    """Possible outcomes for a candidate."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    CANNOT_TELL = "cannot_tell"


class Rules(Struct, frozen=True):
    """Thresholds for a difference that counts."""

    alpha: float = 0.05
    """Significance level of the whole family of series that are compared together."""
    least_effect_ratio: float = 0.05
    """Share of the baseline's median."""
    least_effect: float = 1.0
    """In the unit of the values; the larger of the two applies. 1 is meant for milliseconds."""
    higher_is_better: bool = False
    resamples: int = 10_000
    seed: int = 0


LATENCY_MS = Rules()
"""5% or 1 ms, whichever is larger; lower is better."""


class Comparison(Struct, frozen=True):
    """A verdict and the figures behind it, in the unit of the values."""

    outcome: CandidateOutcome
    baseline: float
    """Median of the blocks; NaN if there are none."""
    candidate: float
    difference: Difference | None
    """Difference of the medians, with a 95% interval; None below five blocks on either side."""
    ratio: float | None
    """``candidate`` / ``baseline``; None if the baseline is 0 or has no blocks."""
    effect: float
    """The smallest difference that counts."""
    p_value: float
    p_adjusted: float
    """P-value adjusted for all series compared together; it decides the outcome."""
    more_blocks: int | None
    """For ``cannot_tell``: about how many more blocks each side needs; 1000 means that many or more."""


def compare(baseline: npt.ArrayLike, candidate: npt.ArrayLike, rules: Rules = LATENCY_MS) -> Comparison:
    """Compare one series: better, worse, same, or cannot tell; NaN are dropped."""
    (only,) = compare_all([(baseline, candidate)], rules)
    return only


def compare_all(
    series: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    rules: Rules = LATENCY_MS,
    family: Sequence[float] = (),
    correction: Callable[[npt.ArrayLike], Floats] | None = None,
) -> tuple[Comparison, ...]:
    """Compare each pair of baseline and candidate, with Holm's or another correction over pairs with enough blocks.

    ``family`` are the p-values of further pairs that were tested together with these (computed fast by
    `multiple_comparisons`), so that the selection shown here is corrected for all of them.

    Better or worse needs both a p-value below alpha and a difference of at least the least effect. Same needs the whole
    interval of the difference within the least effect. Everything else is cannot tell.
    """
    pairs = [(_clean(baseline), _clean(candidate)) for baseline, candidate in series]
    tested = [at for at, pair in enumerate(pairs) if min(side.size for side in pair) >= FEWEST_BLOCKS]
    p_values = np.ones(len(pairs))
    p_values[tested] = [mann_whitney(*pairs[at]).p_value for at in tested]
    adjusted = np.ones(len(pairs))
    adjusted[tested] = (correction or holm)([*p_values[tested], *family])[: len(tested)]
    return tuple(
        _verdict(*pair, float(p_value), float(p_adjusted), len(tested) + len(family), rules)
        for pair, p_value, p_adjusted in zip(pairs, p_values, adjusted, strict=True)
    )


def holm(p_values: npt.ArrayLike) -> Floats:
    """The p-values adjusted for multiple tests, in their order (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    stepped = given[order] * np.arange(given.size, 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return adjusted


def _verdict(
    baseline: Floats, candidate: Floats, p_value: float, p_adjusted: float, tested: int, rules: Rules
) -> Comparison:
    before, after = (float(np.median(side)) if side.size else math.nan for side in (baseline, candidate))
    known = min(baseline.size, candidate.size)
    found = Comparison(
        outcome=CandidateOutcome.CANNOT_TELL,
        baseline=before,
        candidate=after,
        difference=None,
        ratio=after / before if before and known else None,
        effect=max(rules.least_effect_ratio * abs(before), rules.least_effect) if known else rules.least_effect,
        p_value=p_value,
        p_adjusted=p_adjusted,
        more_blocks=max(1, FEWEST_BLOCKS - known),
    )
    if known < FEWEST_BLOCKS:
        return found
    difference = median_difference(baseline, candidate, 0.95, rules.resamples, rules.seed)
    found = replace(found, difference=difference)
    if p_adjusted < rules.alpha and abs(difference.value) >= found.effect:
        better = (difference.value > 0) == rules.higher_is_better
        return replace(found, outcome=CandidateOutcome.BETTER if better else CandidateOutcome.WORSE, more_blocks=None)
    if -found.effect <= difference.low and difference.high <= found.effect:
        return replace(found, outcome=CandidateOutcome.SAME, more_blocks=None)
    return replace(found, more_blocks=_more_blocks(found, difference, known, tested, rules))


def _more_blocks(found: Comparison, difference: Difference, known: int, tested: int, rules: Rules) -> int:
    """Estimate of the blocks needed: intervals shrink, and scores grow, with the square root of their number."""
    margin = found.effect - abs(difference.value)
    if margin > 0:  # on the way to "same": the farther end must come within the effect
        reach = max(difference.high - difference.value, difference.value - difference.low)
        needed = known * (reach / margin) ** 2
    else:  # on the way to significance
        alpha = rules.alpha * found.p_value / found.p_adjusted
        score, wanted = (NormalDist().inv_cdf(1 - p / 2) for p in (found.p_value, alpha))
        needed = known * (wanted / score) ** 2 if score > 0 else math.inf
        needed = max(needed, _fewest_for(rules.alpha / max(1, tested)))
    return int(min(MOST_MORE_BLOCKS, max(1, math.ceil(min(needed, 1e6)) - known)))


def _fewest_for(alpha: float) -> int:
    """The smallest number of blocks on each side whose best p-value is below ``alpha``."""
    blocks = FEWEST_BLOCKS
    while smallest_p_value(blocks, blocks) >= alpha:
        blocks += 1
    return blocks


def _clean(blocks: npt.ArrayLike) -> Floats:
    given = np.asarray(blocks, dtype=np.float64)
    return given[~np.isnan(given)]


FEWEST_FREE = 3
"""Runs beyond the first of each level needed to measure the spread between runs; with fewer, it is assumed."""
ASSUMED_RATIO = 0.1
"""Assumed standard deviation between runs, if there are too few to measure it."""
ASSUMED_SHARE_RATIO = 0.5
"""The same for shares of failures, relative to the share in the present runs."""


class Runs(Struct, frozen=True):
    """Values of one statistic, one per run, each with its own standard error."""

    values: Floats
    errors: Floats
    """In the unit of the values; 0 if unknown."""


class Between(Struct, frozen=True):
    """Spread between runs at the same level."""

    deviation: float
    """Standard deviation: of the logarithm, so relative; for shares of failures absolute."""
    runs: int
    """Number of runs that it was measured from."""
    assumed: bool
    """True if there were too few of them."""


class LevelDifference(Struct, frozen=True):
    """Two levels and their difference, on the scale on which it is tested."""

    before: float
    after: float
    error: float
    free: float
    """Degrees of freedom; infinite if the spread is assumed."""
    between: Between

    @property
    def p_value(self) -> float:
        """Two-sided."""
        moved = abs(self.after - self.before)
        if self.error == 0.0:
            return 0.0 if moved else 1.0
        from scipy.special import ndtr, stdtr

        below = ndtr(-moved / self.error) if math.isinf(self.free) else stdtr(self.free, -moved / self.error)
        return float(2 * below)

    def reach(self, confidence: float = 0.95) -> float:
        """Half the width of the interval of the difference."""
        from scipy.special import ndtri, stdtrit

        tail = confidence / 2 + 0.5
        return self.error * float(ndtri(tail) if math.isinf(self.free) else stdtrit(self.free, tail))


def told(baseline: Runs, candidate: Runs, others: Runs, *, share: bool) -> LevelDifference:
    """Compare the mean levels of the runs of two sides; each needs at least one run.

    ``others`` are further runs of the baseline's level, used only for the spread between runs. ``share`` for shares,
    which are compared by their difference; other values by their ratio. Below `FEWEST_FREE` degrees of freedom the
    spread between runs is assumed to be at least `ASSUMED_RATIO`, and the error of each run is added.
    """
    first, second, more = (_scaled(side, share) for side in (baseline, candidate, others))
    group = np.concatenate((first.values, more.values))
    squares = sum(float(np.sum((one - one.mean()) ** 2)) for one in (group, second.values))
    free = group.size + second.values.size - 2
    measured = squares / free if free else 0.0
    many = 1 / first.values.size + 1 / second.values.size
    within = [float(np.mean(side.errors**2)) for side in (first, second)]
    before, after = float(first.values.mean()), float(second.values.mean())
    if free >= FEWEST_FREE:
        variance = max(measured, sum(within) / 2)
        between = Between(math.sqrt(variance), group.size + second.values.size, assumed=False)
        return LevelDifference(before, after, math.sqrt(variance * many), float(free), between)
    assumed = ASSUMED_SHARE_RATIO * (before + after) / 2 if share else ASSUMED_RATIO
    variance = max(measured, assumed**2)
    between = Between(math.sqrt(variance), group.size + second.values.size, assumed=True)
    error = math.sqrt(variance * many + within[0] / first.values.size + within[1] / second.values.size)
    return LevelDifference(before, after, error, math.inf, between)


def compared(one: LevelDifference, p_adjusted: float, rules: Rules, *, share: bool) -> Comparison:
    """The verdict, in the unit of the values; ``p_adjusted`` is corrected for everything that is compared together."""
    before, after, reach = one.before, one.after, one.reach()
    ends = [after - before - reach, after - before + reach]
    if not share:
        before, after = math.exp(one.before), math.exp(one.after)
        ends = [before * math.expm1(end) for end in ends]
    difference = Difference(after - before, ends[0], ends[1])
    effect = max(rules.least_effect_ratio * abs(before), rules.least_effect)
    outcome, more = CandidateOutcome.CANNOT_TELL, None
    if p_adjusted < rules.alpha and abs(difference.value) >= effect:
        better = (difference.value > 0) == rules.higher_is_better
        outcome = CandidateOutcome.BETTER if better else CandidateOutcome.WORSE
    elif -effect <= difference.low and difference.high <= effect:
        outcome = CandidateOutcome.SAME
    else:
        more = _more(one, difference, effect, p_adjusted, rules)
    return Comparison(
        outcome=outcome,
        baseline=before,
        candidate=after,
        difference=difference,
        ratio=after / before if before else None,
        effect=effect,
        p_value=one.p_value,
        p_adjusted=p_adjusted,
        more_blocks=more,
    )


def _more(one: LevelDifference, difference: Difference, effect: float, p_adjusted: float, rules: Rules) -> int:
    """About how many more runs each side needs: errors shrink with the square root of the number of runs."""
    if one.between.assumed:
        return max(1, FEWEST_FREE + 2 - one.between.runs)
    margin = effect - abs(difference.value)
    if margin > 0:
        needed = (max(difference.high - difference.value, difference.value - difference.low) / margin) ** 2
    else:
        from scipy.special import ndtri

        alpha = rules.alpha * (one.p_value / p_adjusted if p_adjusted else 1.0)
        score = -float(ndtri(max(1e-300, min(0.999, one.p_value)) / 2))
        needed = (-float(ndtri(alpha / 2)) / score) ** 2 if score > 0 else math.inf
    runs = one.between.runs / 2
    return int(min(MOST_MORE_BLOCKS, max(1, math.ceil(min(needed, 1e6) * runs - runs))))


def _scaled(side: Runs, share: bool) -> Runs:
    if share:
        return side
    values = np.maximum(side.values, 1e-9)  # a rate of nothing has no logarithm
    return Runs(np.log(values), side.errors / values)


def run_of(blocks: Floats) -> tuple[float, float]:
    """The median of a run's blocks and about its standard error; NaN without blocks, an error of 0 for one block."""
    known = blocks[~np.isnan(blocks)]
    if not known.size:
        return math.nan, 0.0
    error = math.sqrt(math.pi / 2) * float(np.std(known, ddof=1)) / math.sqrt(known.size) if known.size > 1 else 0.0
    return float(np.median(known)), error


def runs_of(values: Sequence[tuple[float, float]]) -> Runs:
    """The runs that have a value."""
    known = [one for one in values if not math.isnan(one[0])]
    return Runs(np.array([one[0] for one in known]), np.array([one[1] for one in known]))
