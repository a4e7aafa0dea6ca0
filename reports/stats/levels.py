"""Whether the level of many series changed at all, and how small a change could have been seen in them."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from reports.stats import Floats
from reports.stats.changes import FEWEST_POINTS, SHORTEST
from reports.stats.mann_whitney import mann_whitney_apart, smallest_p_value
from reports.stats.scan import Stretch, fewest_draws, scan_rows

POWER = 0.8
"""The chance with which the smallest change that is stated would have been seen."""
_WORTH_A_LOOK = 0.01
"""P-values of the scan that may be smaller than permutations can tell."""
_MORE = 1.3
"""For what the reckoning leaves out: deviations are only estimates, and the place of a change is one too (measured)."""
_RANKS_KEEP = 0.977
"""Of the strength of a test by means that one by ranks has, squared: 3 / pi is 0.955."""


def level_p_values(values: Floats, shortest: int = SHORTEST, seed: int = 0) -> Floats:
    """For each row of a matrix the chance that its strongest change of level is one by chance; NaN below ten points.

    By permutation; where that says no more than "less than one in so many", by Mann-Whitney over the two sides, times
    the places where they could part. NaN are gaps. Equal values are put in an order by chance: in the order of time
    they would look like a rise.
    """
    random = np.random.default_rng(seed)
    found = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    for n in np.unique(counts[counts >= max(FEWEST_POINTS, 2 * shortest)]).tolist():
        rows = np.flatnonzero(counts == n)
        series = values[rows][known[rows]].reshape(-1, n)
        series = np.lexsort((random.random(series.shape), series), axis=1).argsort(axis=1).astype(np.float64)
        for row, one, stretch in zip(rows.tolist(), series, scan_rows(series, shortest, seed), strict=True):
            found[row] = min(stretch.p_value, _beyond(one, stretch, shortest))
    return found


def _beyond(series: Floats, stretch: Stretch, shortest: int) -> float:
    """The p-value of a stretch by Mann-Whitney, times the stretches that there are; 1 where permutations will do."""
    if stretch.p_value > _WORTH_A_LOOK:
        return 1.0
    n = series.size
    inside = series[stretch.start : stretch.stop]
    outside = np.concatenate((series[: stretch.start], series[stretch.stop :]))
    if inside.max() < outside.min() or outside.max() < inside.min():
        p_value = smallest_p_value(inside.size, outside.size)
    else:
        p_value = mann_whitney_apart(inside, outside).p_value
    is_step = stretch.start == 0 or stretch.stop == n
    places = n - 2 * shortest + 1
    return min(1.0, p_value * (places if is_step else max(1, places * (places - 1) // 2)))


def noise(logs: Floats) -> Floats:
    """The standard deviation of each row about its level, which may change: from the steps between neighbours.

    Of logarithms it is relative. NaN are gaps; NaN where there are fewer than two values.
    """
    found = np.full(len(logs), np.nan)
    for row, values in enumerate(logs):
        kept = values[~np.isnan(values)]
        if kept.size > 1:
            found[row] = _spread(np.diff(kept))
    return found


def _spread(steps: Floats) -> float:
    """From the median of the sizes of steps; from their mean where most of them are 0."""
    sizes = np.abs(steps)
    return float(np.median(sizes) / 0.6745 or np.sqrt(np.pi / 2) * np.mean(sizes)) / math.sqrt(2)


def smallest_step(deviations: Floats, before: int, after: int, p_value: float, *, sought: bool) -> Floats:
    """The smallest change of level that would be seen four times in five, relative, for each standard deviation.

    Of series of ``before`` and ``after`` values whose logarithms deviate by so much from their level, where a test is
    believed up to ``p_value``. Infinite where no change could be seen at all. ``sought`` if the place of the change is
    looked for, so that chance has more places to look like one.
    """
    n = before + after
    least = smallest_p_value(before, after) if min(before, after) else 1.0
    if sought:
        places = max(1, n - 2 * SHORTEST + 1)
        # Permutations find the least p-value of one place, or as little as they are many.
        least = min(least * places, max(least, 1 / fewest_draws(n, SHORTEST)))
    if least >= p_value:
        return np.full(np.shape(deviations), np.inf)
    normal = NormalDist()
    wanted = p_value / math.sqrt(max(1, n - 2 * SHORTEST + 1)) if sought else p_value
    reach = -normal.inv_cdf(wanted / 2) + normal.inv_cdf(POWER)
    sizes = reach * math.sqrt(1 / before + 1 / after) / _RANKS_KEEP
    # Ranks say the most where the two sides do not overlap: that needs a gap between the extremes of both.
    apart = _gap(before, after)
    near = min(1.0, math.log(p_value / least) / math.log(100))
    needed = near * sizes + (1 - near) * max(sizes, apart)
    return np.expm1(_MORE * needed * np.asarray(deviations, dtype=np.float64))


def _gap(before: int, after: int) -> float:
    """Standard deviations between two normal samples that do not overlap four times in five, about."""
    normal = NormalDist()
    return normal.inv_cdf(1 - 0.4 / (before + 1)) + normal.inv_cdf(1 - 0.4 / (after + 1)) + 0.4
