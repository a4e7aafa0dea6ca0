"""What ends a run before it does harm: a storm of refusals, or more operations than were allowed."""

from __future__ import annotations

from collections import Counter

from checker.bench.plan import LoadLimits
from checker.bench.player import Second

_FEWEST_REPLIES = 20
"""In the window: a few refusals are no storm."""


class Storm:
    """Implements `checker.bench.player.Watcher`: the servers say that it is too much, by 429, 503 or Retry-After."""

    def __init__(self, limits: LoadLimits) -> None:
        self._limits = limits
        self._refused: Counter[int] = Counter()
        self._replies: Counter[int] = Counter()

    def __call__(self, second: Second) -> str | None:
        """The reason to end the run, once most replies of the window are refusals."""
        for slot in second.slots:
            self._refused[slot.at_s] += slot.refused
            self._replies[slot.at_s] += slot.ok + slot.failed
        since = second.at_s - self._limits.refusals_over
        for at_s in [one for one in self._replies if one < since - 1]:
            del self._refused[at_s], self._replies[at_s]
        refused, replies = self._refused.total(), self._replies.total()
        if replies < _FEWEST_REPLIES or refused < self._limits.refusals * replies:
            return None
        return (
            f"{refused} of the last {replies} replies were 429, 503 or asked to come back later (Retry-After): "
            "the servers refuse the load; lower the rate, or raise limits.refusals"
        )


class Total:
    """Implements `checker.bench.player.Watcher`: no more operations than the plan allows."""

    def __init__(self, limits: LoadLimits) -> None:
        self._most, self._offered = limits.max_total, 0

    def __call__(self, second: Second) -> str | None:
        """The reason to end the run, once there were as many as allowed."""
        self._offered += sum(slot.offered for slot in second.slots)
        if self._offered < self._most:
            return None
        return f"{self._offered} operations were begun and limits.max_total is {self._most}"
