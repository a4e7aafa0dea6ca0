"""Change point detection: changes of level in a series, with their place, size and significance.

The statistic is that of circular binary segmentation (Olshen et al., Biostatistics 5, 2004) on normal scores: of all
segments of the series, the one whose scores differ most from those of the rest, in standard deviations. A segment that
touches an end is a step, one between the ends a rise with a return. Scores are based on ranks, which makes them robust
against heavy tails, and makes the distribution without a change the same for every series of one length that has no
ties: it is sampled once. Plain ranks would miss a change five points before the end of ninety, however large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from checker.stats import Floats, critical_strengths
from checker.stats.ranks import ranking, smallest_p_value, split_p_values, untied_p_value

_DRAWN = 4_000_000  # stretches looked at for one distribution: about 5 ms
_FEWEST_PERMUTATIONS = 499
_MOST_PERMUTATIONS = 9999
_CHUNK = 250_000  # stretches at once: more than the processor's cache holds is slower
_ORDERS_AT_ONCE = 1024
_NEARLY = 1 - 1e-12  # equal strengths may differ in their last digits
_SCREEN = 5.0  # how many times alpha a p-value may be that is worth permutations of its own


class Stretch(Struct, frozen=True):
    """The segment [start, stop) that differs most from the rest, and its p-value under no change."""

    start: int
    stop: int
    p_value: float


class _Stretches(Struct, frozen=True):
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
    p_value = _p_value(strength, _without_change(rung(n), shortest, seed))
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
    drawn = _without_change(rung(n), shortest, seed)
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
    """Normal scores (van der Waerden) with mean 0 and variance 1, of each row of ranks."""
    scores = _normal(ranks.shape[-1])[np.rint(2 * ranks).astype(np.intp)]
    scores = scores - scores.mean(axis=-1, keepdims=True)
    return np.asarray(scores / np.sqrt(np.mean(scores**2, axis=-1, keepdims=True)), dtype=np.float64)


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
    at_least = drawn.size - int(np.searchsorted(drawn, strength * _NEARLY, side="left"))
    return (at_least + 1) / (drawn.size + 1)


@lru_cache(maxsize=1024)
def _critical(n: int, shortest: int, seed: int, alpha: float) -> float:
    """The strength above which the p-value is at most ``alpha``; infinite if draws are too few for that."""
    if (shortest, seed, alpha) == (SHORTEST, 0, critical_strengths.ALPHA) and n in critical_strengths.STRENGTHS:
        return critical_strengths.STRENGTHS[n]
    return critical_strength(n, shortest, seed, alpha)


def critical_strength(n: int, shortest: int, seed: int, alpha: float) -> float:
    """The strength above which the p-value of a series of ``n`` values is at most ``alpha``, from the draws."""
    drawn = _without_change(n, shortest, seed)
    most = sum((at_least + 1) / (drawn.size + 1) <= alpha for at_least in range(drawn.size))
    return float(drawn[drawn.size - most]) if most else math.inf


def rung(n: int) -> int:
    """The next length with a sampled distribution: at most 6% longer, which makes p-values slightly larger."""
    step = max(1, n // 16)
    return -(-n // step) * step


@lru_cache(maxsize=128)
def _without_change(n: int, shortest: int, seed: int) -> Floats:
    """The largest strengths of series of ``n`` ranks in random order, ascending."""
    return _permuted(_scores(np.arange(1.0, n + 1)), shortest, seed)


def fewest_draws(n: int, shortest: int) -> int:
    """Number of permutations behind the p-values of series of ``n`` values: the smallest p-value is 1 over this."""
    return _permutations(_stretches(rung(n), shortest).weights.size) + 1


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


class ChangePoint(Struct, frozen=True):
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
    rows = np.asarray(values, dtype=np.float64)[np.newaxis, :]
    return changes_of_rows(rows, None, alpha, least_change_ratio, least_change, shortest, seed)[0]


def changes_of_rows(
    values: Floats,
    p_values: Sequence[float] | None,
    alpha: float = 0.01,
    least_change_ratio: float = 0.1,
    least_change: float = 0.0,
    shortest: int = SHORTEST,
    seed: int = 0,
) -> list[tuple[ChangePoint, ...]]:
    """The `changes` of each row of a matrix, the same as one by one.

    ``p_values`` are those of the rows, given to all of their changes in place of those of the scans. Without the
    latter a critical value is enough for a piece, where its scan would have to be compared with all draws.
    """
    places = [np.flatnonzero(~np.isnan(row)) for row in values]
    found: list[tuple[ChangePoint, ...]] = [()] * len(values)
    rows = [row for row, kept in enumerate(places) if kept.size >= max(FEWEST_POINTS, 2 * shortest)]
    series = [values[row][places[row]] for row in rows]
    cuts = _divided(series, alpha, shortest, seed)
    kept_cuts = _kept(series, cuts, alpha, least_change_ratio, least_change)
    for row, cuts_of_row, kept in zip(rows, cuts, kept_cuts, strict=True):
        found[row] = tuple(
            ChangePoint(
                int(places[row][cut]),
                before,
                after,
                after / before if before else None,
                cuts_of_row[cut].p_value(shortest, seed) if p_values is None else p_values[row],
            )
            for cut, before, after in kept
        )
    return found


class _Significant(Struct, frozen=True):
    """The scan that found a change: how strong it was, in how long a piece."""

    n: int
    strength: float
    known_p_value: float | None = None
    """For a piece with ties: from permutations of its own."""

    def p_value(self, shortest: int, seed: int) -> float:
        """The p-value of `scan`."""
        if self.known_p_value is not None:
            return self.known_p_value
        return _p_value(self.strength, _without_change(rung(self.n), shortest, seed))


def _divided(series: Sequence[Floats], alpha: float, shortest: int, seed: int) -> list[dict[int, _Significant]]:
    """The cuts of each series: of its strongest segment and, piece by piece, of what is left.

    Pieces of one length are scanned together, in whichever series they are: one by one they take many times longer.
    """
    found: list[dict[int, _Significant]] = [{} for _ in series]
    pieces = [(row, 0, int(one.size)) for row, one in enumerate(series)]
    while pieces:
        of_length: dict[int, list[tuple[int, int, int]]] = {}
        for piece in pieces:
            of_length.setdefault(piece[2] - piece[1], []).append(piece)
        pieces = []
        for n, alike in of_length.items():
            if n < 2 * shortest:
                continue
            values = np.stack([series[row][start:stop] for row, start, stop in alike])
            places, cuts, scans = _cut(values, alpha, shortest, seed)
            for place, of_piece, scan_of_piece in zip(places, cuts, scans, strict=True):
                row, start, stop = alike[place]
                bounds = [start, *(start + cut for cut in of_piece), stop]
                found[row].update((cut, scan_of_piece) for cut in bounds[1:-1])
                pieces += [(row, *ends) for ends in pairwise(bounds)]
    return found


def _cut(
    values: Floats, alpha: float, shortest: int, seed: int
) -> tuple[list[int], list[list[int]], list[_Significant]]:
    """The rows of a matrix that have a significant segment, with the cuts at its ends and its scan."""
    n = values.shape[1]
    step = -(-n // MOST_POINTS)
    ends, scans = _scanned(values[:, ::step], alpha, shortest, seed)
    rows = sorted(ends)
    unplaced = [[cut * step for cut in ends[row] if 0 < cut * step < n] for row in rows]
    cuts: list[list[int]] = [[] for _ in rows]
    for many in (1, 2):
        those = [place for place, of_row in enumerate(unplaced) if len(of_row) == many]
        if those:
            given = np.array([unplaced[place] for place in those])
            placed = _placed(values[[rows[place] for place in those]], given, shortest)
            for place, of_row in zip(those, placed.tolist(), strict=True):
                cuts[place] = of_row
    return rows, cuts, [scans[row] for row in rows]


def _scanned(
    values: Floats, alpha: float, shortest: int, seed: int
) -> tuple[dict[int, tuple[int, int]], dict[int, _Significant]]:
    """Row -> the ends of its strongest segment and its strength, if it is significant: `scan` of many series."""
    n = values.shape[1]
    stretches = _stretches(n, shortest)
    ends: dict[int, tuple[int, int]] = {}
    scans: dict[int, _Significant] = {}
    if stretches.weights.size == 0:
        return ends, scans
    order = values.argsort(axis=1)
    ascending = np.take_along_axis(values, order, axis=1)
    is_plain = (ascending[:, 1:] > ascending[:, :-1]).all(axis=1)
    for row in np.flatnonzero(~is_plain).tolist():
        stretch = scan(values[row], shortest, alpha, seed)
        if stretch is not None:
            ends[row], scans[row] = (stretch.start, stretch.stop), _Significant(n, 0.0, stretch.p_value)
    plain = np.flatnonzero(is_plain)
    critical = _critical(rung(n), shortest, seed, alpha)
    many = max(1, _CHUNK // stretches.weights.size)
    for low in range(0, plain.size, many):
        some = plain[low : low + many]
        ranks = np.empty(order[some].shape)
        np.put_along_axis(ranks, order[some], np.arange(1.0, n + 1)[np.newaxis, :], axis=1)
        strengths = _strengths(_scores(ranks), stretches)
        best = strengths.argmax(axis=1)
        strongest = np.take_along_axis(strengths, best[:, None], axis=1)[:, 0]
        for place in np.flatnonzero(strongest * _NEARLY > critical).tolist():
            at, row = best[place], int(some[place])
            ends[row] = int(stretches.starts[at]), int(stretches.stops[at])
            scans[row] = _Significant(n, float(strongest[place]))
    return ends, scans


def _placed(values: Floats, cuts: npt.NDArray[np.int64], shortest: int) -> npt.NDArray[np.int64]:
    """The cuts of each row, moved to the place where each point is nearest to the median of its own side.

    The scan shows that there is a change, but scores locate it badly if one side is much longer.
    """
    placed = cuts.copy()
    rows, n = values.shape
    columns = np.arange(n)
    none, all_ = np.zeros(rows, np.int64), np.full(rows, n)
    for _ in range(2):
        for at in range(cuts.shape[1]):
            cut = placed[:, at]
            start = placed[:, at - 1] if at else none
            stop = placed[:, at + 1] if at + 1 < cuts.shape[1] else all_
            before, after = _medians_between(values, start, cut), _medians_between(values, cut, stop)
            nearer = np.abs(values - before[:, None]) - np.abs(values - after[:, None])
            costs = np.cumsum(np.where(columns >= start[:, None], nearer, 0.0), axis=1)
            allowed = (columns >= (start + shortest - 1)[:, None]) & (columns < (stop - shortest)[:, None])
            placed[:, at] = np.where(allowed, costs, np.inf).argmin(axis=1) + 1
    return placed


def _medians_between(values: Floats, start: npt.NDArray[np.int64], stop: npt.NDArray[np.int64]) -> Floats:
    """The median of each row from ``start`` to before ``stop``."""
    columns = np.arange(values.shape[1])
    inside = (columns >= start[:, None]) & (columns < stop[:, None])
    ordered = np.sort(np.where(inside, values, np.inf), axis=1)
    size, row = stop - start, np.arange(len(values))
    return np.asarray((ordered[row, (size - 1) // 2] + ordered[row, size // 2]) / 2)


def _kept(
    series: Sequence[Floats], found: Sequence[dict[int, _Significant]], alpha: float, ratio: float, least: float
) -> list[list[tuple[int, float, float]]]:
    """The cuts of each series that are changes between their neighbouring pieces, with the levels of these.

    The weakest goes first, and its pieces are joined.
    """
    cuts = [sorted(of_row) for of_row in found]
    known: dict[tuple[int, int, int, int], tuple[float, float, float]] = {}
    open_rows = [row for row, of_row in enumerate(cuts) if of_row]
    while open_rows:
        keys = {row: _pieces(row, cuts[row], int(series[row].size)) for row in open_rows}
        new = [key for of_row in keys.values() for key in of_row if key not in known]
        known.update(zip(new, _doubts(series, new, alpha, ratio, least), strict=True))
        still_open = []
        for row in open_rows:
            doubts = [known[key][0] for key in keys[row]]
            worst = max(range(len(doubts)), key=doubts.__getitem__)
            if doubts[worst] > 1.0:
                del cuts[row][worst]
                still_open += [row] if cuts[row] else []
        open_rows = still_open
    return [
        [(cut, *known[key][1:]) for cut, key in zip(of_row, _pieces(row, of_row, int(series[row].size)), strict=True)]
        for row, of_row in enumerate(cuts)
    ]


def _pieces(row: int, cuts: Sequence[int], n: int) -> list[tuple[int, int, int, int]]:
    """For each cut its row, the start of the piece before it, itself, and the end of the piece after it."""
    bounds = [0, *cuts, n]
    return [(row, *bounds[at : at + 3]) for at in range(len(cuts))]  # type: ignore[misc] # slices have any length


def _doubts(
    series: Sequence[Floats], pieces: Sequence[tuple[int, int, int, int]], alpha: float, ratio: float, least: float
) -> list[tuple[float, float, float]]:
    """The doubt in each cut between two neighbouring pieces, and their levels.

    The doubt is above 1 if they differ by too little or only by chance; larger means weaker.
    """
    width = max((stop - start for _, start, _, stop in pieces), default=0)
    values = np.full((len(pieces), width), np.inf)
    for place, (row, start, _, stop) in enumerate(pieces):
        values[place, : stop - start] = series[row][start:stop]
    bounds = np.array(pieces, np.int64).reshape(-1, 4)
    cuts, sizes = bounds[:, 2] - bounds[:, 1], bounds[:, 3] - bounds[:, 1]
    levels = _medians_between(values, np.zeros_like(cuts), cuts), _medians_between(values, cuts, sizes)
    found = []
    p_values = split_p_values(values, cuts, sizes)
    for before, after, p_value in zip(levels[0].tolist(), levels[1].tolist(), p_values, strict=True):
        change = abs(after - before)
        needed = max(ratio * abs(before), least)
        found.append((max(needed / change, p_value / alpha) if change else math.inf, before, after))
    return found


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
    """The p-value of a segment by Mann-Whitney, times the number of segments; 1 where permutations suffice.

    ``series`` are ranks from 0 on, each once.
    """
    if stretch.p_value > _WORTH_MORE_PERMUTATIONS:
        return 1.0
    n, m = series.size, stretch.stop - stretch.start
    # The number of pairs in which the value inside is larger, from the sum of its ranks.
    u = float(series[stretch.start : stretch.stop].sum()) - m * (m - 1) / 2
    apart = u in (0.0, float(m * (n - m)))
    p_value = smallest_p_value(m, n - m) if apart else untied_p_value(u, m, n - m)
    is_step = stretch.start == 0 or stretch.stop == n
    places = n - 2 * shortest + 1
    return min(1.0, p_value * (places if is_step else max(1, places * (places - 1) // 2)))


def noise(logs: Floats) -> Floats:
    """The standard deviation of each row about its level, which may change: from the steps between neighbours.

    For logarithms it is relative. NaN are gaps; the result is NaN for fewer than two values.
    """
    found = np.full(len(logs), np.nan)
    known = ~np.isnan(logs)
    counts = known.sum(axis=1)
    for n in np.unique(counts[counts > 1]).tolist():
        rows = np.flatnonzero(counts == n)
        sizes = np.abs(np.diff(logs[rows][known[rows]].reshape(-1, n), axis=1))
        usual = np.median(sizes, axis=1) / 0.6745
        # Most steps may be 0: then their mean.
        found[rows] = np.where(usual == 0.0, np.sqrt(np.pi / 2) * np.mean(sizes, axis=1), usual) / math.sqrt(2)
    return found


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
