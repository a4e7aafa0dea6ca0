"""How late the greenlet loop is: measured all the time, so that a result taken meanwhile can be told apart."""

from __future__ import annotations

from collections import deque
from time import perf_counter

import gevent

_EVERY_S = 0.02
_KEPT = 6000
"""Samples that percentiles are taken from: the last two minutes."""


class LagMeter:
    """Sleeps a moment again and again; what it oversleeps is the lag that every other greenlet had."""

    def __init__(self, too_late_s: float) -> None:
        self._too_late_s = too_late_s
        self._samples: deque[float] = deque(maxlen=_KEPT)
        self._saturated_at = 0.0
        self._awake_at = perf_counter() + _EVERY_S
        self.recent_s = 0.0
        """The latest samples' lag, smoothed over about a tenth of a second."""
        self.longest_s = 0.0
        self._greenlet = gevent.spawn(self._measure)

    def stop(self) -> None:
        """Measure no more."""
        self._greenlet.kill(block=False)

    def start_over(self) -> None:
        """Take no note of what has just passed."""
        self._greenlet.kill(block=False)
        self._awake_at = perf_counter() + _EVERY_S
        self._greenlet = gevent.spawn(self._measure)

    def saturated_since(self, moment: float) -> bool:
        """Whether the loop was too late at any time since that `perf_counter` moment, or is just now.

        After a standstill others may run before the measuring does.
        """
        return self._saturated_at >= moment or perf_counter() - self._awake_at >= self._too_late_s

    def p99_us(self) -> int:
        """The 99th percentile in microseconds."""
        ordered = sorted(self._samples)
        return round(ordered[int(len(ordered) * 0.99)] * 1e6) if ordered else 0

    def _measure(self) -> None:
        while True:
            self._awake_at = perf_counter() + _EVERY_S
            gevent.sleep(_EVERY_S)
            now = perf_counter()
            lag_s = max(0.0, now - self._awake_at)
            self._samples.append(lag_s)
            self.recent_s += (lag_s - self.recent_s) * 0.3
            self.longest_s = max(self.longest_s, lag_s)
            if lag_s >= self._too_late_s:
                self._saturated_at = now
