"""Turns of greenlets: who always finds something to read would never let others run, for it never has to wait."""

from __future__ import annotations

from collections import deque
from time import time
from typing import Any

import gevent

TURN_S = 0.005
"""How long the loop may stand still before whoever works on what a server sends lets it turn."""


class _Turns:
    """Those who have had their turn; one of them goes on each time the loop has turned.

    `gevent.sleep(0)` would let dozens of them go on one after the other before anything else is looked at.
    """

    def __init__(self) -> None:
        self._waiting: deque[Any] = deque()
        self._timer: Any = None

    def wait(self) -> None:
        """Go to the end of the line, and come back when it is this greenlet's turn."""
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

    To be called between two pieces of work of a few milliseconds at most. Costs a fraction of a microsecond where the
    loop has just turned.
    """
    held_s = time() - gevent.get_hub().loop.now()
    if not 0 <= held_s < TURN_S:  # below zero after the clock was set back
        _line.wait()
