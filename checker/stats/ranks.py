"""Rank statistics: midranks with ties, and the Mann-Whitney U test."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from checker.stats import Floats

Integers = npt.NDArray[np.int64]


class Ranking(Struct, frozen=True):
    """The midranks of some values (1 for the smallest), in their order, and the size of each group of equal ones."""

    ranks: Floats
    tie_sizes: Floats

    @property
    def has_ties(self) -> bool:
        """True if two values are equal."""
        return self.tie_sizes.size < self.ranks.size


def ranking(values: npt.ArrayLike) -> Ranking:
    """Rank values; equal ones share the mean of their ranks. NaN must have been dropped."""
    given = np.asarray(values, dtype=np.float64)
    order = given.argsort()
    ascending = given[order]
    if np.all(ascending[1:] > ascending[:-1]):  # the usual case, for which np.unique would do several times the work
        ranks = np.empty(given.size)
        ranks[order] = np.arange(1.0, given.size + 1)
        return Ranking(ranks, np.ones(given.size))
    _, places, counts = np.unique(given, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return Ranking((last - (counts - 1) / 2.0)[places], counts.astype(np.float64))


MOST_EXACT = 25
"""Up to this size of the larger sample the p-value is exact if there are no ties; counts then fit 64 bits."""


class MannWhitney(Struct, frozen=True):
    """The Mann-Whitney test of two samples."""

    u: float
    """Number of pairs in which the value of the first sample is larger; equal ones count half."""
    p_value: float
    """Two-sided."""
    exact: bool


def mann_whitney(first: npt.ArrayLike, second: npt.ArrayLike) -> MannWhitney:
    """Test two samples without NaN; the p-value is 1 if either is empty or all values are equal.

    With ties or large samples by the normal approximation, corrected for ties and continuity (Mann and Whitney, Annals
    of Mathematical Statistics 18, 1947).
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    m, n = int(one.size), int(other.size)
    if m == 0 or n == 0:
        return MannWhitney(0.0, 1.0, exact=True)
    ranked = ranking(np.concatenate((one, other)))
    u = float(ranked.ranks[:m].sum()) - m * (m + 1) / 2
    if not ranked.has_ties and max(m, n) <= MOST_EXACT:
        return MannWhitney(u, _exact(u, m, n), exact=True)
    return MannWhitney(u, _approximate(u, m, n, ranked.tie_sizes), exact=False)


def mann_whitney_apart(first: Floats, second: Floats) -> MannWhitney:
    """The same as `mann_whitney`, but faster for samples without ties within or between them.

    Neither sample may be empty.
    """
    one, other = np.sort(first), np.sort(second)
    below = np.searchsorted(other, one)
    apart = np.array_equal(below, np.searchsorted(other, one, "right"))
    if not apart or not (one[1:] > one[:-1]).all() or not (other[1:] > other[:-1]).all():
        return mann_whitney(first, second)
    m, n, u = one.size, other.size, float(below.sum())
    if max(m, n) <= MOST_EXACT:
        return MannWhitney(u, _exact(u, m, n), exact=True)
    return MannWhitney(u, _approximate(u, m, n, np.ones(1)), exact=False)


def split_p_values(values: Floats, cuts: Integers, sizes: Integers) -> list[float]:
    """The p-value of `mann_whitney` for each row: its first values, ``cuts``, against the others, up to ``sizes``.

    The rest of a row is infinite, and both samples have values; the same numbers as one row at a time.
    """
    rows, width = values.shape
    order = values.argsort(axis=1)
    ascending = np.take_along_axis(values, order, axis=1)
    place = np.arange(width)
    there = place < sizes[:, None]
    opens = np.ones((rows, width), dtype=bool)
    opens[:, 1:] = (ascending[:, 1:] > ascending[:, :-1]) | ~there[:, 1:]
    first = np.maximum.accumulate(np.where(opens, place, 0), axis=1)
    ends = np.ones((rows, width), dtype=bool)
    ends[:, :-1] = opens[:, 1:]
    last = np.minimum.accumulate(np.where(ends, place, width)[:, ::-1], axis=1)[:, ::-1]
    of_first_sample = (order < cuts[:, None]) & there
    us = ((first + last) / 2 + 1).sum(axis=1, where=of_first_sample) - cuts * (cuts + 1) / 2
    tied = (last - first + 1.0) * ends
    ties = (tied**3 - tied).sum(axis=1)
    return [
        _exact(u, m, n) if not tie and max(m, n) <= MOST_EXACT else _normal_p_value(u, m, n, tie)
        for u, m, n, tie in zip(us.tolist(), cuts.tolist(), (sizes - cuts).tolist(), ties.tolist(), strict=True)
    ]


def untied_p_value(u: float, m: int, n: int) -> float:
    """The two-sided p-value of this U for samples of these sizes without ties."""
    return _exact(u, m, n) if max(m, n) <= MOST_EXACT else _normal_p_value(u, m, n, 0.0)


def smallest_p_value(m: int, n: int) -> float:
    """The two-sided p-value of samples without ties that do not overlap: 0.0079 for 5 and 5."""
    return min(1.0, 2 / math.comb(m + n, m))


def _exact(u: float, m: int, n: int) -> float:
    tail = exact_tails(min(m, n), max(m, n))
    return min(1.0, 2.0 * float(tail[round(min(u, m * n - u))]))


def _approximate(u: float, m: int, n: int, tie_sizes: Floats) -> float:
    return _normal_p_value(u, m, n, float(np.sum(tie_sizes**3 - tie_sizes)))


def _normal_p_value(u: float, m: int, n: int, ties: float) -> float:
    """By the normal approximation; ``ties`` is the sum of t^3 - t over groups of t equal values."""
    total = m + n
    variance = m * n / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0.0:
        return 1.0
    z = max(0.0, abs(u - m * n / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


@lru_cache(maxsize=256)
def exact_tails(m: int, n: int) -> Floats:
    """P(U <= u) for each u if all orders are equally likely.

    The number of orders for each U is a coefficient of the Gaussian binomial of m + n over m, which is built up by a
    factor (1 - q^(n + i)) / (1 - q^i) at a time; each step leaves whole numbers.
    """
    counts = np.zeros(m * n + 1, dtype=np.int64)
    counts[0] = 1
    for i in range(1, m + 1):
        times = n + i
        if times < counts.size:
            counts[times:] -= counts[:-times].copy()
        columns = np.zeros(-(-counts.size // i) * i, dtype=np.int64)  # every i-th is added up, all of them at once
        columns[: counts.size] = counts
        counts = columns.reshape(-1, i).cumsum(axis=0).ravel()[: counts.size]
    return np.asarray(np.cumsum(counts) / math.comb(m + n, m), dtype=np.float64)
