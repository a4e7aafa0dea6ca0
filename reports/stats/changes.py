"""Where the level of a series changed, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reports.stats import Floats
from reports.stats.mann_whitney import mann_whitney
from reports.stats.scan import scan

FEWEST_POINTS = 10
"""Shorter series have no change points."""

MOST_POINTS = 400
"""Of a longer piece every so many points are scanned; the place of a change is still sought among all."""


SHORTEST = 5
"""Points between two changes, and before the first and after the last: five against five can be significant."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A change of level; the levels are medians from the change before to this one, and from this one to the next."""

    index: int
    """Of the first point after the change, in the series as it was given."""
    before: float
    after: float
    ratio: float | None
    """``after`` / ``before``; None where ``before`` is 0."""
    p_value: float
    """Of the scan that found the change, by permutation; about 0.0001 to 0.002 is the least it can be."""


def changes(
    values: npt.ArrayLike,
    alpha: float = 0.01,
    least_change_ratio: float = 0.1,
    least_change: float = 0.0,
    shortest: int = SHORTEST,
    seed: int = 0,
) -> tuple[ChangePoint, ...]:
    """The changes of level in a series in time order, each kept only if it is large enough.

    Large enough is ``least_change_ratio`` of the level before and ``least_change`` in the unit of the series. NaN are
    gaps. The same series and seed give the same result. Successive points are taken as independent: where they are
    not (one check each minute), slow waves look like changes, so give it medians of hours or days.
    """
    given = np.asarray(values, dtype=np.float64)
    places = np.flatnonzero(~np.isnan(given))
    series = given[places]
    if series.size < max(FEWEST_POINTS, 2 * shortest):
        return ()
    found = _divided(series, 0, alpha, shortest, seed)
    kept = _kept(series, found, alpha, least_change_ratio, least_change)
    return tuple(
        ChangePoint(int(places[cut]), before, after, after / before if before else None, found[cut])
        for cut, before, after in _levels(series, kept)
    )


def _divided(series: Floats, offset: int, alpha: float, shortest: int, seed: int) -> dict[int, float]:
    """Cut -> p-value for a piece that starts at ``offset``: those of its strongest stretch and of what that leaves."""
    n = int(series.size)
    if n < 2 * shortest:
        return {}
    step = -(-n // MOST_POINTS)
    stretch = scan(series[::step], shortest, alpha, seed)
    if stretch is None:
        return {}
    cuts = [cut * step for cut in (stretch.start, stretch.stop) if 0 < cut * step < n]
    cuts = _placed(series, cuts, shortest)
    found = {offset + cut: stretch.p_value for cut in cuts}
    for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
        found |= _divided(series[start:stop], offset + start, alpha, shortest, seed)
    return found


def _placed(series: Floats, cuts: list[int], shortest: int) -> list[int]:
    """The cuts moved to where each point is nearest to the median of its own side.

    The scan says that there is a change, but scores do not say well where, if one side is much the longer.
    """
    placed = list(cuts)
    for _ in range(2):
        for at, cut in enumerate(placed):
            start = placed[at - 1] if at else 0
            stop = placed[at + 1] if at + 1 < len(placed) else int(series.size)
            before, after = _median(series[start:cut]), _median(series[cut:stop])
            nearer = np.abs(series[start:stop] - before) - np.abs(series[start:stop] - after)
            costs = np.cumsum(nearer)[shortest - 1 : stop - start - shortest]
            placed[at] = start + shortest + int(np.argmin(costs))
    return placed


def _kept(series: Floats, found: dict[int, float], alpha: float, ratio: float, least: float) -> list[int]:
    """The cuts that are changes between the pieces next to them; the weakest goes first and its pieces are joined."""
    cuts = sorted(found)
    while cuts:
        pieces = np.split(series, cuts)
        doubts = [_doubt(before, after, alpha, ratio, least) for before, after in pairwise(pieces)]
        worst = int(np.argmax(doubts))
        if doubts[worst] <= 1.0:
            break
        del cuts[worst]
    return cuts


def _doubt(before: Floats, after: Floats, alpha: float, ratio: float, least: float) -> float:
    """Above 1 if two neighbouring pieces differ by too little, or by what chance does; the more, the larger."""
    level, change = float(np.median(before)), abs(float(np.median(after) - np.median(before)))
    needed = max(ratio * abs(level), least)
    if change == 0.0:
        return float("inf")
    return max(needed / change, mann_whitney(before, after).p_value / alpha)


def _levels(series: Floats, cuts: list[int]) -> list[tuple[int, float, float]]:
    levels = [float(np.median(piece)) for piece in np.split(series, cuts)]
    return [(cut, before, after) for cut, (before, after) in zip(cuts, pairwise(levels), strict=True)]


def _median(values: Floats) -> float:
    """What np.median gives, which takes several times longer for short series."""
    ordered = np.sort(values)
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2
