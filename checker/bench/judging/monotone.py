"""Whether a server did better under more load, which no queue does: the levels of a test are then not of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from checker.bench.results import LevelResult

_TIMES = 2.0
_P99_MS = 1.0
_FAILED_RATIO = 0.01


def better_under_more_load(levels: Sequence[LevelResult]) -> str:
    """The pair of levels that contradicts most, in words; empty where none does.

    Less load was worse if its p99 was more than twice that of a higher level, and by more than 1 ms, or if 1% more
    failed, and more than twice as much. A cold server at the first level looks like this, a cache that fills, and one
    that is given more machines under load. Levels at which the load generator was the limit are left out.
    """
    counted = sorted((result for result in levels if not result.client_bound), key=lambda result: result.level)
    pairs = [(low, high) for low, high in combinations(counted, 2) if low.level < high.level]
    failing = max(pairs, key=lambda pair: pair[0].failed_ratio - pair[1].failed_ratio, default=None)
    if failing is not None:
        less, more = failing
        if less.failed_ratio > max(_TIMES * more.failed_ratio, more.failed_ratio + _FAILED_RATIO):
            rates = f"{_percent(less.failed_ratio)} failed at {less.level:,g}, {_percent(more.failed_ratio)} at"
            return f"more load was not always worse: {rates} {more.level:,g}"
    slower = [
        (less.p99_ms / more.p99_ms, less, more)
        for less, more in pairs
        if less.p99_ms and more.p99_ms and less.p99_ms > max(_TIMES * more.p99_ms, more.p99_ms + _P99_MS)
    ]
    if not slower:
        return ""
    _, less, more = max(slower, key=lambda one: one[0])
    times = f"p99 was {less.p99_ms:,.3g} ms at {less.level:,g} and {more.p99_ms:,.3g} ms at {more.level:,g}"
    return f"more load was not always worse: {times}"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.3g}%"
