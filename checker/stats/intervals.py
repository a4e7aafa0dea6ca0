"""Confidence intervals of a ratio and of a quantile: Wilson's interval, and the ranks that enclose a quantile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from msgspec import Struct

_STUDENT_95 = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
)
FEWEST_INCIDENTS = 3
"""Fewest incidents for a useful interval from `outages`; for one incident it is 0 to 1."""
_LARGE_VARIANCE = 25.0
_ROUNDING = 1e-9  # 0.07 * 100 is a little above 7, and is meant to be 7


class Interval(Struct, frozen=True):
    """A confidence interval, both ends included."""

    low: float
    high: float


class Ranks(Struct, frozen=True):
    """The order statistics that enclose a quantile, 1 for the smallest value; None if no value is far enough out."""

    low: int | None
    high: int | None


class Quantile(Struct, frozen=True):
    """A quantile of a sample in the unit of its values; an end is None if the sample is too small for it."""

    value: float
    low: float | None
    high: float | None
    n: int


def wilson(successes: int, total: int, confidence: float = 0.95) -> Interval:
    """The score interval of a ratio (Wilson 1927), without continuity correction; 0 to 1 if ``total`` is 0.

    Raises ValueError unless 0 <= successes <= total.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} of {total} is no ratio")
    if total == 0:
        return Interval(0.0, 1.0)
    z2 = NormalDist().inv_cdf(_checked(confidence) / 2 + 0.5) ** 2
    ratio = successes / total
    center = (ratio + z2 / (2 * total)) / (1 + z2 / total)
    half = math.sqrt(z2 * (ratio * (1 - ratio) / total + z2 / (4 * total * total))) / (1 + z2 / total)
    # All or none are ends exactly; computed, they may miss it by a rounding.
    return Interval(
        0.0 if successes == 0 else min(ratio, center - half), 1.0 if successes == total else max(ratio, center + half)
    )


def outages(down: float, known: float, lengths: Sequence[float]) -> Interval:
    """The 95% interval of the share of time that was down, from the durations of the incidents, in any unit.

    Checks during one outage are not independent, so the random samples are the incidents: their number (Poisson) and
    their durations. The logarithm of their sum has a variance of about 1 over their effective number, (sum of lengths)²
    / (sum of squared lengths) (Kish, Survey Sampling, 1965); its interval is Student's with that many degrees of
    freedom. Bootstrapping the incidents gives the same for many, and too narrow an interval for few: percentile
    intervals of three to ten incidents contain the true value in 75 to 90 of 100 cases.

    Without an incident it is Wilson's of the ``known`` checks, which is valid as far as these are independent. One or
    two incidents tell almost nothing about the duration of the next one: `FEWEST_INCIDENTS`.
    """
    squares = sum(length**2 for length in lengths)
    if not down or not known or not squares:
        return wilson(round(down), round(known))
    effective = sum(lengths) ** 2 / squares
    reach = math.exp(student_95(effective) / math.sqrt(effective))
    share = down / known
    return Interval(share / reach, min(1.0, share * reach))


def student_95(free: float) -> float:
    """Half-width of the central 95% of Student's distribution, for 1 degree of freedom or more, rounded down to whole.

    A table: loading scipy.special for one number takes a third of a second of CPU time.
    """
    whole = max(1, int(free))
    return _STUDENT_95[whole - 1] if whole <= len(_STUDENT_95) else 1.95996 + 2.3722 / whole + 2.84 / whole**2


def fewest(q: float, confidence: float = 0.95) -> int:
    """The smallest sample whose interval of quantile ``q`` has two ends: 36 for 0.9, 368 for 0.99."""
    tail = (1 - _checked(confidence)) / 2
    return max(1, math.ceil(math.log(tail) / math.log(max(_checked(q), 1 - q)) - _ROUNDING))


def enough(n: int, q: float, confidence: float = 0.95) -> bool:
    """True if ``n`` values give quantile ``q`` an interval with two ends; if not, show it as open."""
    return n >= fewest(q, confidence)


@lru_cache(maxsize=4096)
def quantile_ranks(n: int, q: float, confidence: float = 0.95) -> Ranks:
    """The narrowest ranks that leave at most half of 1 - ``confidence`` on each side of quantile ``q``.

    The number of values below the quantile is binomial whatever their distribution (Conover, Practical Nonparametric
    Statistics, 3.2). This assumes independent values: those of one run are not quite independent.
    """
    tail = (1 - _checked(confidence)) / 2
    if n < 1:
        return Ranks(None, None)
    first, below = _binomial(n, _checked(q))
    low = first + int(np.searchsorted(below, tail * (1 + _ROUNDING), side="right"))
    # P(at least `rank` values are below): the complement of `below` one place to the left.
    above = 1.0 - np.concatenate(([0.0], below))
    high = first + int(np.argmax(above <= tail * (1 + _ROUNDING)))
    return Ranks(low if low >= 1 else None, high if high <= n else None)


def ranks_of_many(sizes: npt.ArrayLike, q: float, confidence: float = 0.95) -> npt.NDArray[np.int64]:
    """`quantile_ranks` of samples of many sizes at once, shape (samples, 2); 0 for an end beyond all values.

    If the variance of the number of values below the quantile is 25 or more, its quantiles are those of the
    Cornish-Fisher expansion to the third order (Fisher and Cornish, Technometrics 2, 1960): at most one rank beside the
    exact one.
    """
    given, sizes_of = np.unique(np.asarray(sizes, dtype=np.int64), return_inverse=True)
    found = np.zeros((given.size, 2), dtype=np.int64)
    large = given * q * (1 - q) >= _LARGE_VARIANCE
    found[large] = _expanded(given[large], q, confidence)
    for at in np.flatnonzero(~large).tolist():
        ranks = quantile_ranks(int(given[at]), q, confidence)
        found[at] = ranks.low or 0, ranks.high or 0
    return found[sizes_of.reshape(-1)]


def _expanded(sizes: npt.NDArray[np.int64], q: float, confidence: float) -> npt.NDArray[np.int64]:
    """The ranks of large samples, which have both ends."""
    n = sizes.astype(np.float64)
    deviation = np.sqrt(n * q * (1 - q))
    skew, excess = (1 - 2 * q) / deviation, (1 - 6 * q * (1 - q)) / deviation**2
    ends = []
    for z in (-NormalDist().inv_cdf(_checked(confidence) / 2 + 0.5), NormalDist().inv_cdf(confidence / 2 + 0.5)):
        bent = z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * excess / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
        ends.append(np.ceil(n * q + deviation * bent - 0.5).astype(np.int64))
    return np.column_stack((ends[0], ends[1] + 1))


def quantile(values: npt.ArrayLike, q: float, confidence: float = 0.95) -> Quantile:
    """Quantile ``q`` as an observed value (nearest rank) with its interval; NaN are dropped.

    Raises ValueError if no value is left.
    """
    ordered = np.asarray(values, dtype=np.float64)
    ordered = np.sort(ordered[~np.isnan(ordered)])
    n = int(ordered.size)
    if n == 0:
        raise ValueError("no values have no quantile")
    ranks = quantile_ranks(n, q, confidence)
    nearest = max(1, math.ceil(q * n - _ROUNDING))
    return Quantile(
        value=float(ordered[nearest - 1]),
        low=None if ranks.low is None else float(ordered[ranks.low - 1]),
        high=None if ranks.high is None else float(ordered[ranks.high - 1]),
        n=n,
    )


def _binomial(n: int, p: float) -> tuple[int, npt.NDArray[np.float64]]:
    """A count, and the distribution function of Binomial(n, p) from it on, over the range with noticeable mass.

    The masses come from the ratios of neighbours and are normalised to 1, which needs no gamma function.
    """
    mode = min(n, int((n + 1) * p))
    reach = int(12 * math.sqrt(n * p * (1 - p))) + 50
    first, last = max(0, mode - reach), min(n, mode + reach)
    counts = np.arange(first, last, dtype=np.float64)
    steps = np.log((n - counts) / (counts + 1)) + math.log(p / (1 - p))
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    masses = np.exp(logs - logs.max())
    return first, np.minimum(1.0, np.cumsum(masses / masses.sum()))


def _checked(share: float) -> float:
    if not 0 < share < 1:
        raise ValueError(f"{share} is not between 0 and 1")
    return share
