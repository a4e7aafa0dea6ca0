"""Concurrent checks in a worker: more while its event loop keeps up, fewer when it lags."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import perf_counter

import gevent

_EVERY_S = 0.02
_KEPT = 6000
"""Samples from which percentiles are computed: the last two minutes."""


class LagMeter:
    """Sleeps briefly again and again; the time it oversleeps is the lag that every other greenlet had."""

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
        """Stop measuring."""
        self._greenlet.kill(block=False)

    def start_over(self) -> None:
        """Ignore the lag measured so far."""
        self._greenlet.kill(block=False)
        self._awake_at = perf_counter() + _EVERY_S
        self._greenlet = gevent.spawn(self._measure)

    def saturated_since(self, moment: float) -> bool:
        """True if the loop was too late at any time since that `perf_counter` moment, or is now.

        After a standstill other greenlets may run before the measuring one does.
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


FEWEST = 64
"""The initial number, which is also the minimum."""
MOST_MORE = 128
"""Added at a time: opening as many connections takes about as long as one look."""
LATE_S = 0.1
"""Lag above which the worker does not keep up."""
_LESS = 0.7
_PAUSE_LOOKS = 10
"""Looks without growth after a step back, so that its effect is seen first."""
_ENOUGH = 20
"""Checks that have to have ended for their outcome to mean something."""
_FAILING_SHARE = 0.5
_SLOWER = 3.0
_SLOWER_MS = 5.0


class Concurrency:
    """The number of checks that may be in progress; `look` is called about 20 times a second."""

    def __init__(self, most: int, adaptive: bool) -> None:
        self._most, self._adaptive = most, adaptive
        self.allowed = min(most, FEWEST) if adaptive else most
        self._pause = 0
        self._stepped_back = False
        self._best_ms: float | None = None

    def look(self, lag_s: float, all_in_use: bool, durations_ms: Sequence[float], strained: int) -> None:
        """Adjust to the observations since the last call.

        ``durations_ms`` are of checks that ended well; ``strained`` is the number that failed with signs of overload:
        no connection in time, a connection broken off, a socket that could not be opened.
        """
        if not self._adaptive:
            return
        slower = self._slower(durations_ms)
        ended = len(durations_ms) + strained
        failing = ended >= _ENOUGH and strained > ended * _FAILING_SHARE
        if lag_s > LATE_S or failing:
            if self._pause == 0 or not self._stepped_back:
                self.allowed = min(self._most, max(FEWEST, int(self.allowed * _LESS)))
            self._pause, self._stepped_back = _PAUSE_LOOKS, True
        elif self._pause:
            self._pause -= 1
        elif all_in_use and not slower:
            more = max(1, self.allowed // 10) if self._stepped_back else min(self.allowed, MOST_MORE)
            self.allowed = min(self._most, self.allowed + more)

    def _slower(self, durations_ms: Sequence[float]) -> bool:
        """True if the median is far above the best one so far: more concurrency would speed up no check."""
        if len(durations_ms) < _ENOUGH:
            return False
        median = sorted(durations_ms)[len(durations_ms) // 2]
        if self._best_ms is None or median < self._best_ms:
            self._best_ms = median
        return median > self._best_ms * _SLOWER + _SLOWER_MS
