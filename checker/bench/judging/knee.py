"""The level from which on more load brings mostly more latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from checker.bench.results import LevelResult

_STEP_RATIO = 0.2
"""Smallest rise of the load that is looked at: over smaller ones the noise is larger than what changes."""
_GAIN_RATIO = 0.1
_P99_RATIO = 0.5
_P99_MS = 1.0
"""Smallest rise of p99 that means anything."""
_FAILED_RATIO = 0.001


@dataclass(frozen=True, slots=True)
class Knee:
    """Where the curve bends."""

    level: float
    why: str
    """What changed from there to the next level."""


def knee(levels: Sequence[LevelResult], noise_ms: float = 0.0) -> Knee | None:
    """The first level of a stress test from which a step up shows one of three signs; None where none does.

    The signs: less than 10% more is achieved while p99 rises by more than half; p99 rises by more than half, and per
    added load more than twice as steeply as in the step before; the share that fails doubles. Steps of less than 20%
    more load are passed over. Where a level was played twice the better time counts: what disturbs from outside only
    makes it worse. Levels at which the load generator was the limit are left out. A rise of p99 within the
    noise of the client, or below a millisecond, is none: twice a tiny median is tiny.
    """
    steps = list(pairwise(_spaced(levels)))
    for at, (low, high) in enumerate(steps):
        if why := _sign(low, high, _slope(*steps[at - 1]) if at else None, max(_P99_MS, noise_ms)):
            return Knee(low.level, f"from {low.level:,g} to {high.level:,g} {why}")
    return None


def _spaced(levels: Sequence[LevelResult]) -> list[LevelResult]:
    """One result of each level, rising by a step that is large enough."""
    best: dict[float, LevelResult] = {}
    for result in levels:
        if result.client_bound:
            continue
        before = best.get(result.level)
        if before is None or _badness(result) < _badness(before):
            best[result.level] = result
    kept: list[LevelResult] = []
    for level in sorted(best):
        if not kept or level >= kept[-1].level * (1 + _STEP_RATIO):
            kept.append(best[level])
    return kept


def _badness(result: LevelResult) -> tuple[float, float]:
    return (result.failed_ratio, float("inf") if result.p99_ms is None else result.p99_ms)


def _slope(low: LevelResult, high: LevelResult) -> float | None:
    """Milliseconds of p99 per added load."""
    if low.p99_ms is None or high.p99_ms is None:
        return None
    return (high.p99_ms - low.p99_ms) / (high.level - low.level)


def _sign(low: LevelResult, high: LevelResult, slope_before: float | None, least_ms: float) -> str | None:
    """What bends in this step, in words."""
    if high.failed_ratio > max(_FAILED_RATIO, 2 * low.failed_ratio):
        return f"failures rose from {_percent(low.failed_ratio)} to {_percent(high.failed_ratio)}"
    if low.p99_ms is None or high.p99_ms is None:
        return None
    rise_ms = high.p99_ms - low.p99_ms
    if rise_ms <= max(least_ms, _P99_RATIO * low.p99_ms):
        return None
    rose = f"p99 rose from {low.p99_ms:,.3g} to {high.p99_ms:,.3g} ms"
    gain = high.achieved_per_s / low.achieved_per_s - 1 if low.achieved_per_s else 0.0
    if gain < _GAIN_RATIO:
        return f"{rose} and only {_percent(max(0.0, gain))} more was achieved"
    slope = _slope(low, high)
    if slope is not None and slope_before is not None and slope > 2 * max(0.0, slope_before):
        return f"{rose}, more than twice as steeply as in the step before"
    return None


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.3g}%"
