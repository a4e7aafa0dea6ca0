"""Daily and weekly seasonality of a series: detection and removal.

The classical decomposition: the level is the mean over a whole cycle around each point, which is free of the seasonal
effect; the usual deviation of a phase (an hour of the day) from that level is the median over the cycles. A change of
level distorts it in one cycle only, which a median of three and more ignores.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from checker.stats import Floats

FEWEST_CYCLES = 3
"""Fewest cycles: values of a phase behind its median."""
_LEAST_KNOWN = 0.25
"""Share of a cycle that must be known for a level."""


def rhythm(logs: Floats, first: int, cycle: int) -> Floats:
    """Seasonal effect on each value, for rows of logarithms; 0 if no seasonality is detected.

    Columns are contiguous, the first of them at phase ``first`` of the ``cycle``; NaN are gaps. A row is seasonal if
    the means of its phases differ clearly more than their noise does; other rows are left alone, since removing noise
    would add noise.
    """
    found = np.zeros(logs.shape)
    rows, columns = logs.shape
    if columns < (FEWEST_CYCLES + 1) * cycle or not rows:
        return found
    lead = first % cycle
    by_cycle = np.pad(
        logs - _levels(logs, cycle), ((0, 0), (lead, -(lead + columns) % cycle)), constant_values=np.nan
    ).reshape(rows, -1, cycle)
    count = np.sum(~np.isnan(by_cycle), axis=1)
    count = np.where(count >= FEWEST_CYCLES, count, 0)
    mean = np.nansum(by_cycle, axis=1) / np.maximum(count, 1)
    squares = np.nansum((by_cycle - mean[:, None, :]) ** 2, axis=1)
    seen = np.flatnonzero(_clear(count.astype(np.float64), mean, squares))
    usual = _medians(by_cycle[seen], count[seen])
    there = count[seen] > 0
    middle = np.where(there, usual, 0.0).sum(axis=1) / np.maximum(1, there.sum(axis=1))
    found[seen] = np.where(there, usual - middle[:, None], 0.0)[:, np.arange(lead, lead + columns) % cycle]
    return found


def _medians(by_cycle: Floats, count: npt.NDArray[np.intp]) -> Floats:
    """The median over the cycles without NaN: many times faster than numpy's for many short columns."""
    ordered = np.sort(by_cycle, axis=1)  # NaN last
    low, high = np.maximum(0, (count - 1) // 2), count // 2
    high = np.minimum(high, np.maximum(0, count - 1))
    ends = [np.take_along_axis(ordered, place[:, None, :], axis=1)[:, 0, :] for place in (low, high)]
    return np.asarray((ends[0] + ends[1]) / 2)


def _levels(logs: Floats, cycle: int) -> Floats:
    """The mean of a cycle around each value; NaN within half a cycle of the ends and where too little is known.

    An even cycle reaches half a step further on both sides, whose values count half.
    """
    half = cycle // 2
    known = ~np.isnan(logs)
    sums = np.pad(np.cumsum(np.nan_to_num(logs), axis=1), ((0, 0), (1, 0)))
    counts = np.pad(np.cumsum(known, axis=1), ((0, 0), (1, 0))).astype(np.float64)
    found = np.full(logs.shape, np.nan)
    inner = slice(half, logs.shape[1] - half)

    def windows(table: Floats, width: int, first: int) -> Floats:
        many = logs.shape[1] - 2 * half
        return np.asarray(table[:, first + width : first + width + many] - table[:, first : first + many])

    if cycle % 2:
        total, many = (windows(table, cycle, 0) for table in (sums, counts))
    else:
        total, many = ((windows(table, cycle, 0) + windows(table, cycle, 1)) / 2 for table in (sums, counts))
    with np.errstate(divide="ignore", invalid="ignore"):
        found[:, inner] = np.where(many >= _LEAST_KNOWN * cycle, total / many, np.nan)
    return found


def _clear(count: Floats, mean: Floats, squares: Floats) -> npt.NDArray[np.bool_]:
    """True if the means of a row's phases differ by more than their noise: the F of an analysis of variance.

    Without seasonality its spread is about the square root of 2 over its degrees of freedom; three times that is far
    out.
    """
    many, phases = count.sum(axis=1), (count > 0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (count * mean).sum(axis=1) / many
        between = (count * (mean - middle[:, None]) ** 2).sum(axis=1) / (phases - 1)
        within = np.where(count > 0, squares, 0.0).sum(axis=1) / (many - phases)
        far = between > (1 + 3 * np.sqrt(2 / (phases - 1))) * within
    return np.asarray((phases > 1) & (many > phases) & far & (between > 0.0))
