"""Limits on attempts at an origin: concurrency, rate, and spreading of the first burst."""

from __future__ import annotations

import random
from collections import deque
from time import perf_counter
from typing import Any

import gevent

from checker.limits import Pace
from checker.worker.greenlets import Waiter


class Waits:
    """Time that the attempts of one probe kind waited for their turn; not counted on any attempt's clock."""

    __slots__ = ("count", "longest_us", "paced", "paced_us", "total_us")

    def __init__(self) -> None:
        self.count = self.total_us = self.longest_us = 0
        self.paced = self.paced_us = 0
        """Those of the waits caused by the configured pace alone."""

    def add(self, seconds: float) -> None:
        """Count one wait."""
        spent_us = round(seconds * 1e6)
        self.count += 1
        self.total_us += spent_us
        self.longest_us = max(self.longest_us, spent_us)


class Places:
    """A concurrency limit with a first-come, first-served queue; with a semaphore newcomers could overtake waiters.

    Waiting is two switches and nothing else, because at a busy origin every attempt waits.
    """

    __slots__ = ("_waiting", "free")

    def __init__(self, most: float) -> None:
        self.free = most
        self._waiting: deque[Waiter] | None = None
        """Made by the first that waits: most origins of a large fleet never have one."""

    def take(self) -> float:
        """Take a place; returns the seconds waited for it, 0 if one was free."""
        if self.free > 0:
            self.free -= 1
            return 0.0
        start, turn = perf_counter(), Waiter()
        waiting = self._waiting = self._waiting or deque()
        waiting.append(turn)
        hub: Any = gevent.get_hub()
        try:
            hub.switch()
        except BaseException:  # a cancelled run
            if turn.has_come:
                self.give_back()
            else:
                waiting.remove(turn)
            raise
        finally:
            turn.greenlet = None
        return perf_counter() - start

    def give_back(self) -> None:
        """Hand the place to the longest waiter, if there is one."""
        if self._waiting:
            turn = self._waiting.popleft()
            turn.has_come = True
            hub: Any = gevent.get_hub()
            hub.loop.run_callback(turn.go_on)
        else:
            self.free += 1


class OriginLimit:
    """Let an attempt through: ``with lane`` waits for its turn.

    ``width`` is the concurrency limit; ``slots`` is shared by all origins of a probe kind, ``total`` by all kinds;
    ``share`` is the number of workers that this origin is spread over.
    """

    __slots__ = (
        "_gap_s",
        "_jitter_s",
        "_next_at",
        "_places",
        "_slots",
        "_spreads",
        "_started",
        "_total",
        "_waits",
        "_width",
    )

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
        for one in (self._total, self._slots, self._places):
            if one._waiting:
                one.give_back()
            else:
                one.free += 1

    def _spread(self) -> float:
        """Keep to the rate; of the first burst let only one start at once: the others start as places become free.

        Returns the seconds waited for the rate; being spread does not count as waiting for others.
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
