"""The median of a few blocks: how sure it is, and which block is far from the others."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FAR_Z = 3.5
"""A modified z-score beyond it is an outlier (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993)."""


@dataclass(frozen=True, slots=True)
class Median:
    """A median with its interval, both ends observed values; an end is None where there are too few values for it."""

    value: float
    low: float | None
    high: float | None
    n: int

    def is_within(self, precision: float, least: float) -> bool:
        """Whether both ends are no further away than this share of the value, or than ``least`` in its unit."""
        if self.low is None or self.high is None:
            return False
        return max(self.value - self.low, self.high - self.value) <= max(precision * abs(self.value), least)


def median(values: Sequence[float], confidence: float = 0.95) -> Median:
    """The median with the narrowest symmetric order statistics that enclose it this surely.

    How many of n values lie below their median is Binomial(n, 1/2) whatever they are (Conover, Practical Nonparametric
    Statistics, 3.2). From six values on there is an interval of 95%; five reach 93.75%. Raises ValueError for none.
    """
    if not values:
        raise ValueError("no values have no median")
    ordered = sorted(values)
    rank = _lowest_rank(len(ordered), (1 - confidence) / 2)
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (None, None)
    return Median(statistics.median(ordered), low, high, len(ordered))


def modified_z(values: Sequence[float], at: int) -> float:
    """0.6745 * (value - median) / MAD of one of the values; where the MAD is 0, by the mean absolute deviation."""
    middle = statistics.median(values)
    distances = [abs(value - middle) for value in values]
    scale = statistics.median(distances) / 0.6745 or 1.253314 * statistics.fmean(distances)
    return (values[at] - middle) / scale if scale else 0.0


def _lowest_rank(n: int, tail: float) -> int:
    """The highest rank r with P(fewer than r of n values are below the median) <= tail; 0 where there is none."""
    below, rank = 0.0, 0
    while rank < n // 2 + 1:
        below += math.comb(n, rank) / 2**n
        if below > tail:
            return rank
        rank += 1
    return rank
