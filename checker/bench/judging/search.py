"""Which level a stress test plays next: raised until one is bad, narrowed down, and both ends of the gap played again.

Pure: verdicts in, levels out. Every server that is good up to some level and bad above it ends between `last_good` and
`first_bad`, closer than the precision; one that is not steady is found out where a level is played twice, and then
`last_good` stays below every level that was ever bad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

_DIGITS = 12
"""More than any level is written with."""
_MIDDLE = 0.25
"""Of the gap, on each side: a level with few digits is taken as the middle if it is no closer to an end."""


class LevelVerdict(StrEnum):
    """What a level came to."""

    GOOD = "good"
    BAD = "bad"
    CLIENT_BOUND = "client_bound"
    """Neither: the load generator was the limit."""


class Purpose(StrEnum):
    """Why a level is played."""

    RAISE = "raise"
    LOWER = "lower"
    """Nothing was good yet."""
    NARROW = "narrow"
    CONFIRM_GOOD = "confirm_good"
    CONFIRM_BAD = "confirm_bad"
    """The last of all, so that the recovery behind it can be watched."""


@dataclass(frozen=True, slots=True)
class Step:
    """A level, and why it is played."""

    level: float
    purpose: Purpose


class Search(Struct, frozen=True, kw_only=True):
    """A search as far as it has come."""

    start: float
    factor: float
    maximum: float
    precision: float
    """Share of the last good level that the gap may be wide."""
    whole: bool = False
    """Levels are whole numbers (users); a gap of 1 is then narrow enough."""
    tried: tuple[tuple[Step, LevelVerdict], ...] = ()

    def then(self, step: Step, verdict: LevelVerdict) -> Search:
        """The search with one more level judged."""
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
        """Whether the load generator was the limit at a level twice in a row: nothing can be found out beyond it."""
        return len(self.tried) >= 2 and all(
            verdict is LevelVerdict.CLIENT_BOUND and step.level == self.tried[-1][0].level
            for step, verdict in self.tried[-2:]
        )

    @property
    def unsteady(self) -> tuple[float, ...]:
        """Levels that were good once and bad once."""
        return tuple(sorted(self._levels(LevelVerdict.GOOD) & self._levels(LevelVerdict.BAD)))

    def next_step(self) -> Step | None:
        """What to play now; None when all that can be found out has been."""
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
        """A level with few digits near the middle; None where the gap is narrow enough."""
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
