"""The closed model: users who each wait for a reply, and think, before their next operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic_ns
from typing import Any

import gevent

from checker.loadtest.arrivals import LevelSpan
from checker.loadtest.messages import STAGES
from checker.loadtest.worker.target import Notes, Target


class RateLimiter:
    """A rate limiter with evenly spaced turns, at most a given number per second; without a rate there is no wait."""

    def __init__(self, per_s: float | None) -> None:
        self._gap_ns = 0 if per_s is None else round(1e9 / per_s)
        self._free_ns = 0

    def turn(self, now_ns: int) -> int:
        """Take the next turn; returns the nanoseconds until it starts."""
        at_ns = max(self._free_ns, now_ns)
        self._free_ns = at_ns + self._gap_ns
        return at_ns - now_ns


_LOOK_S = 0.02
_SHORTEST_NS = 5_000_000
_PAUSE_S = 0.01
"""Pause of a user whose operation ended at once without a slot or an answer: retrying faster would overload any
server."""


class ClosedLoad:
    """Implements `checker.loadtest.worker.target.Load`; this worker's share of the users of one scenario."""

    def __init__(
        self,
        epoch_ns: int,
        worker: int,
        workers: int,
        think_s: float,
        paces: Sequence[Sequence[RateLimiter]],
        notes: Notes,
    ) -> None:
        self._epoch_ns, self._worker, self._workers = epoch_ns, worker, workers
        self._think_s, self._notes = think_s, notes
        self._paces = paces
        """For each target, the rate limiters that apply to it."""
        self._targets: Sequence[Target] = ()
        self._spans: Sequence[LevelSpan] = ()
        self._turns: list[int] = []
        """User -> number of operations that it has begun."""
        self._begun_ns: list[int] = []
        self._parked: list[int] = []
        self._wanted = self._stage = 0
        self._loop = gevent.get_hub().loop
        self._timer: Any = None
        self.in_flight = self.most_in_flight = 0
        self.most_backlog = self.waiting = 0
        self.over = False

    def start(self, targets: Sequence[Target], spans: Sequence[LevelSpan]) -> None:
        """Add and remove users as the level requires; each user takes the servers in turn."""
        self._targets = targets
        self.replan(spans)
        self._timer = self._loop.timer(0.0, _LOOK_S)
        self._timer.start(self._look, update=True)

    def replan(self, spans: Sequence[LevelSpan]) -> None:
        """Follow another plan from now on."""
        self._spans = spans

    def ended(self, user: int) -> None:
        """Handle the end of a user's operation."""
        self.in_flight -= 1
        pause_s = self._think_s
        if monotonic_ns() - self._begun_ns[user] < _SHORTEST_NS and self._last_failed():
            pause_s = max(pause_s, _PAUSE_S)
        if pause_s > 0:
            self._later(pause_s, lambda: self._go_on(user))
        else:
            self._go_on(user)

    @property
    def is_done(self) -> bool:
        """True if all users have left."""
        return self.over and not self.in_flight

    def give_up_waiting(self) -> None:
        """Does nothing: nothing is queued in this model."""

    def close(self) -> None:
        """Close the load: no user begins another operation."""
        self.over = True
        self._wanted = 0
        if self._timer is not None:
            self._timer.close()

    def _look(self) -> None:
        """Add users up to the present level; users above it leave after their reply."""
        at_s = (monotonic_ns() - self._epoch_ns) / 1e9
        span = next((one for one in self._spans if one.from_s <= at_s < one.until_s), None)
        if span is None:
            self._wanted = 0
            self.over = not self._spans or at_s >= self._spans[-1].until_s
            return
        self._stage = span.stage
        users = round(span.level(at_s))
        self._wanted = len(range(self._worker, users, self._workers))
        while len(self._turns) < self._wanted:
            self._parked.append(len(self._turns))
            self._turns.append(0)
            self._begun_ns.append(0)
        for user in [one for one in self._parked if one < self._wanted]:
            self._parked.remove(user)
            self._go_on(user)

    def _go_on(self, user: int) -> None:
        """Begin the user's next operation, or remove the user."""
        if user >= self._wanted or self.over:
            self._parked.append(user)
            return
        turn = self._turns[user]
        self._turns[user] = turn + 1
        targets = self._targets
        place = (self._worker + user * self._workers + turn) % len(targets)
        now_ns = monotonic_ns()
        wait_ns = max([pace.turn(now_ns) for pace in self._paces[place]])
        if wait_ns:
            self._later(wait_ns / 1e9, lambda: self._begin(user, targets[place]))
        else:
            self._begin(user, targets[place])

    def _begin(self, user: int, target: Target) -> None:
        if self.over:
            self._parked.append(user)
            return
        now_ns = self._begun_ns[user] = monotonic_ns()
        key = target.series * STAGES + self._stage
        if target.begin(key, now_ns, 0, user):
            self._notes.arrivals.extend((key, now_ns))
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        else:
            self._later(_PAUSE_S, lambda: self._go_on(user))

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        timer = self._loop.timer(seconds)

        def wake() -> None:
            timer.close()
            what()

        timer.start(wake, update=True)

    def _last_failed(self) -> bool:
        """True if the last recorded sample is a failure."""
        samples = self._notes.samples
        return len(samples) >= 7 and samples[-6] >= 4
