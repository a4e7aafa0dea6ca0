"""How long to wait before an attempt is repeated; pure."""

from __future__ import annotations

from checker.probes.options import Retry


def backoff_s(retry: Retry, failures: int, drawn: float) -> float:
    """Seconds to wait after that many failures; ``drawn`` (0 to 1) places the wait within its jitter."""
    wait = min(retry.initial_backoff * retry.backoff_factor ** (failures - 1), retry.max_backoff)
    return wait * (1 + retry.jitter * (2 * drawn - 1))
