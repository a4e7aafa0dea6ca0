"""How often something may begin: what a plan's limits leave to users who would ask as fast as they are answered."""

from __future__ import annotations


class RateLimiter:
    """Turns at equal distances, at most so many a second; without a rate there is no wait."""

    def __init__(self, per_s: float | None) -> None:
        self._gap_ns = 0 if per_s is None else round(1e9 / per_s)
        self._free_ns = 0

    def turn(self, now_ns: int) -> int:
        """Take the next turn; the nanoseconds until it comes."""
        at_ns = max(self._free_ns, now_ns)
        self._free_ns = at_ns + self._gap_ns
        return at_ns - now_ns
