"""Limits on attempts at an origin: concurrency, rate, and spreading of the first burst."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

import gevent

from checker.limits import Pace
from checker.messages import Task
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


Held = tuple[Task, float]
"""A task that waits for a place at its origin, and the `perf_counter` moment since which it does."""


class Due:
    """Tasks that were held at their origin and may begin now; ``wake`` is called when nobody else will take them."""

    __slots__ = ("holding", "tasks", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.tasks: deque[Held] = deque()
        self.wake = wake
        self.holding: set[OriginLimit] = set()
        """Limits at which a task is or was held."""

    def look(self) -> None:
        """Take what is held although there is a place: a task whose turn it was may have ended without an attempt."""
        for limit in tuple(self.holding):
            if not limit.held:
                self.holding.remove(limit)
            elif not limit.is_full:
                self.tasks.append(limit.held.popleft())


class OriginLimit:
    """Let an attempt through: ``with lane`` waits for its turn.

    ``width`` is the concurrency limit; ``slots`` is shared by all origins of a probe kind, ``total`` by all kinds;
    ``share`` is the number of workers that this origin is spread over.

    A task may be held here until there is a place, so that no greenlet waits that others could use: the end of an
    attempt puts the first of them into ``due``, and mostly the same greenlet takes it, with the same connection.
    """

    __slots__ = (
        "_due",
        "_expected",
        "_gap_s",
        "_held_since",
        "_jitter_s",
        "_next_at",
        "_places",
        "_slots",
        "_spreads",
        "_started",
        "_total",
        "_waits",
        "_width",
        "held",
    )

    def __init__(
        self,
        width: int,
        share: int,
        pace: Pace,
        slots: Places,
        total: Places,
        waits: Waits,
        due: Due | None = None,
    ) -> None:
        self._width, self._due = width, due
        self.held: deque[Held] | None = None
        """Made by the first that is held."""
        self._held_since = 0.0
        self._expected = 0
        """Attempts that will follow after a backoff."""
        self._places = Places(self._width)
        self._slots, self._total, self._waits, self._jitter_s = slots, total, waits, pace.jitter
        self._gap_s = 0.0 if pace.rate_per_origin is None else share / pace.rate_per_origin
        self._next_at = 0.0
        self._started = 0
        self._spreads = True

    def takes(self, task: Task, since: float) -> bool:
        """True if an attempt may begin; else the task is held, by which it is not overtaken by later ones.

        ``since`` is the moment since which it has been held, 0 for a new one; the next attempt counts it as a wait.
        """
        held = self.held
        if self._places.free > 0 and (since or not held):
            if not held or held[0][1] >= since or self._due is None:
                self._held_since = since
                return True
            self._due.tasks.appendleft(held.popleft())  # an attempt between two backoffs had taken its place
        if held is None:
            held = self.held = deque()
        if self._due is not None:
            self._due.holding.add(self)
        place = 0
        while since and place < len(held) and held[place][1] < since:
            place += 1
        held.insert(place if since else len(held), (task, since or perf_counter()))
        return False

    def take_held(self) -> list[Task]:
        """Remove the tasks that are held."""
        held, self.held = self.held or (), None
        return [task for task, _ in held]

    @property
    def is_full(self) -> bool:
        """True if an attempt that begins now has to wait for a place."""
        return self._places.free <= 0

    @property
    def is_at_rest(self) -> bool:
        """True if it limits nobody at present, and will not limit who comes next."""
        in_use = self._expected or self.held or self._places.free < self._width
        return not in_use and self._next_at <= perf_counter()

    def back_off(self, seconds: float) -> None:
        """Wait between two attempts; meanwhile the place is somebody else's."""
        self._expected += 1
        try:
            if self._due is not None and self._due.tasks:
                self._due.wake()
            gevent.sleep(seconds)
        finally:
            self._expected -= 1

    def __enter__(self) -> None:
        places, slots, total = self._places, self._slots, self._total
        if (
            places.free > 0 and slots.free > 0 and total.free > 0 and not self._spreads and not self._held_since
        ):  # nearly always
            places.free -= 1
            slots.free -= 1
            total.free -= 1
            return
        waited_s, taken = 0.0, list[Places]()
        if self._held_since:
            waited_s, self._held_since = perf_counter() - self._held_since, 0.0
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
        places, slots, total = self._places, self._slots, self._total
        if total._waiting or slots._waiting or places._waiting:
            for one in (total, slots, places):
                one.give_back()
        else:
            total.free += 1
            slots.free += 1
            places.free += 1
        if self.held and self._due is not None and self._places.free > 0:
            self._due.tasks.append(self.held.popleft())

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
