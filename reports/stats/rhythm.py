"""What a series does at the same hour every day, or on the same day every week: found, and taken out.

The classical decomposition: the level is the mean over a whole cycle around each point, which no rhythm moves; what a
phase (an hour of the day) usually is above or below that level is the median over the cycles. A change of level spoils
that in one cycle only, which a median of three and more does not follow.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reports.stats import Floats

FEWEST_CYCLES = 3
"""Values of a phase that its usual place is the median of."""
_LEAST_KNOWN = 0.25
"""Of a cycle that has a level."""

Integers = npt.NDArray[np.int64]


def rhythm(logs: Floats, phases: Integers, cycle: int) -> Floats:
    """How much each value is usually above the level at its phase, for rows of logarithms; 0 where no rhythm is seen.

    ``phases`` (0 to ``cycle`` - 1) has one for each column; columns follow each other without a gap, NaN are gaps. A
    row has a rhythm if the means of its phases differ clearly more than their noise does; others are left alone, since
    what is taken out of them would be noise and come back as noise.
    """
    found = np.zeros(logs.shape)
    columns = logs.shape[1]
    if columns < (FEWEST_CYCLES + 1) * cycle or not len(logs):
        return found
    apart = logs - _levels(logs, cycle)
    usual = np.full((len(logs), cycle), np.nan)
    count, mean, squares = (np.zeros((len(logs), cycle)) for _ in range(3))
    for phase in range(cycle):
        of_phase = apart[:, phases == phase]
        known = ~np.isnan(of_phase)
        count[:, phase] = known.sum(axis=1)
        enough = count[:, phase] >= FEWEST_CYCLES
        if not enough.any():
            continue
        usual[enough, phase] = np.nanmedian(of_phase[enough], axis=1)
        mean[enough, phase] = np.nanmean(of_phase[enough], axis=1)
        squares[enough, phase] = np.nansum((of_phase[enough] - mean[enough, phase, None]) ** 2, axis=1)
    there = ~np.isnan(usual)
    seen = _clear(np.where(there, count, 0.0), mean, squares, there.sum(axis=1))
    if seen.any():
        middle = np.nansum(usual[seen], axis=1) / there[seen].sum(axis=1)
        found[seen] = np.nan_to_num(usual[seen] - middle[:, None])[:, phases]
    return found


def _levels(logs: Floats, cycle: int) -> Floats:
    """The mean of a cycle around each value; NaN within half a cycle of the ends and where little is known.

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


def _clear(count: Floats, mean: Floats, squares: Floats, phases: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Whether the means of a row's phases differ by more than their noise: the F of an analysis of variance.

    Its spread without a rhythm is about the root of 2 over its degrees of freedom; three times that is far out.
    """
    many = count.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.where(count > 0, count * mean, 0.0).sum(axis=1) / many
        between = (count * (mean - middle[:, None]) ** 2).sum(axis=1) / (phases - 1)
        within = np.where(count > 0, squares, 0.0).sum(axis=1) / (many - phases)
        ratio = between / within
        clear = (phases > 1) & (many > phases) & ((ratio > 1 + 3 * np.sqrt(2 / (phases - 1))) | (within == 0.0))
    return np.asarray(clear & (between > 0.0))
