"""The way of an attempt to its origin: how many at once, how many a second, and not all in the same moment."""

from __future__ import annotations

import random
from time import perf_counter
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore, DummySemaphore

from checker.limits import Pace


class Waits:
    """What the attempts of one probe kind have waited for their turn; not on any attempt's clock."""

    __slots__ = ("count", "longest_us", "total_us")

    def __init__(self) -> None:
        self.count = self.total_us = self.longest_us = 0

    def add(self, seconds: float) -> None:
        """Count one wait."""
        spent_us = round(seconds * 1e6)
        self.count += 1
        self.total_us += spent_us
        self.longest_us = max(self.longest_us, spent_us)


class Lane:
    """Let an attempt through: ``with lane`` waits for its turn.

    ``slots`` is what all origins of a probe kind share; ``share`` is over how many workers this origin is spread.
    """

    def __init__(self, width: int, share: int, pace: Pace, slots: Any, waits: Waits) -> None:
        self._width = max(1, -(-width // share))
        self._places = BoundedSemaphore(self._width)
        self._slots: BoundedSemaphore | DummySemaphore = slots
        self._waits, self._jitter_s = waits, pace.jitter
        self._gap_s = 0.0 if pace.rate_per_origin is None else share / pace.rate_per_origin
        self._next_at = 0.0
        self._started = 0

    def __enter__(self) -> None:
        if not self._places.acquire(blocking=False):
            self._wait_for(self._places)
        try:
            if not self._slots.acquire(blocking=False):
                self._wait_for(self._slots)
        except BaseException:  # a cancelled run
            self._places.release()
            raise
        try:
            self._spread()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._slots.release()
        self._places.release()

    def _wait_for(self, places: Any) -> None:
        start = perf_counter()
        places.acquire()
        self._waits.add(perf_counter() - start)

    def _spread(self) -> None:
        """Keep to the rate; of the first burst let only one go at once: those after it come as places get free."""
        if self._gap_s:
            now = perf_counter()
            start_at = max(now, self._next_at)
            self._next_at = start_at + self._gap_s
            if start_at > now:
                self._waits.add(start_at - now)
                gevent.sleep(start_at - now)
        elif self._started < self._width:
            self._started += 1
            if self._started > 1 and self._jitter_s:
                gevent.sleep(random.uniform(0, self._jitter_s))  # noqa: S311 # nothing secret
