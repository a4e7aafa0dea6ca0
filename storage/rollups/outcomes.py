"""What a check or a probe counts as in a bucket, and what buckets are of; without numpy."""

from __future__ import annotations

from enum import IntEnum

from checker.kinds import STAGES as _STAGES


class Outcome(IntEnum):
    """What a check or a probe counts as; up to UNHEALTHY it says something of the server."""

    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2
    UNKNOWN = 3
    MAINTENANCE = 4
    """Whatever it said, the server was under maintenance."""
    SUSPECT = 5
    """Its worker was too late to be trusted with time."""


TOTAL = "total"
STAGES: tuple[str, ...] = (TOTAL, *_STAGES)
"""The timed parts of a probe: all of it first, then its stages."""
CHECK = "check"
"""The kind of the buckets of whole checks."""
STATES = tuple(one.name.lower() for one in Outcome)
"""The columns of counts; those of times are the same with _ms, without the last."""
