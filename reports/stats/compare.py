"""Whether a candidate is better or worse than a baseline, from one statistic for each block of either.

A block is a stretch of a run, a run, or an hour of a period: something whose statistic (such as its p95) is nearly
independent of the next one's. Single requests are not, and make every difference significant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from reports.stats import Floats
from reports.stats.bootstrap import Difference, median_difference
from reports.stats.mann_whitney import mann_whitney, smallest_p_value

FEWEST_BLOCKS = 5
"""On each side: three against three cannot be significant, four against four only just."""

MOST_MORE_BLOCKS = 1000
"""The number of further blocks that stands for this many or more."""


class CandidateOutcome(StrEnum):
    """What can be said of a candidate."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a difference."""

    alpha: float = 0.05
    """Of the family of all series that are compared together."""
    least_effect_ratio: float = 0.05
    """Of the median of the baseline."""
    least_effect: float = 1.0
    """In the unit of the values; the larger of the two counts. 1 is meant for milliseconds."""
    higher_is_better: bool = False
    resamples: int = 10_000
    seed: int = 0


LATENCY_MS = Rules()
"""5% or 1 ms, whichever is larger; lower is better."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict and what it rests on, in the unit of the values."""

    outcome: CandidateOutcome
    baseline: float
    """Median of the blocks; NaN without any."""
    candidate: float
    difference: Difference | None
    """Of the medians, with a 95% interval; None below five blocks on either side."""
    ratio: float | None
    """``candidate`` / ``baseline``; None where the baseline is 0 or has no blocks."""
    effect: float
    """The least difference that counts."""
    p_value: float
    p_adjusted: float
    """For all series compared together; the outcome goes by this one."""
    more_blocks: int | None
    """For ``cannot_tell``: about how many more blocks on each side would tell; 1000 is that many or more."""


def compare(baseline: npt.ArrayLike, candidate: npt.ArrayLike, rules: Rules = LATENCY_MS) -> Comparison:
    """One series: better, worse, same, or cannot tell; NaN are dropped."""
    (only,) = compare_all([(baseline, candidate)], rules)
    return only


def compare_all(
    series: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    rules: Rules = LATENCY_MS,
    family: Sequence[float] = (),
    correction: Callable[[npt.ArrayLike], Floats] | None = None,
) -> tuple[Comparison, ...]:
    """Each pair of baseline and candidate, with Holm's or another correction over those that have enough blocks.

    ``family`` are the p-values of further pairs that were tested together with these (`stats.screen` has them fast),
    so that what is shown of many is corrected for all of them.

    Better or worse needs both a p-value below alpha and a difference of at least the least effect. Same needs the
    whole interval of the difference within the least effect. Everything else cannot be told.
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
    """The p-values adjusted for being many, in their order (Holm, Scandinavian Journal of Statistics 6, 1979)."""
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
    """An estimate: intervals shrink, and scores grow, with the square root of the number of blocks."""
    room = found.effect - abs(difference.value)
    if room > 0:  # on the way to "same": the farther end must come within the effect
        reach = max(difference.high - difference.value, difference.value - difference.low)
        needed = known * (reach / room) ** 2
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
