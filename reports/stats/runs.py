"""Whether a service is better or worse than it was, from the values of whole runs.

What a run has to itself (its hour, its machine, where its memory came to lie) is shared by all its blocks: they say how
sure the run's own value is, and nothing of how the next run will differ. So the unit is the run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from reports.stats import Floats
from reports.stats.bootstrap import Difference
from reports.stats.compare import MOST_MORE_BLOCKS, CandidateOutcome, Comparison, Rules

FEWEST_FREE = 3
"""Runs beyond the first of each level that the spread between runs is measured from: below, it is assumed."""
ASSUMED_RATIO = 0.1
"""Standard deviation between runs where too few are known to measure it."""
ASSUMED_SHARE_RATIO = 0.5
"""The same for shares that fail: half of what fails in the runs at hand."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The values of one statistic, one of each run, and the standard error that each has by itself."""

    values: Floats
    errors: Floats
    """In the unit of the values; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class Between:
    """How far runs of one level are apart."""

    deviation: float
    """Standard deviation: of the logarithm, so relative; of shares that fail, absolute."""
    runs: int
    """That it was measured from."""
    assumed: bool
    """Whether these were too few."""


@dataclass(frozen=True, slots=True)
class LevelDifference:
    """Two levels and their difference, on the scale on which it is tested."""

    before: float
    after: float
    error: float
    free: float
    """Degrees of freedom; infinite where the spread is assumed."""
    between: Between

    @property
    def p_value(self) -> float:
        """Two-sided."""
        moved = abs(self.after - self.before)
        if self.error == 0.0:
            return 0.0 if moved else 1.0
        below = ndtr(-moved / self.error) if math.isinf(self.free) else stdtr(self.free, -moved / self.error)
        return float(2 * below)

    def reach(self, confidence: float = 0.95) -> float:
        """Half of the interval of the difference."""
        tail = confidence / 2 + 0.5
        return self.error * float(ndtri(tail) if math.isinf(self.free) else stdtrit(self.free, tail))


def told(baseline: Runs, candidate: Runs, others: Runs, *, share: bool) -> LevelDifference:
    """Compare the mean levels of the runs of two sides, of which there must be one each.

    ``others`` are further runs of the baseline's level, which say only how far runs are apart. ``share`` for shares,
    which are compared by their difference; other values by their ratio. Below `FEWEST_FREE` degrees of freedom what
    runs differ by is taken to be at least `ASSUMED_RATIO`, and the error of each run is added.
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
    """The verdict, in the unit of the values; ``p_adjusted`` is corrected for all that is compared together."""
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
    """About how many more runs on each side would tell: errors shrink with the square root of the runs."""
    if one.between.assumed:
        return max(1, FEWEST_FREE + 2 - one.between.runs)
    room = effect - abs(difference.value)
    if room > 0:
        needed = (max(difference.high - difference.value, difference.value - difference.low) / room) ** 2
    else:
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
    """The median of a run's blocks and its standard error, about; NaN for no blocks, an error of 0 for one."""
    known = blocks[~np.isnan(blocks)]
    if not known.size:
        return math.nan, 0.0
    error = math.sqrt(math.pi / 2) * float(np.std(known, ddof=1)) / math.sqrt(known.size) if known.size > 1 else 0.0
    return float(np.median(known)), error


def runs_of(values: Sequence[tuple[float, float]]) -> Runs:
    """The runs that have a value."""
    known = [one for one in values if not math.isnan(one[0])]
    return Runs(np.array([one[0] for one in known]), np.array([one[1] for one in known]))
