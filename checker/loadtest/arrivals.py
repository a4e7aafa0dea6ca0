"""The schedule of arrivals: the planned level over time, and the moments at which it calls for the next arrival."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from math import sqrt
from random import Random

from msgspec.structs import replace

from checker.structs import Record


class LevelSpan(Record, frozen=True):
    """A period in which the level changes linearly."""

    from_s: float
    until_s: float
    start: float
    """Level at the start: arrivals per second, or users."""
    end: float
    stage: int = 0
    """Index of its stage."""

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.until_s - self.from_s

    @property
    def arrivals(self) -> float:
        """The number of arrivals that the level calls for from its start to its end."""
        return (self.start + self.end) / 2 * self.seconds

    def level(self, at_s: float) -> float:
        """The level at a moment within the span."""
        if self.seconds <= 0:
            return self.end
        return self.start + (self.end - self.start) * (at_s - self.from_s) / self.seconds

    def times(self, share: float) -> LevelSpan:
        """The span with its level multiplied by a factor."""
        return replace(self, start=self.start * share, end=self.end * share)

    def moment(self, nth: float) -> float:
        """The moment at which the level has called for this many arrivals since the start of the span.

        The level is r + a t, so the moment is the root of a t^2 / 2 + r t = n, in the form that also holds for a = 0.
        """
        slope = (self.end - self.start) / self.seconds if self.seconds > 0 else 0.0
        root = sqrt(max(0.0, self.start * self.start + 2 * slope * nth))
        below = self.start + root
        return min(self.until_s, self.from_s + (2 * nth / below if below > 0 else self.seconds))


def level_at(spans: Sequence[LevelSpan], at_s: float) -> float:
    """The level at a moment; 0 before the first stage and after the last one."""
    for span in spans:
        if span.from_s <= at_s < span.until_s:
            return span.level(at_s)
    return 0.0


def even(spans: Sequence[LevelSpan], worker: int, workers: int) -> Iterator[tuple[float, int, int]]:
    """Moment, number and stage of each arrival of this worker, evenly spaced; every ``workers``-th arrival is its own.

    An arrival lies in the middle of its interval, so that none falls on the boundary of a stage.
    """
    return _placed(spans, (number + 0.5 for number in count(worker, workers)), worker, workers)


def poisson(spans: Sequence[LevelSpan], worker: int, workers: int, random: Random) -> Iterator[tuple[float, int, int]]:
    """As `even`, but a Poisson process: independent callers. The sum of the workers' arrivals is one, too."""

    def totals() -> Iterator[float]:
        total = 0.0
        while True:
            total += random.expovariate(1.0) * workers
            yield total

    return _placed(spans, totals(), worker, workers)


def _placed(
    spans: Sequence[LevelSpan], totals: Iterator[float], worker: int, workers: int
) -> Iterator[tuple[float, int, int]]:
    """The moment at which the level has called for each total of arrivals."""
    before, numbers = 0.0, count(worker, workers)
    total = next(totals)
    for span in spans:
        until = before + span.arrivals
        while total < until:
            yield span.moment(total - before), next(numbers), span.stage
            total = next(totals)
        before = until
