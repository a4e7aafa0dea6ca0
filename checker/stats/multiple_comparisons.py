"""Many tests at once: screening of many series, and control of the false discovery rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from checker.stats import Floats
from checker.stats.ranks import MOST_EXACT, exact_tails, mann_whitney
from checker.stats.slope import FEWEST_SLOPE_POINTS


def discoveries(p_values: npt.ArrayLike) -> Floats:
    """The p-values adjusted for multiple tests, in their order; NaN stand for missing tests, and stay.

    With a limit of 0.05, one discovery in twenty is false on average; and if nothing has changed anywhere, nothing is
    reported in nineteen of twenty families (Benjamini and Hochberg, Journal of the Royal Statistical Society B 57,
    1995).
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    if not tested.size:
        return adjusted
    order = tested[np.argsort(given[tested], kind="stable")]
    stepped = given[order] * (tested.size / np.arange(1.0, tested.size + 1))
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(stepped[::-1])[::-1])
    return adjusted


def discoveries_of(families: Sequence[Floats]) -> list[Floats]:
    """Several arrays of p-values adjusted as one family, so that results of any of them are corrected for all."""
    if not families:
        return []
    every = discoveries(np.concatenate(list(families)))
    return np.split(every, np.cumsum([len(one) for one in families])[:-1])


_AT_ONCE = 500_000
"""Slopes of point pairs computed at a time: 4 MB."""
_SQRT_2 = math.sqrt(2)


def mann_whitney_rows(first: Floats, second: Floats, fewest: int) -> Floats:
    """The two-sided p-values of `mann_whitney` for the rows of two matrices; NaN below ``fewest`` values on a side."""
    found = np.full(len(first), np.nan)
    sizes = np.column_stack([np.sum(~np.isnan(side), axis=1) for side in (first, second)])
    enough = (sizes >= fewest).all(axis=1)
    m, n = first.shape[1], second.shape[1]
    together = np.column_stack((first, second))
    ordered = np.sort(together, axis=1)
    plain = enough & (sizes == (m, n)).all(axis=1) & (np.diff(ordered, axis=1) > 0).all(axis=1)
    ranks = together[plain].argsort(axis=1).argsort(axis=1)[:, :m] + 1
    u = ranks.sum(axis=1) - m * (m + 1) / 2
    if max(m, n) <= MOST_EXACT and min(m, n):
        tails = exact_tails(min(m, n), max(m, n))
        found[plain] = np.minimum(1.0, 2.0 * tails[np.rint(np.minimum(u, m * n - u)).astype(np.intp)])
    elif min(m, n):
        z = np.maximum(0.0, np.abs(u - m * n / 2) - 0.5) / math.sqrt(m * n * (m + n + 1) / 12)
        found[plain] = erfc(z / _SQRT_2)
    for row in np.flatnonzero(enough & ~plain).tolist():
        sides = (side[row][~np.isnan(side[row])] for side in (first, second))
        found[row] = mann_whitney(*sides).p_value
    return found


def kendall_rows(values: Floats) -> Floats:
    """The two-sided p-values of Mann-Kendall for rows over evenly spaced columns, as in `slope.trend`.

    NaN below eight values.
    """
    by_column = np.ascontiguousarray(values.T)
    rising = np.zeros(len(values))
    for lag in range(1, len(by_column)):
        rising += (by_column[lag:] > by_column[:-lag]).sum(axis=0, dtype=np.int32)
    n = np.sum(~np.isnan(values), axis=1).astype(np.float64)
    equal_pairs, ties = _ties(values)
    score = 2 * rising - (n * (n - 1) / 2 - equal_pairs)
    variance = np.maximum(0.0, n * (n - 1) * (2 * n + 5) - ties) / 18
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where((variance > 0) & (score != 0), (np.abs(score) - 1) / np.sqrt(2 * variance), 0.0)
    return np.where(n >= FEWEST_SLOPE_POINTS, erfc(np.maximum(z, 0.0)), np.nan)


def _ties(values: Floats) -> tuple[Floats, Floats]:
    """For each row the number of pairs of equal values, and the sum of t (t - 1) (2 t + 5) over groups of t of them."""
    rows, columns = values.shape
    ordered = np.sort(values, axis=1)
    differs = np.ones((rows, columns), dtype=bool)
    differs[:, 1:] = ordered[:, 1:] != ordered[:, :-1]  # NaN differ from each other
    sizes = np.diff(np.flatnonzero(differs), append=rows * columns).astype(np.float64)
    of_row = np.flatnonzero(differs) // max(1, columns)
    pairs = np.bincount(of_row, sizes * (sizes - 1) / 2, rows)
    ties = np.bincount(of_row, sizes * (sizes - 1) * (2 * sizes + 5), rows)
    return pairs.astype(np.float64), ties.astype(np.float64)


def slope_rows(values: Floats) -> Floats:
    """The Theil-Sen slope of each row per column; NaN for fewer than two values."""
    rows, columns = values.shape
    pairs = columns * (columns - 1) // 2
    found = np.full(rows, np.nan)
    step = max(1, _AT_ONCE // max(1, pairs))
    slopes = np.empty((min(step, rows), pairs))
    known = np.sum(~np.isnan(values), axis=1)
    sizes = known * (known - 1) // 2
    for low in range(0, rows, step):
        part, of_part = values[low : low + step], sizes[low : low + step]
        end = 0
        # By distance, in whole pieces of memory: picking the ends of each pair takes longer than all the rest.
        for apart in range(1, columns):
            begin, end = end, end + columns - apart
            into = slopes[: len(part), begin:end]
            np.subtract(part[:, apart:], part[:, :-apart], out=into)
            into /= apart
        for size in np.unique(of_part[of_part > 0]).tolist():
            these = np.flatnonzero(of_part == size)
            middle = [(size - 1) // 2, size // 2]
            ordered = np.partition(slopes[these], middle, axis=1)  # NaN last
            found[low + these] = (ordered[:, middle[0]] + ordered[:, middle[1]]) / 2
    return found


def erfc(values: npt.ArrayLike) -> Floats:
    """The complementary error function of each value."""
    given = np.asarray(values, dtype=np.float64)
    return np.fromiter(map(math.erfc, given.ravel().tolist()), np.float64, given.size).reshape(given.shape)
