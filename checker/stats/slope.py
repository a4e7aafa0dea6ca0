"""The trend of a series: Theil-Sen slope with Sen's interval, and its significance (Mann-Kendall)."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from checker.stats import Floats
from checker.stats.ranks import ranking

FEWEST_SLOPE_POINTS = 8
"""Below this the normal approximation of Mann-Kendall is unreliable."""

MOST_POINTS = 400
"""Longer series are thinned evenly: all pairs are compared, and 400 points have 79,800."""


class Trend(Struct, frozen=True):
    """A straight line through a series; units are those of y and of x."""

    slope: float
    """Change of y per unit of x."""
    slope_low: float
    slope_high: float
    p_value: float
    """Two-sided, of Mann-Kendall: small if y rises or falls with x, straight or not."""
    x_middle: float
    y_middle: float
    """The line goes through (``x_middle``, ``y_middle``)."""
    n: int
    """Number of points with a value, before thinning."""

    def at(self, x: float) -> float:
        """The y of the line at ``x``."""
        return self.y_middle + self.slope * (x - self.x_middle)


def trend(x: npt.ArrayLike, y: npt.ArrayLike, confidence: float = 0.95) -> Trend | None:
    """The trend of ``y`` over ``x``, which may be unevenly spaced; None below eight points or if all x are equal.

    Points where either is NaN are dropped. Successive values are assumed to be independent: if they are not, p-value
    and interval are too optimistic. Pass block medians rather than single checks.

    Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 63, 1968.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    kept = np.flatnonzero(~(np.isnan(xs) | np.isnan(ys)))
    n = int(kept.size)
    if n > MOST_POINTS:
        kept = kept[np.linspace(0, n - 1, MOST_POINTS).round().astype(np.intp)]
    xs, ys = xs[kept], ys[kept]
    if n < FEWEST_SLOPE_POINTS or float(np.ptp(xs)) == 0.0:
        return None
    left, right = _pairs(int(xs.size))
    run, rise = xs[right] - xs[left], ys[right] - ys[left]
    apart = run != 0.0
    slopes = np.sort(rise[apart] / run[apart])
    variance = _kendall_variance(ranking(xs).tie_sizes, ranking(ys).tie_sizes)
    slope = float(np.median(slopes))
    low, high = _sen(slopes, variance, confidence)
    x_middle = float(np.median(xs))
    return Trend(
        slope=slope,
        slope_low=min(low, slope),
        slope_high=max(high, slope),
        p_value=_two_sided(float(np.sum(np.sign(run) * np.sign(rise))), variance),
        x_middle=x_middle,
        y_middle=float(np.median(ys - slope * (xs - x_middle))),
        n=n,
    )


def _sen(slopes: Floats, variance: float, confidence: float) -> tuple[float, float]:
    """The slopes at the ranks that are half the interval of Kendall's S away from the middle."""
    reach = NormalDist().inv_cdf(confidence / 2 + 0.5) * math.sqrt(variance)
    last = slopes.size - 1
    low = max(0, round((slopes.size - reach) / 2) - 1)
    high = min(last, round((slopes.size + reach) / 2))
    return float(slopes[low]), float(slopes[high])


def _two_sided(score: float, variance: float) -> float:
    """The p-value of Kendall's S, with the continuity correction."""
    if variance <= 0.0 or score == 0.0:
        return 1.0
    return math.erfc((abs(score) - 1.0) / math.sqrt(2.0 * variance))


def _kendall_variance(x_ties: Floats, y_ties: Floats) -> float:
    """The variance of Kendall's S if either side has ties (Kendall, Rank Correlation Methods, 4.9)."""
    n = float(x_ties.sum())

    def triples(sizes: Floats) -> float:
        return float(np.sum(sizes * (sizes - 1) * (2 * sizes + 5)))

    def falling(sizes: Floats, factors: int) -> float:
        return float(np.sum(np.prod([sizes - step for step in range(factors)], axis=0)))

    variance = (
        (n * (n - 1) * (2 * n + 5) - triples(x_ties) - triples(y_ties)) / 18
        + falling(x_ties, 2) * falling(y_ties, 2) / (2 * n * (n - 1))
        + falling(x_ties, 3) * falling(y_ties, 3) / (9 * n * (n - 1) * (n - 2))
    )
    return max(0.0, variance)  # of equal values it is 0, which rounding may miss


@lru_cache(maxsize=16)
def _pairs(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    left, right = np.triu_indices(n, 1)
    return left, right
