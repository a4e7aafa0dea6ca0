"""The open model: operations begin when they are due, to some ten microseconds, whether or not others have ended."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic_ns
from typing import Any

import gevent

from checker.loadtest.messages import DROPPED, STAGES, WAITED
from checker.loadtest.worker.target import Notes, Target

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_PR_SET_TIMERSLACK = 29
_READ = 1


class _TimerSpec(ctypes.Structure):
    """``struct itimerspec``: the interval, which stays 0, and the moment."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """An alarm that calls ``ring`` in the hub at a set moment, on the clock of `time.monotonic_ns`.

    It uses a kernel timer that the event loop watches like a socket (timerfd_create(2)), or else the loop's own timer.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring, self._loop = ring, gevent.get_hub().loop
        self._fd = _timer_descriptor()
        self._is_set = False
        self._watcher: Any = None
        if self._fd is not None:
            self._settime = ctypes.CDLL(None).timerfd_settime
            self._spec = _TimerSpec()
            self._pointer = ctypes.byref(self._spec)
            self._watcher = self._loop.io(self._fd, _READ)
            self._watcher.start(self._fired)

    def set(self, at_ns: int) -> None:
        """Set the alarm to this moment instead of any earlier setting; it rings at once if the moment has passed."""
        if self._fd is None:
            self.stop()
            self._watcher = self._loop.timer(max(0.0, (at_ns - monotonic_ns()) / 1e9))
            self._watcher.start(self._ring, update=True)
            return
        self._is_set = True
        spec = self._spec
        spec.value_s, spec.value_ns = divmod(max(1, at_ns), 1_000_000_000)  # all zero would switch it off
        self._settime(self._fd, _ABSOLUTE, self._pointer, None)

    def stop(self) -> None:
        """Cancel the alarm."""
        if self._fd is None:
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
            return
        self._spec.value_s = self._spec.value_ns = 0
        self._settime(self._fd, _ABSOLUTE, self._pointer, None)

    def close(self) -> None:
        """Stop for good and free the timer."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _fired(self) -> None:
        """Handle the timer: setting it again makes it unreadable, as a read would, and saves a system call."""
        self._is_set = False
        self._ring()
        if not self._is_set and self._fd is not None:
            self.stop()


def _timer_descriptor() -> int | None:
    try:
        system = ctypes.CDLL(None)
        fd = int(system.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        system.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # else the kernel may let 50 us more pass
    except (AttributeError, OSError):
        return None
    return fd if fd >= 0 else None


_AT_ONCE = 32
"""Arrivals begun before the event loop polls for replies again: more would delay the reading of replies."""

Due = Iterator[tuple[float, int, int]]
"""Moments in seconds from the epoch, with the number and the stage of the due arrival."""


class OpenLoad:
    """Implements `checker.loadtest.worker.target.Load`; one scenario's share of this worker."""

    def __init__(self, epoch_ns: int, most: int, notes: Notes) -> None:
        self._epoch_ns, self._most, self._notes = epoch_ns, most, notes
        self._targets: Sequence[Target] = ()
        self._due: Due = iter(())
        self._backlogs: dict[int, deque[tuple[int, int]]] = {}
        """Index of a target -> moment and key of each queued arrival."""
        self.waiting = 0
        """Number of queued arrivals."""
        self._at_ns = self._number = self._stage = 0
        self._alarm = Alarm(self._ring)
        self.in_flight = self.most_in_flight = self.most_backlog = 0
        self.over = False
        """True if no more arrivals will be due."""

    def start(self, targets: Sequence[Target], due: Due) -> None:
        """Begin; targets take turns."""
        self._targets = targets
        self._backlogs = {place: deque() for place in range(len(targets))}
        self.replan(due)

    def replan(self, due: Due) -> None:
        """Follow another plan from now on; its arrivals before now are left out."""
        self._due, self.over = due, False
        now_ns = monotonic_ns()
        self._next()
        while not self.over and self._at_ns < now_ns - 1_000_000_000:
            self._next()
        self._arm()

    def ended(self, user: int) -> None:
        """Give the free slot to the first queued arrival, if there is one."""
        self.in_flight -= 1
        if self.waiting:
            self._take_waiting()

    @property
    def is_done(self) -> bool:
        """True if every due arrival has been answered."""
        return self.over and not self.in_flight and not self.waiting

    def give_up_waiting(self) -> None:
        """Drop all queued arrivals."""
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
        """Begin the due operations; a callback of the event loop."""
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
        """Begin the first queued arrival whose server has a free slot."""
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
