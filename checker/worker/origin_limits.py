"""The way of an attempt to its origin: how many at once, how many a second, and not all in the same moment."""

from __future__ import annotations

import random
from collections import deque
from time import perf_counter
from typing import Any

import gevent
from gevent.event import AsyncResult

from checker.limits import Pace


class Waits:
    """What the attempts of one probe kind have waited for their turn; not on any attempt's clock."""

    __slots__ = ("count", "longest_us", "paced", "paced_us", "total_us")

    def __init__(self) -> None:
        self.count = self.total_us = self.longest_us = 0
        self.paced = self.paced_us = 0
        """Of these: waits for the pace that was asked for, and for nothing else."""

    def add(self, seconds: float) -> None:
        """Count one wait."""
        spent_us = round(seconds * 1e6)
        self.count += 1
        self.total_us += spent_us
        self.longest_us = max(self.longest_us, spent_us)


class Places:
    """So many at once, and the rest in the order they came; with a semaphore who comes would overtake who waits."""

    __slots__ = ("_waiting", "free")

    def __init__(self, most: float) -> None:
        self.free = most
        self._waiting: deque[AsyncResult[Any]] = deque()

    def take(self) -> float:
        """Take a place; the seconds waited for it, 0 where one was free."""
        if self.free > 0:
            self.free -= 1
            return 0.0
        start = perf_counter()
        turn: AsyncResult[Any] = AsyncResult()
        self._waiting.append(turn)
        try:
            turn.get()
        except BaseException:  # a cancelled run
            if turn.ready():
                self.give_back()
            else:
                self._waiting.remove(turn)
            raise
        return perf_counter() - start

    def give_back(self) -> None:
        """Hand the place to who has waited for longest, if somebody does."""
        if self._waiting:
            self._waiting.popleft().set(None)
        else:
            self.free += 1


class OriginLimit:
    """Let an attempt through: ``with lane`` waits for its turn.

    ``width`` is how many at once; ``slots`` is what all origins of a probe kind share, ``total`` what all kinds do;
    ``share`` is over how many workers this origin is spread.
    """

    def __init__(self, width: int, share: int, pace: Pace, slots: Places, total: Places, waits: Waits) -> None:
        self._width = width
        self._places = Places(self._width)
        self._slots, self._total, self._waits, self._jitter_s = slots, total, waits, pace.jitter
        self._gap_s = 0.0 if pace.rate_per_origin is None else share / pace.rate_per_origin
        self._next_at = 0.0
        self._started = 0
        self._spreads = True

    def __enter__(self) -> None:
        places, slots, total = self._places, self._slots, self._total
        if places.free > 0 and slots.free > 0 and total.free > 0 and not self._spreads:  # nearly always
            places.free -= 1
            slots.free -= 1
            total.free -= 1
            return
        waited_s, taken = 0.0, list[Places]()
        try:
            for one in (places, slots, total):
                waited_s += one.take()
                taken.append(one)
        except BaseException:  # a cancelled run
            for one in reversed(taken):
                one.give_back()
            raise
        try:
            paced_s = self._spread() if self._spreads else 0.0
        except BaseException:
            self.__exit__()
            raise
        if waited_s or paced_s:
            self._waits.add(waited_s + paced_s)
            if paced_s:  # with a place at once it would have begun no sooner
                self._waits.paced += 1
                self._waits.paced_us += round((waited_s + paced_s) * 1e6)

    def __exit__(self, *_: object) -> None:
        self._total.give_back()
        self._slots.give_back()
        self._places.give_back()

    def _spread(self) -> float:
        """Keep to the rate; of the first burst let only one go at once: those after it come as places get free.

        Gives the seconds waited for the rate; being spread is no wait for others.
        """
        if self._gap_s:
            now = perf_counter()
            start_at = max(now, self._next_at)
            self._next_at = start_at + self._gap_s
            if start_at > now:
                gevent.sleep(start_at - now)
                return start_at - now
            return 0.0
        self._started += 1
        self._spreads = self._started < self._width
        if self._started > 1 and self._jitter_s:
            gevent.sleep(random.uniform(0, self._jitter_s))  # noqa: S311 # nothing secret
        return 0.0
