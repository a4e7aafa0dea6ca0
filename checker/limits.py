"""What a worker may do at once: said by the parent, kept by the worker."""

from __future__ import annotations

from dataclasses import dataclass

from checker.units import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker may do at once."""

    concurrency: int
    """Checks."""
    per_origin: int
    """Attempts at one scheme, host and port, for each probe kind on its own."""
    processes: int = 8
    """Programs of stdio servers."""
    log_level: int = 50
    """As in the logging module; workers write to standard error."""
    token_key: Secret | None = None
    """What access tokens are encrypted with before they are handed back to be stored; None keeps them here."""
