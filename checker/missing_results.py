"""The result of a server that was not called, or whose answer was lost: UNKNOWN, because there is no evidence.

There is evidence only against a server that was alone in every worker that it ended: it is UNHEALTHY. So is one whose
answer cannot be stored, which is reported without any of the server's text.
"""

from __future__ import annotations

from msgspec.structs import replace

from checker.clock import now_ms
from checker.model import CheckResult, ProbeResult, Reason, Server, Status
from checker.probes import probe_of


def worker_lost(server: Server, why: str, tries: int) -> CheckResult:
    """The result of a server whose workers were lost through no fault of its own."""
    return unanswered(server, Reason.WORKER_LOST, f"the worker checking it was lost ({why})", tries)


def at_fault(server: Server, detail: str, tries: int) -> CheckResult:
    """The result of a server that ends the workers that check it."""
    check = unanswered(server, Reason.WORKER_LOST, detail, tries)
    probes = tuple(replace(probe, status=Status.UNHEALTHY, score=0.0) for probe in check.probes)
    return replace(check, status=Status.UNHEALTHY, score=0.0, probes=probes)


def unanswered(server: Server, reason: Reason, detail: str, tries: int = 1) -> CheckResult:
    """A check in which no probe has a result, for this reason."""
    at_ms = now_ms()
    probes = tuple(
        ProbeResult(
            kind=kind,
            status=Status.UNKNOWN,
            reason=reason,
            detail=detail,
            started_at_ms=at_ms,
            duration_us=0,
            url=probe_of(kind).address(options).shown,
            attempts=0,
        )
        for kind, options in server.probes.items()
    )
    return CheckResult(
        server=server.name,
        status=Status.UNKNOWN,
        reason=reason,
        detail=detail,
        started_at_ms=at_ms,
        duration_us=0,
        tries=tries,
        probes=probes,
    )


def bare(check: CheckResult, error: Exception) -> CheckResult:
    """The check without any text from its server, because it could not be handed over or stored.

    It is reported as the server's fault: no server may escape the count by the content it sends. UNKNOWN stays UNKNOWN.
    """
    detail = f"what the server sent cannot be stored: {type(error).__name__}"
    probes = tuple(
        ProbeResult(
            kind=probe.kind,
            status=Status.UNKNOWN if probe.status is Status.UNKNOWN else Status.UNHEALTHY,
            reason=probe.reason if probe.status is Status.UNKNOWN else probe_of(probe.kind).unusable,
            detail=detail,
            score=None if probe.status is Status.UNKNOWN else 0.0,
            started_at_ms=probe.started_at_ms,
            duration_us=probe.duration_us,
            url=probe.url,
            attempts=probe.attempts,
        )
        for probe in check.probes
    )
    if check.status is Status.UNKNOWN or not probes:
        return replace(check, detail=detail, probes=probes)
    return replace(check, status=Status.UNHEALTHY, reason=probes[0].reason, detail=detail, score=0.0, probes=probes)
