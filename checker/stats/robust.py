"""Robust location and spread, outliers of a group, and the median of a few blocks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from checker.stats import Floats

FAR_Z = 3.5
"""A modified z-score beyond this is an outlier (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993)."""

SMALLEST_GROUP = 5
"""Smaller groups are not examined for outliers."""


class Outlier(Struct, frozen=True):
    """One value far from the others of its group."""

    index: int
    value: float
    median: float
    """Median of the whole group."""
    factor: float | None
    """``value`` / ``median``; None if the median is 0."""
    z: float
    """Modified z-score: above 0 for a value above the median."""


def median(values: npt.ArrayLike) -> float:
    """The median without NaN; NaN if no values remain."""
    kept = _kept(values)
    return float(np.median(kept)) if kept.size else float("nan")


def medians(values: Floats) -> Floats:
    """The median of each row without NaN; NaN for a row without values.

    The same as numpy's nanmedian, which takes a row with NaN at a time.
    """
    rows, columns = values.shape
    if not columns:
        return np.full(rows, np.nan)
    ordered, row = np.sort(values, axis=1), np.arange(rows)  # NaN last
    size = np.sum(~np.isnan(values), axis=1)
    low, high = np.maximum(size - 1, 0) // 2, np.minimum(size // 2, columns - 1)
    return np.asarray((ordered[row, low] + ordered[row, high]) / 2, dtype=np.float64)


def modified_z(values: npt.ArrayLike) -> Floats:
    """0.6745 * (value - median) / MAD for each value, NaN for NaN.

    If more than half of the values are equal, the MAD is 0 and 1.253314 times the mean absolute deviation replaces it;
    if all are equal, every score is 0.
    """
    given = np.asarray(values, dtype=np.float64)
    kept = _kept(given)
    if not kept.size:
        return np.full(given.shape, np.nan)
    middle = np.median(kept)
    deviations = np.abs(kept - middle)
    scale = np.median(deviations) / 0.6745 or 1.253314 * np.mean(deviations)
    return np.asarray((given - middle) / (scale or 1.0), dtype=np.float64)


def outliers(
    values: npt.ArrayLike,
    least_difference_ratio: float = 0.25,
    least_difference: float = 0.0,
    far_z: float = FAR_Z,
    smallest_group: int = SMALLEST_GROUP,
) -> tuple[Outlier, ...]:
    """The values of a group that are far from its median, farthest first.

    Far is a modified z-score beyond ``far_z`` and a difference of at least ``least_difference_ratio`` of the median and
    ``least_difference`` in the unit of the values: among near-equal servers a tiny difference has a large score. NaN
    stand for members that have no value, and do not count towards ``smallest_group``.
    """
    given = np.asarray(values, dtype=np.float64)
    kept = _kept(given)
    if kept.size < smallest_group:
        return ()
    middle = float(np.median(kept))
    scores = modified_z(given)
    least = max(least_difference_ratio * abs(middle), least_difference)
    with np.errstate(invalid="ignore"):
        far = np.flatnonzero((np.abs(scores) > far_z) & (np.abs(given - middle) >= least))
    found = [
        Outlier(int(at), float(given[at]), middle, float(given[at]) / middle if middle else None, float(scores[at]))
        for at in far
    ]
    return tuple(sorted(found, key=lambda one: -abs(one.z)))


def _kept(values: npt.ArrayLike) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    return given[~np.isnan(given)]


class Median(Struct, frozen=True):
    """A median with its interval, both ends observed values; an end is None if there are too few values for it."""

    value: float
    low: float | None
    high: float | None
    n: int

    def is_within(self, precision: float, least: float) -> bool:
        """True if both ends are within this share of the value, or within ``least`` in its unit."""
        if self.low is None or self.high is None:
            return False
        return max(self.value - self.low, self.high - self.value) <= max(precision * abs(self.value), least)


def median_of_blocks(values: Sequence[float], confidence: float = 0.95) -> Median:
    """The median with the narrowest symmetric order statistics that enclose it at this confidence.

    The number of n values below their median is Binomial(n, 1/2) whatever their distribution (Conover, Practical
    Nonparametric Statistics, 3.2). From six values on there is an interval of 95%; five reach 93.75%. Raises ValueError
    if there are no values.
    """
    if not values:
        raise ValueError("no values have no median")
    ordered = sorted(values)
    rank = _lowest_rank(len(ordered), (1 - confidence) / 2)
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (None, None)
    return Median(statistics.median(ordered), low, high, len(ordered))


def modified_z_of(values: Sequence[float], at: int) -> float:
    """0.6745 * (value - median) / MAD of one of the values; if the MAD is 0, by the mean absolute deviation."""
    middle = statistics.median(values)
    distances = [abs(value - middle) for value in values]
    scale = statistics.median(distances) / 0.6745 or 1.253314 * statistics.fmean(distances)
    return (values[at] - middle) / scale if scale else 0.0


def _lowest_rank(n: int, tail: float) -> int:
    """The highest rank r with P(fewer than r of n values are below the median) <= tail; 0 if there is none."""
    below, rank = 0.0, 0
    while rank < n // 2 + 1:
        below += math.comb(n, rank) / 2**n
        if below > tail:
            return rank
        rank += 1
    return rank
