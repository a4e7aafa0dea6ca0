"""How far two medians are apart, with the interval that resampling gives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from reports.stats import Floats

_DRAWN_AT_ONCE = 1_000_000  # places: 8 MB


@dataclass(frozen=True, slots=True)
class Difference:
    """Median of the candidate - median of the baseline, in the unit of the values, with its bootstrap interval."""

    value: float
    low: float
    high: float


def median_difference(
    baseline: npt.ArrayLike, candidate: npt.ArrayLike, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """How far the medians are apart, with the percentile interval; the same seed gives the same ends.

    Either side is resampled alone. NaN are dropped. Give it block statistics, not single requests, which are too much
    alike to be resampled one by one. Raises ValueError if a side has no values.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    before, after = _ascending(baseline), _ascending(candidate)
    if min(before.size, after.size) == 0:
        raise ValueError("no values have no median")
    moved = _medians(after, resamples, seed, side=1) - _medians(before, resamples, seed, side=0)
    tail = (1 - confidence) / 2
    low, high = np.quantile(moved, [tail, 1 - tail])
    return Difference(float(np.median(after) - np.median(before)), float(low), float(high))


def _medians(ascending: Floats, resamples: int, seed: int, side: int) -> Floats:
    lower, upper = _middles(int(ascending.size), resamples, seed, side)
    return np.asarray((ascending[lower] + ascending[upper]) / 2, dtype=np.float64)


@lru_cache(maxsize=64)
def _middles(n: int, resamples: int, seed: int, side: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The places of the two middle values of each resample.

    Which places are drawn does not depend on the values: series of one length share the draws, and the sorting.
    """
    random = np.random.default_rng((seed, side))
    middles = np.empty((2, resamples), dtype=np.intp)
    rows = max(1, _DRAWN_AT_ONCE // n)
    for first in range(0, resamples, rows):
        places = random.integers(0, n, (min(rows, resamples - first), n))
        places.sort(axis=1)
        middles[:, first : first + rows] = places[:, [(n - 1) // 2, n // 2]].T
    return middles[0], middles[1]


def _ascending(values: npt.ArrayLike) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    return np.sort(given[~np.isnan(given)])
