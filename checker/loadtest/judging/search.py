"""The search of a stress test: its next level, and the knee from which more load brings mostly more latency.

Pure: verdicts in, levels out. For every server that is good up to some level and bad above it the search ends between
`last_good` and `first_bad`, closer than the precision. A server whose results vary is noticed where a level is played
twice, and then `last_good` stays below every level that was ever bad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from checker.loadtest.results import LevelResult

_STEP_RATIO = 0.2
"""Smallest step of load that is examined: over smaller ones noise exceeds the change."""
_GAIN_RATIO = 0.1
_P99_RATIO = 0.5
_P99_MS = 1.0
"""Smallest rise of p99 that is significant."""
_FAILED_RATIO = 0.001


@dataclass(frozen=True, slots=True)
class Knee:
    """The point where the curve bends."""

    level: float
    why: str
    """The change from there to the next level."""


def knee(levels: Sequence[LevelResult], noise_ms: float = 0.0) -> Knee | None:
    """The first level of a stress test at which a step up shows one of three signs of a knee; None if none does.

    The signs: throughput rises by less than 10% while p99 rises by more than half; p99 rises by more than half, and per
    added load more than twice as steeply as in the step before; the failure rate doubles. Steps of less than 20%
    more load are skipped. If a level was played twice the better result counts: outside disturbances can only
    make it worse. Levels at which the load generator was the limit are left out. A rise of p99 within the
    load generator's noise, or below a millisecond, does not count: twice a tiny median is tiny.
    """
    steps = list(pairwise(_spaced(levels)))
    for at, (low, high) in enumerate(steps):
        if why := _sign(low, high, _slope(*steps[at - 1]) if at else None, max(_P99_MS, noise_ms)):
            return Knee(low.level, f"from {low.level:,g} to {high.level:,g} {why}")
    return None


def _spaced(levels: Sequence[LevelResult]) -> list[LevelResult]:
    """One result for each level, with levels at least a minimum step apart."""
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
    """Rise of p99 in milliseconds per unit of added load."""
    if low.p99_ms is None or high.p99_ms is None:
        return None
    return (high.p99_ms - low.p99_ms) / (high.level - low.level)


def _sign(low: LevelResult, high: LevelResult, slope_before: float | None, least_ms: float) -> str | None:
    """A description of the sign of a knee in this step."""
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


_DIGITS = 12
"""More digits than any level has."""
_MIDDLE = 0.25
"""Share of the gap, on each side: a round level counts as the middle if it is no closer to an end."""


class LevelVerdict(StrEnum):
    """The verdict on a level."""

    GOOD = "good"
    BAD = "bad"
    CLIENT_BOUND = "client_bound"
    """Neither good nor bad: the load generator was the limit."""


class Purpose(StrEnum):
    """The purpose of playing a level."""

    RAISE = "raise"
    LOWER = "lower"
    """No level was good so far."""
    NARROW = "narrow"
    CONFIRM_GOOD = "confirm_good"
    CONFIRM_BAD = "confirm_bad"
    """The last level of all, so that the recovery after it can be watched."""


@dataclass(frozen=True, slots=True)
class Step:
    """A level to play, and its purpose."""

    level: float
    purpose: Purpose


class Search(Struct, frozen=True, kw_only=True):
    """The state of a search."""

    start: float
    factor: float
    maximum: float
    precision: float
    """Largest width of the gap, as a share of the last good level."""
    whole: bool = False
    """Levels are whole numbers (users); a gap of 1 is then narrow enough."""
    tried: tuple[tuple[Step, LevelVerdict], ...] = ()

    def then(self, step: Step, verdict: LevelVerdict) -> Search:
        """The search after one more verdict."""
        return replace(self, tried=(*self.tried, (step, verdict)))

    @property
    def first_bad(self) -> float | None:
        """The lowest level that was ever bad."""
        return min(self._levels(LevelVerdict.BAD), default=None)

    @property
    def last_good(self) -> float | None:
        """The highest good level below every bad one."""
        bad = self.first_bad
        return max((level for level in self._levels(LevelVerdict.GOOD) if bad is None or level < bad), default=None)

    @property
    def ended_by_client(self) -> bool:
        """True if the load generator was the limit at a level twice in a row: the search can learn nothing above it."""
        return len(self.tried) >= 2 and all(
            verdict is LevelVerdict.CLIENT_BOUND and step.level == self.tried[-1][0].level
            for step, verdict in self.tried[-2:]
        )

    @property
    def unsteady(self) -> tuple[float, ...]:
        """Levels that were good once and bad once."""
        return tuple(sorted(self._levels(LevelVerdict.GOOD) & self._levels(LevelVerdict.BAD)))

    def next_step(self) -> Step | None:
        """The next level to play; None when the search is complete."""
        if self.ended_by_client:
            return None
        if self.tried and self.tried[-1][1] is LevelVerdict.CLIENT_BOUND:
            return self.tried[-1][0]  # once more: it may have been a moment of the machine
        good, bad = self.last_good, self.first_bad
        if bad is None:
            return self._raised(good)
        if good is None:
            lower = self._rounded(bad / max(2.0, self.factor))
            if lower >= min(1.0, self.start) and lower < bad:
                return Step(lower, Purpose.LOWER)
        elif (level := self._between(good, bad)) is not None:
            return Step(level, Purpose.NARROW)
        done = {step.purpose for step, _ in self.tried}
        if good is not None and Purpose.CONFIRM_GOOD not in done:
            return Step(good, Purpose.CONFIRM_GOOD)
        return None if Purpose.CONFIRM_BAD in done else Step(bad, Purpose.CONFIRM_BAD)

    def _levels(self, verdict: LevelVerdict) -> set[float]:
        return {step.level for step, found in self.tried if found is verdict}

    def _raised(self, good: float | None) -> Step | None:
        if good is None:
            return Step(min(self.maximum, self._rounded(self.start)), Purpose.RAISE)
        if good >= self.maximum:
            return None
        least = good + 1 if self.whole else good
        return Step(min(self.maximum, max(least, self._rounded(good * self.factor))), Purpose.RAISE)

    def _rounded(self, level: float) -> float:
        return float(max(1, round(level))) if self.whole else float(f"{level:.{_DIGITS}g}")

    def _between(self, good: float, bad: float) -> float | None:
        """A round level near the middle of the gap; None if the gap is narrow enough."""
        gap = bad - good
        if gap <= self.precision * good or (self.whole and gap <= 1):
            return None
        low, high = good + _MIDDLE * gap, bad - _MIDDLE * gap
        middle = math.sqrt(good * bad) if low <= math.sqrt(good * bad) <= high else good + gap / 2
        if self.whole:
            return float(min(bad - 1, max(good + 1, round(middle))))
        for digits in range(1, _DIGITS):
            level = float(f"{middle:.{digits}g}")
            if low <= level <= high:
                return level
        return middle
