"""Verdicts computed from facts: values in, values out, no clock and no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from checker.model import Combination, ProbeResult, Reason, Status
from checker.probes.base import Complaint, Observation, Probe, ProbeFailure
from checker.probes.conditions import too_slow

_OURS = {Reason.INTERNAL_ERROR, Reason.RESOURCE_LIMIT, Reason.WORKER_LOST, Reason.OWN_NETWORK}
_SCORES = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0, Status.UNKNOWN: None}
_MS_PER_S = 1000

RETRYABLE = {
    Reason.DNS,
    Reason.CONNECT_REFUSED,
    Reason.CONNECT_TIMEOUT,
    Reason.CONNECT_FAILED,
    Reason.TLS_HANDSHAKE,
    Reason.SEND_TIMEOUT,
    Reason.FIRST_BYTE_TIMEOUT,
    Reason.DEADLINE,
    Reason.CONNECTION_CLOSED,
    Reason.MCP_NO_REPLY,
    Reason.MCP_SESSION_EXPIRED,
    Reason.PROCESS_EXITED,
    Reason.AUTH_SERVER,
    Reason.INTERNAL_ERROR,
}
"""Reasons that may pass a moment later, as may any HTTP status of 500 and above."""


class Verdict(Struct, frozen=True):
    """The conclusion about an attempt or a check."""

    status: Status
    reason: Reason | None = None
    detail: str | None = None
    stage: str | None = None

    @property
    def score(self) -> float | None:
        """1 for healthy, 0.5 for degraded, 0 for unhealthy, None if nothing is known."""
        return _SCORES[self.status]


_HEALTHY = Verdict(Status.HEALTHY)


def judge(
    kind: Probe, options: Any, seen: Observation, at_ms: int, expires_at_ms: int | None, certificate_of: str = ""
) -> Verdict:
    """The verdict on an attempt that took this long.

    ``expires_at_ms`` is the earliest expiry of the TLS certificates that were seen, if there are any, and
    ``certificate_of`` names the host of that certificate if it is not the server's own.
    """
    if seen.failure is not None:
        return _failed(seen.failure, options)
    try:
        complaints = kind.judge(options, seen)
    except ProbeFailure as failure:
        return _failed(failure, options)
    answered_us = seen.duration_us - seen.closing_us
    if options.degraded_above is not None and answered_us > options.degraded_above * 1e6:
        complaints.append(too_slow(answered_us, options.degraded_above, Status.DEGRADED))
    if options.certificate_warning is not None and expires_at_ms is not None:
        left_ms = expires_at_ms - at_ms
        if left_ms < options.certificate_warning * _MS_PER_S:
            days = left_ms / 86_400_000
            detail = f"certificate{certificate_of} expires in {days:.1f} days"
            complaints.append(Complaint(Status.DEGRADED, Reason.CERTIFICATE_EXPIRES_SOON, detail, "tls"))
    if not complaints:
        if seen.remarks and options.remarks == "degraded":
            return Verdict(Status.DEGRADED, Reason.REMARK, "; ".join(seen.remarks.values()))
        return _HEALTHY
    worst = min(complaints, key=lambda complaint: _SCORES[complaint.status] or 0.0)
    same = [complaint.detail for complaint in complaints if complaint.status == worst.status]
    return Verdict(worst.status, worst.reason, "; ".join(same), worst.stage)


def _failed(failure: ProbeFailure, options: Any) -> Verdict:
    if failure.reason in _OURS:
        status = Status.UNKNOWN
    elif failure.reason is Reason.AUTH_REQUIRED:
        status = Status(options.auth_required.upper())
    elif failure.reason in (Reason.RATE_LIMITED, Reason.AUTH_SCOPE, Reason.ISSUER_NOT_TRUSTED):
        status = Status.DEGRADED
    else:
        status = Status.UNHEALTHY
    if status is Status.HEALTHY:  # the config says that being protected is what it expects
        return Verdict(status)
    return Verdict(status, failure.reason, failure.detail, failure.stage)


def combine(
    probes: Sequence[ProbeResult], weights: Mapping[str, float], rules: Combination
) -> tuple[Verdict, float | None]:
    """Status and score of a check from its probes (at least one).

    Probes that are UNKNOWN are left out of both: only known results decide. The score is the weighted mean, None if
    nothing is known. A check that is not HEALTHY takes reason and detail from its worst probe.
    """
    for probe in probes:
        if probe.status is not Status.HEALTHY:
            break
    else:
        return _HEALTHY, 1.0
    known = [probe for probe in probes if probe.status is not Status.UNKNOWN]
    bad = sum(probe.status is Status.UNHEALTHY for probe in known)
    if not known:
        status = rules.all_unknown
    elif bad:
        status = rules.all_bad if bad == len(known) else rules.one_bad
    elif any(probe.status is Status.DEGRADED for probe in known):
        status = Status.DEGRADED
    else:
        status = Status.HEALTHY
    weighed = [(weights.get(probe.kind, 1.0), probe.score) for probe in known if probe.score is not None]
    total = sum(weight for weight, _ in weighed)
    score = round(sum(weight * part for weight, part in weighed) / total, 4) if total else None
    worst = min(known or probes, key=lambda probe: -1.0 if probe.score is None else probe.score)
    if status is Status.HEALTHY or worst.reason is None:
        return Verdict(status), score
    detail = f"{worst.kind}: {worst.detail}" if len(probes) > 1 else worst.detail
    return Verdict(status, worst.reason, detail, worst.failed_stage), score
