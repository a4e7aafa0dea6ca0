"""The time of day as everything that is stored has it."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since 1970 in UTC."""
    return time.time_ns() // 1_000_000
