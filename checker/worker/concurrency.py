"""How many checks a worker runs at once: more while it keeps up and its servers do, fewer when it does not; pure."""

from __future__ import annotations

from collections.abc import Sequence

FEWEST = 64
"""Where it begins, and what it never falls below."""
MOST_MORE = 128
"""Added at a time: opening as many connections takes about as long as one look."""
LATE_S = 0.1
"""Lag from which on the worker does not keep up."""
_LESS = 0.7
_PAUSE_LOOKS = 10
"""Looks without growth after a step back, so that its effect is seen first."""
_ENOUGH = 20
"""Checks that have to have ended for their outcome to mean something."""
_FAILING_SHARE = 0.5
_SLOWER = 3.0
_SLOWER_MS = 5.0


class Concurrency:
    """The number of checks that may be under way; `look` is called about 20 times a second."""

    def __init__(self, most: int, adaptive: bool) -> None:
        self._most, self._adaptive = most, adaptive
        self.allowed = min(most, FEWEST) if adaptive else most
        self._pause = 0
        self._stepped_back = False
        self._best_ms: float | None = None

    def look(self, lag_s: float, all_in_use: bool, durations_ms: Sequence[float], strained: int) -> None:
        """Adjust by what was seen since the last look.

        ``durations_ms`` are of checks that ended well; ``strained`` is how many ended as they do when somebody cannot
        keep up: no connection in time, a connection broken off, a socket that could not be opened.
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
        """Whether the median is far above the best one there was: more at once would make nobody faster."""
        if len(durations_ms) < _ENOUGH:
            return False
        median = sorted(durations_ms)[len(durations_ms) // 2]
        if self._best_ms is None or median < self._best_ms:
            self._best_ms = median
        return median > self._best_ms * _SLOWER + _SLOWER_MS
