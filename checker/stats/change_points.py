"""Change point detection: changes of level in a series, with their place, size and significance.

The statistic is that of circular binary segmentation (Olshen et al., Biostatistics 5, 2004) on normal scores: of all
segments of the series, the one whose scores differ most from those of the rest, in standard deviations. A segment that
touches an end is a step, one between the ends a rise with a return. Scores are based on ranks, which makes them robust
against heavy tails, and makes the distribution without a change the same for every series of one length that has no
ties: it is sampled once. Plain ranks would miss a change five points before the end of ninety, however large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from checker.stats import Floats
from checker.stats.ranks import mann_whitney, mann_whitney_apart, ranking, smallest_p_value

_DRAWN = 4_000_000  # stretches looked at for one distribution: about 5 ms
_FEWEST_PERMUTATIONS = 499
_MOST_PERMUTATIONS = 9999
_CHUNK = 250_000  # stretches at once: more than the processor's cache holds is slower
_ORDERS_AT_ONCE = 1024
_SCREEN = 5.0  # how many times alpha a p-value may be that is worth permutations of its own


@dataclass(frozen=True, slots=True)
class Stretch:
    """The segment [start, stop) that differs most from the rest, and its p-value under no change."""

    start: int
    stop: int
    p_value: float


@dataclass(frozen=True, slots=True)
class _Stretches:
    """All segments that are at least as long as the shortest and leave at least that length, or 0, on either side."""

    starts: npt.NDArray[np.intp]
    stops: npt.NDArray[np.intp]
    weights: Floats


def scan(values: Floats, shortest: int, alpha: float, seed: int = 0) -> Stretch | None:
    """The strongest segment if its p-value is at most ``alpha``, else None; also None if all values are equal.

    ``values`` contain no NaN; there are at least twice ``shortest``.
    """
    n = int(values.size)
    stretches = _stretches(n, shortest)
    ranked = ranking(values)
    if stretches.weights.size == 0 or ranked.tie_sizes.size == 1:
        return None
    standard = _scores(ranked.ranks)
    strengths = _strengths(standard[np.newaxis, :], stretches)[0]
    best = int(np.argmax(strengths))
    strength = float(strengths[best])
    p_value = _p_value(strength, _without_change(_rung(n), shortest, seed))
    if ranked.has_ties and p_value <= alpha * _SCREEN:
        p_value = _p_value(strength, _permuted(standard, shortest, seed))
    if p_value > alpha:
        return None
    return Stretch(int(stretches.starts[best]), int(stretches.stops[best]), p_value)


def scan_rows(values: Floats, shortest: int, seed: int = 0) -> list[Stretch]:
    """The strongest segment of each row of a matrix without NaN and, except for constant rows, without ties.

    The p-value is 1 for a row without a segment.
    """
    rows, n = values.shape
    stretches = _stretches(n, shortest) if n >= 2 * shortest else None
    if stretches is None or stretches.weights.size == 0:
        return [Stretch(0, n, 1.0)] * rows
    drawn = _without_change(_rung(n), shortest, seed)
    standard = _scores(np.arange(1.0, n + 1))[values.argsort(axis=1).argsort(axis=1)]
    many = max(1, _CHUNK // stretches.weights.size)
    best = np.empty(rows, dtype=np.intp)
    strengths = np.empty(rows)
    for low in range(0, rows, many):
        found = _strengths(standard[low : low + many], stretches)
        best[low : low + many] = found.argmax(axis=1)
        strengths[low : low + many] = found.max(axis=1)
    return [
        Stretch(int(stretches.starts[at]), int(stretches.stops[at]), _p_value(strength, drawn))
        for at, strength in zip(best.tolist(), strengths.tolist(), strict=True)
    ]


def _scores(ranks: Floats) -> Floats:
    """Normal scores (van der Waerden) with mean 0 and variance 1."""
    scores = _normal(ranks.size)[np.rint(2 * ranks).astype(np.intp)]
    scores = scores - scores.mean()
    return np.asarray(scores / np.sqrt(np.mean(scores**2)), dtype=np.float64)


@lru_cache(maxsize=128)
def _normal(n: int) -> Floats:
    """The normal score of each half rank; the first two places stand for no rank."""
    normal = NormalDist()
    return np.array([0.0, 0.0, *(normal.inv_cdf(half / (2 * (n + 1))) for half in range(2, 2 * n + 1))])


def _strengths(standard: Floats, stretches: _Stretches) -> Floats:
    """For rows of standardised scores: distance of each segment from the rest, in standard deviations."""
    sums = np.zeros((standard.shape[0], standard.shape[1] + 1))
    np.cumsum(standard, axis=1, out=sums[:, 1:])
    found = sums.take(stretches.stops, axis=1)  # a third of the time of an index
    found -= sums.take(stretches.starts, axis=1)
    np.abs(found, out=found)
    found *= stretches.weights
    return found


def _p_value(strength: float, drawn: Floats) -> float:
    """The share of draws that are at least as strong, counting the series itself as one of them; never 0."""
    at_least = drawn.size - int(np.searchsorted(drawn, strength * (1 - 1e-12), side="left"))
    return (at_least + 1) / (drawn.size + 1)


def _rung(n: int) -> int:
    """The next length with a sampled distribution: at most 6% longer, which makes p-values slightly larger."""
    step = max(1, n // 16)
    return -(-n // step) * step


@lru_cache(maxsize=128)
def _without_change(n: int, shortest: int, seed: int) -> Floats:
    """The largest strengths of series of ``n`` ranks in random order, ascending."""
    return _permuted(_scores(np.arange(1.0, n + 1)), shortest, seed)


def fewest_draws(n: int, shortest: int) -> int:
    """Number of permutations behind the p-values of series of ``n`` values: the smallest p-value is 1 over this."""
    return _permutations(_stretches(_rung(n), shortest).weights.size) + 1


def _permutations(stretches: int) -> int:
    return min(_MOST_PERMUTATIONS, max(_FEWEST_PERMUTATIONS, _DRAWN // max(1, stretches)))


def _permuted(standard: Floats, shortest: int, seed: int) -> Floats:
    """The largest strengths of so many orders of these scores, ascending."""
    n = int(standard.size)
    permutations = _permutations(_stretches(n, shortest).weights.size)
    random = np.random.default_rng(seed)
    drawn = np.empty(permutations)
    for first in range(0, permutations, _ORDERS_AT_ONCE):
        many = min(_ORDERS_AT_ONCE, permutations - first)
        shuffled = random.permuted(np.broadcast_to(standard, (many, n)), axis=1)
        drawn[first : first + many] = _largest(shuffled, shortest)
    drawn.sort()
    return drawn


def _largest(standard: Floats, shortest: int) -> Floats:
    """The largest of the `_strengths` of each row, to the last digit.

    A length at a time: all segments of a length have one weight, so that only the largest of their sums is weighted,
    and the sums are differences of two neighbouring blocks of memory, one row of the matrix beside the other.
    """
    rows, n = standard.shape
    sums = np.zeros((n + 1, rows))
    sums[1:] = np.cumsum(standard, axis=1).T
    inner = sums[shortest : n - shortest + 1]
    most, room = np.zeros(rows), np.empty_like(inner)
    for length in range(shortest, n - shortest + 1):
        least = np.abs(sums[length])  # the step, from the beginning
        starts = len(inner) - length
        if starts > 0:
            found = np.subtract(inner[length:], inner[:-length], out=room[:starts])
            np.maximum(least, np.abs(found, out=found).max(axis=0), out=least)
        least *= 1.0 / np.sqrt(float(length) * (n - length) / (n - 1))
        np.maximum(most, least, out=most)
    return most


@lru_cache(maxsize=128)
def _stretches(n: int, shortest: int) -> _Stretches:
    bounds = np.concatenate(([0], np.arange(shortest, n - shortest + 1), [n]))
    left, right = np.triu_indices(bounds.size, 1)
    starts, stops = bounds[left], bounds[right]
    lengths = stops - starts
    # A step is found twice, as what is before and as what is after it: the first will do.
    kept = (lengths >= shortest) & (lengths < n) & ~((stops == n) & (starts >= shortest))
    starts, stops, lengths = starts[kept], stops[kept], lengths[kept].astype(np.float64)
    # The variance of a sum of `length` standardised scores drawn without replacement.
    weights = 1.0 / np.sqrt(lengths * (n - lengths) / (n - 1))
    return _Stretches(starts.astype(np.intp), stops.astype(np.intp), weights)


FEWEST_POINTS = 10
"""Shorter series are not searched for change points."""

MOST_POINTS = 400
"""Number of points scanned in a longer piece, evenly spaced; the place of a change is still searched among all."""


SHORTEST = 5
"""Fewest points between two changes, and before the first and after the last: five against five can be significant."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A change of level; levels are medians from the previous change to this one, and from this one to the next."""

    index: int
    """Index of the first point after the change, in the given series."""
    before: float
    after: float
    ratio: float | None
    """``after`` / ``before``; None where ``before`` is 0."""
    p_value: float
    """P-value of the scan that found the change, by permutation; its smallest value is about 0.0001 to 0.002."""


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
    gaps. The same series and seed give the same result. Successive points are assumed to be independent: if they are
    not (one check each minute), slow waves look like changes, so pass medians of hours or days.
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
    """Cut -> p-value for a piece that starts at ``offset``: cuts of its strongest segment and of what is left."""
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
    """The cuts moved to the place where each point is nearest to the median of its own side.

    The scan shows that there is a change, but scores locate it badly if one side is much longer.
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
    """The cuts that are changes between their neighbouring pieces; the weakest goes first and its pieces are joined."""
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
    """Above 1 if two neighbouring pieces differ by too little or only by chance; larger means weaker."""
    level = _median(before)
    change = abs(_median(after) - level)
    needed = max(ratio * abs(level), least)
    if change == 0.0:
        return float("inf")
    return max(needed / change, mann_whitney(before, after).p_value / alpha)


def _levels(series: Floats, cuts: list[int]) -> list[tuple[int, float, float]]:
    levels = [_median(piece) for piece in np.split(series, cuts)]
    return [(cut, before, after) for cut, (before, after) in zip(cuts, pairwise(levels), strict=True)]


def _median(values: Floats) -> float:
    """The same as np.median, but several times faster for short series."""
    ordered = np.sort(values)
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2


POWER = 0.8
"""Power: the probability that a change of the stated smallest size is detected."""
_WORTH_MORE_PERMUTATIONS = 0.01
"""P-values of the scan that may be below the resolution of the permutations."""
_MORE = 1.3
"""Correction factor (measured): deviations are only estimates, and so is the place of a change."""
_RANKS_KEEP = 0.977
"""Square root of the efficiency of rank tests relative to tests of means: 3 / pi is 0.955."""


def level_p_values(values: Floats, shortest: int = SHORTEST, seed: int = 0) -> Floats:
    """For each row of a matrix the p-value of its strongest change of level; NaN below ten points.

    By permutation; if that gives only "less than one in so many", by Mann-Whitney over the two sides, times the number
    of possible cuts. NaN are gaps. Equal values are put in random order: in time order they would look like a rise.
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
    """The p-value of a segment by Mann-Whitney, times the number of segments; 1 where permutations suffice."""
    if stretch.p_value > _WORTH_MORE_PERMUTATIONS:
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

    For logarithms it is relative. NaN are gaps; the result is NaN for fewer than two values.
    """
    found = np.full(len(logs), np.nan)
    for row, values in enumerate(logs):
        kept = values[~np.isnan(values)]
        if kept.size > 1:
            found[row] = _spread(np.diff(kept))
    return found


def _spread(steps: Floats) -> float:
    """Spread from the median of the step sizes, or from their mean if most of them are 0."""
    sizes = np.abs(steps)
    return float(np.median(sizes) / 0.6745 or np.sqrt(np.pi / 2) * np.mean(sizes)) / math.sqrt(2)


def smallest_step(deviations: Floats, before: int, after: int, p_value: float, *, sought: bool) -> Floats:
    """The smallest relative change of level detected with 80% power, for each standard deviation.

    For series of ``before`` and ``after`` values whose logarithms have this standard deviation about their level, and
    tests that are significant up to ``p_value``. Infinite if no change could be detected at all. ``sought`` if the
    place of the change is searched for, which gives chance more places to look like one.
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
    """Distance in standard deviations at which two normal samples do not overlap in about 80% of cases."""
    normal = NormalDist()
    return normal.inv_cdf(1 - 0.4 / (before + 1)) + normal.inv_cdf(1 - 0.4 / (after + 1)) + 0.4
