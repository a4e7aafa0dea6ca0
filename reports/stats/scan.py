"""The strongest change of level in a series: a scan over normal scores, tested by permutation.

The statistic is that of circular binary segmentation (Olshen et al., Biostatistics 5, 2004) on normal scores: of all
stretches of the series, the one whose scores differ most from those of the rest, in standard deviations. A stretch that
touches an end is a step, one between the ends a rise with a return. Scores go by rank, which makes them proof against
heavy tails, and makes the distribution without a change the same for every series of one length that has no ties: that
is drawn once. Plain ranks would miss a change five points before the end of ninety, however large.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from reports.stats import Floats
from reports.stats.ranks import ranking

_DRAWN = 4_000_000  # stretches looked at for one distribution: about 30 ms
_FEWEST_PERMUTATIONS = 499
_MOST_PERMUTATIONS = 9999
_CHUNK = 250_000  # stretches at once: more than the processor's cache holds is slower
_SCREEN = 5.0  # how many times alpha a p-value may be that is worth permutations of its own


@dataclass(frozen=True, slots=True)
class Stretch:
    """The stretch [start, stop) that differs most from the rest, and how likely that is without any change."""

    start: int
    stop: int
    p_value: float


@dataclass(frozen=True, slots=True)
class _Stretches:
    """All stretches whose length, and that of what they leave on either side, is at least the shortest, or 0."""

    starts: npt.NDArray[np.intp]
    stops: npt.NDArray[np.intp]
    weights: Floats


def scan(values: Floats, shortest: int, alpha: float, seed: int = 0) -> Stretch | None:
    """The strongest stretch if its p-value is at most ``alpha``, else None; also None where all values are equal.

    ``values`` have no NaN; there are at least twice ``shortest``.
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
        p_value = _p_value(strength, _permuted(standard, stretches, seed))
    if p_value > alpha:
        return None
    return Stretch(int(stretches.starts[best]), int(stretches.stops[best]), p_value)


def scan_rows(values: Floats, shortest: int, seed: int = 0) -> list[Stretch]:
    """The strongest stretch of each row of a matrix without NaN and, but for rows of one value, without ties.

    Gives a p-value of 1 where there is no stretch.
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
    """The score of each half rank; the first two places stand for no rank."""
    normal = NormalDist()
    return np.array([0.0, 0.0, *(normal.inv_cdf(half / (2 * (n + 1))) for half in range(2, 2 * n + 1))])


def _strengths(standard: Floats, stretches: _Stretches) -> Floats:
    """For rows of standardised scores the standard deviations that each stretch is from the rest."""
    sums = np.zeros((standard.shape[0], standard.shape[1] + 1))
    np.cumsum(standard, axis=1, out=sums[:, 1:])
    found = sums[:, stretches.stops]
    found -= sums[:, stretches.starts]
    np.abs(found, out=found)
    found *= stretches.weights
    return found


def _p_value(strength: float, drawn: Floats) -> float:
    """The share of draws at least as strong, the series itself counted as one of them; never 0."""
    at_least = drawn.size - int(np.searchsorted(drawn, strength * (1 - 1e-12), side="left"))
    return (at_least + 1) / (drawn.size + 1)


def _rung(n: int) -> int:
    """The next length that a distribution is drawn for: longer by 6% at most, which makes p-values a little larger."""
    step = max(1, n // 16)
    return -(-n // step) * step


@lru_cache(maxsize=128)
def _without_change(n: int, shortest: int, seed: int) -> Floats:
    """The largest strengths of series of ``n`` ranks in random order, ascending."""
    return _permuted(_scores(np.arange(1.0, n + 1)), _stretches(n, shortest), seed)


def fewest_draws(n: int, shortest: int) -> int:
    """How many permutations stand behind the p-values of series of ``n`` values: none is smaller than 1 of them."""
    return _permutations(_stretches(_rung(n), shortest).weights.size) + 1


def _permutations(stretches: int) -> int:
    return min(_MOST_PERMUTATIONS, max(_FEWEST_PERMUTATIONS, _DRAWN // max(1, stretches)))


def _permuted(standard: Floats, stretches: _Stretches, seed: int) -> Floats:
    size = stretches.weights.size
    permutations = _permutations(size)
    random = np.random.default_rng(seed)
    drawn = np.empty(permutations)
    rows = max(1, _CHUNK // size)
    for first in range(0, permutations, rows):
        many = min(rows, permutations - first)
        shuffled = random.permuted(np.broadcast_to(standard, (many, standard.size)), axis=1)
        drawn[first : first + many] = _strengths(shuffled, stretches).max(axis=1)
    drawn.sort()
    return drawn


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
