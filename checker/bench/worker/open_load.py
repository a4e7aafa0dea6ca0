"""The open model: operations begin when they are due, whether or not the ones before have been answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from time import monotonic_ns

from checker.bench.news import DROPPED, STAGES, WAITED
from checker.bench.worker.alarm import Alarm
from checker.bench.worker.notes import Notes
from checker.bench.worker.target import Target

_AT_ONCE = 32
"""Arrivals begun before the loop may look for answers: more would make those look late."""

Due = Iterator[tuple[float, int, int]]
"""Moments in seconds from the epoch, with the number and the stage of what is due then."""


class OpenLoad:
    """Implements `checker.bench.worker.target.Load`; one scenario's share of this worker."""

    def __init__(self, epoch_ns: int, most: int, notes: Notes) -> None:
        self._epoch_ns, self._most, self._notes = epoch_ns, most, notes
        self._targets: Sequence[Target] = ()
        self._due: Due = iter(())
        self._backlogs: dict[int, deque[tuple[int, int]]] = {}
        """Place of a target -> moment and key of what waits for it."""
        self.waiting = 0
        """Arrivals for which there is no place yet."""
        self._at_ns = self._number = self._stage = 0
        self._alarm = Alarm(self._ring)
        self.in_flight = self.most_in_flight = self.most_backlog = 0
        self.over = False
        """Whether nothing will be due any more."""

    def start(self, targets: Sequence[Target], due: Due) -> None:
        """Begin; targets take turns."""
        self._targets = targets
        self._backlogs = {place: deque() for place in range(len(targets))}
        self.replan(due)

    def replan(self, due: Due) -> None:
        """From now on follow another plan; what is before now in it is left out."""
        self._due, self.over = due, False
        now_ns = monotonic_ns()
        self._next()
        while not self.over and self._at_ns < now_ns - 1_000_000_000:
            self._next()
        self._arm()

    def ended(self, user: int) -> None:
        """A place is free: for what waits, if anything does."""
        self.in_flight -= 1
        if self.waiting:
            self._take_waiting()

    @property
    def is_done(self) -> bool:
        """Whether everything that was due has been answered."""
        return self.over and not self.in_flight and not self.waiting

    def give_up_waiting(self) -> None:
        """Drop what waits for a place."""
        code = self._notes.code(DROPPED)
        now_ns = monotonic_ns()
        for waiting in self._backlogs.values():
            for at_ns, key in waiting:
                self._notes.samples.extend((key, code | WAITED, at_ns, 0, 0, now_ns, 0))
            waiting.clear()
        self.waiting = 0

    def close(self) -> None:
        """No more arrivals."""
        self.over = True
        self._alarm.close()

    def _ring(self) -> None:
        """Begin what is due; a callback of the loop."""
        now_ns, begun, arrivals = monotonic_ns(), 0, self._notes.arrivals
        targets, number_of_targets = self._targets, len(self._targets)
        while self._at_ns <= now_ns and not self.over:
            place, at_ns = self._number % number_of_targets, self._at_ns
            target = targets[place]
            key = target.series * STAGES + self._stage
            arrivals.extend((key, at_ns))
            if self._backlogs[place] or self.in_flight >= self._most or not target.begin(key, at_ns, 0, 0):
                self._backlogs[place].append((at_ns, key))
                self.waiting += 1
                self.most_backlog = max(self.most_backlog, self.waiting)
            else:
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self._next()
            begun += 1
            if begun == _AT_ONCE:
                break
        self._arm()

    def _take_waiting(self) -> None:
        """Begin the first of those that wait whose server has a place."""
        if self.in_flight >= self._most:
            return
        waiting = [(queue[0][0], place) for place, queue in self._backlogs.items() if queue]
        for at_ns, place in sorted(waiting):
            queue = self._backlogs[place]
            if self._targets[place].begin(queue[0][1], at_ns, WAITED, 0):
                queue.popleft()
                self.waiting -= 1
                self.in_flight += 1
                return

    def _next(self) -> None:
        found = next(self._due, None)
        if found is None:
            self.over = True
            return
        at_s, self._number, self._stage = found
        self._at_ns = self._epoch_ns + int(at_s * 1e9)

    def _arm(self) -> None:
        if not self.over:
            self._alarm.set(self._at_ns)
