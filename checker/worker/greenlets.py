"""Greenlets that share one event loop: deadlines on one timer, and turns for greenlets that always have input."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from time import perf_counter, time
from typing import Any

import gevent
from gevent import getcurrent

_LATE_S = 0.001


class DeadlinePassed(gevent.Timeout):
    """Thrown into the greenlet whose time is over."""

    kept_waiting_s = 0.0
    """Time it had been waiting for the checker, not for a server; set by handlers on the way."""


class Deadline:
    """A time limit on the work of the greenlet that set it; `DeadlinePassed` (``raised``) is thrown when it passes."""

    __slots__ = ("greenlet", "raised")

    def __init__(self, greenlet: Any) -> None:
        self.greenlet = greenlet
        self.raised: DeadlinePassed | None = None

    def cancel(self) -> None:
        """Cancel the deadline, because the work is done."""
        self.greenlet = None


class Deadlines:
    """All deadlines of a worker, the earliest first; cancelled ones are removed when they are the earliest."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = count()
        self._timer: Any = None
        self._timer_at = float("inf")

    def set(self, seconds: float) -> Deadline:
        """Limit the current greenlet from now on."""
        deadline, at, heap = Deadline(getcurrent()), perf_counter() + seconds, self._heap
        while heap and heap[0][2].greenlet is None:  # else a fast worker would keep those of its last half minute
            heappop(heap)
        heappush(heap, (at, next(self._numbers), deadline))
        if at < self._timer_at:
            self._arm(at)
        return deadline

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.close()
        self._timer_at = at
        self._timer = gevent.get_hub().loop.timer(max(0.0, at - perf_counter()) + _LATE_S)
        self._timer.start(self._pass)

    def _pass(self) -> None:
        """Called in the hub: throw into every greenlet whose time is over, and wait for the next live deadline."""
        heap, now = self._heap, perf_counter()
        due = []
        while heap and (heap[0][0] <= now or heap[0][2].greenlet is None):
            deadline = heappop(heap)[2]
            if deadline.greenlet is not None:
                due.append(deadline)
        self._timer.close()
        self._timer, self._timer_at = None, float("inf")
        if heap:
            self._arm(heap[0][0])
        for deadline in due:
            if deadline.greenlet is not None:  # one that was thrown into before may have ended another
                deadline.raised = DeadlinePassed(None)
                deadline.greenlet.throw(deadline.raised)


TURN_S = 0.005
"""Time the loop may stand still before work on a server's content lets it turn."""


class _Turns:
    """Greenlets that have had their turn; one of them continues each time the loop has turned.

    `gevent.sleep(0)` would let dozens of them continue one after another before anything else is looked at.
    """

    def __init__(self) -> None:
        self._waiting: deque[Any] = deque()
        self._timer: Any = None

    def wait(self) -> None:
        """Go to the end of the queue, and return when it is this greenlet's turn."""
        greenlet = gevent.getcurrent()
        self._waiting.append(greenlet)
        if self._timer is None:
            self._arm()
        try:
            gevent.get_hub().switch()
        except BaseException:  # a deadline or a cancelled run
            if greenlet in self._waiting:
                self._waiting.remove(greenlet)
            raise

    def _arm(self) -> None:
        self._timer = gevent.get_hub().loop.timer(0.0)
        self._timer.start(self._next)

    def _next(self) -> None:
        """Called in the hub, after it has looked at sockets and deadlines."""
        self._timer.close()
        self._timer = None
        if self._waiting:
            first = self._waiting.popleft()
            if self._waiting:
                self._arm()
            first.switch()


_line = _Turns()


def breathe() -> None:
    """Let the loop turn, if it has not for a moment: others run, deadlines pass, timers fire.

    Call it between pieces of work of a few milliseconds at most. It costs a fraction of a microsecond if the loop has
    just turned.
    """
    held_s = time() - gevent.get_hub().loop.now()
    if not 0 <= held_s < TURN_S:  # below zero after the clock was set back
        _line.wait()
