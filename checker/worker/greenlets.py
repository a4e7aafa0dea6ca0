"""Greenlets that share one event loop: deadlines on one timer, and turns for greenlets that always have input."""

from __future__ import annotations

from collections import deque
from operator import itemgetter
from time import perf_counter, time
from typing import Any

import gevent
from gevent import getcurrent

_LATE_S = 0.001
_MOST_QUEUES = 64


class Waiter:
    """The wait of the current greenlet: it switches to the hub, and goes on by a call of `go_on` there, once."""

    __slots__ = ("greenlet", "has_come")

    def __init__(self) -> None:
        self.greenlet: Any = getcurrent()
        self.has_come = False
        """For who lets it go on, to tell that apart from being killed meanwhile."""

    def go_on(self) -> None:
        """Called in the hub; does nothing for a greenlet that waits no more."""
        if self.greenlet is not None:
            self.greenlet.switch()


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
    """All deadlines of a worker on one timer.

    Those of one length end in the order in which they were set, so that each length has a queue and nothing is sorted.
    Cancelled ones are removed when they are the first of their queue.
    """

    def __init__(self) -> None:
        self._queues: dict[float, deque[tuple[float, Deadline]]] = {}
        self._most_queues = _MOST_QUEUES
        self._timer: Any = None
        self._timer_at = float("inf")

    def __len__(self) -> int:
        """The number that is kept, cancelled ones included."""
        return sum(map(len, self._queues.values()))

    def set(self, seconds: float, now: float | None = None) -> Deadline:
        """Limit the current greenlet from now on, which is the `perf_counter` moment ``now`` if that is known."""
        deadline, at = Deadline(getcurrent()), (perf_counter() if now is None else now) + seconds
        queue = self._queues.get(seconds)
        if queue is None:
            if len(self._queues) >= self._most_queues:
                self._queues = {length: queue for length, queue in self._queues.items() if queue}
                self._most_queues = max(_MOST_QUEUES, 2 * len(self._queues))
            queue = self._queues[seconds] = deque()
        while queue and queue[0][1].greenlet is None:  # else a fast worker would keep those of its last half minute
            queue.popleft()
        queue.append((at, deadline))
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
        now, due, next_at = perf_counter(), [], float("inf")
        for queue in self._queues.values():
            while queue and (queue[0][0] <= now or queue[0][1].greenlet is None):
                at, deadline = queue.popleft()
                if deadline.greenlet is not None:
                    due.append((at, deadline))
            if queue:
                next_at = min(next_at, queue[0][0])
        self._timer.close()
        self._timer, self._timer_at = None, float("inf")
        if next_at != float("inf"):
            self._arm(next_at)
        for _, deadline in sorted(due, key=itemgetter(0)):
            if deadline.greenlet is not None:  # one that was thrown into before may have ended another
                deadline.raised = DeadlinePassed(None)
                deadline.greenlet.throw(deadline.raised)


TURN_S = 0.005
"""Time the loop may stand still before work on a server's content lets it turn."""


class _Turns:
    """Greenlets that have had their turn; each time the loop has turned, one of them goes on, or some that take short.

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
        """Called in the hub, after it has looked at sockets and deadlines: one goes on, and more if time is left."""
        self._timer.close()
        self._timer, now = None, gevent.get_hub().loop.now
        while self._waiting:
            self._waiting.popleft().switch()
            if not 0 <= time() - now() < TURN_S:
                break
        if self._waiting and self._timer is None:
            self._arm()


_line = _Turns()


def breathe() -> None:
    """Let the loop turn, if it has not for a moment: others run, deadlines pass, timers fire.

    Call it between pieces of work of a few milliseconds at most. It costs a fraction of a microsecond if the loop has
    just turned.
    """
    held_s = time() - gevent.get_hub().loop.now()
    if not 0 <= held_s < TURN_S:  # below zero after the clock was set back
        _line.wait()
