"""The result of a server that was not called, or whose answer was lost: UNKNOWN, because nothing is known of it."""

from __future__ import annotations

import time

from checker.model import CheckResult, ProbeResult, Reason, Server, Status
from checker.probes import KINDS


def unanswered(server: Server, reason: Reason, detail: str, tries: int = 1) -> CheckResult:
    """A check of which no probe has a result, for this reason."""
    now_ms = time.time_ns() // 1_000_000
    probes = tuple(
        ProbeResult(
            kind=kind,
            status=Status.UNKNOWN,
            reason=reason,
            detail=detail,
            started_at_ms=now_ms,
            duration_us=0,
            url=KINDS[kind].address(options).shown,
            attempts=0,
        )
        for kind, options in server.probes.items()
    )
    return CheckResult(
        server=server.name,
        status=Status.UNKNOWN,
        reason=reason,
        detail=detail,
        started_at_ms=now_ms,
        duration_us=0,
        tries=tries,
        probes=probes,
    )
