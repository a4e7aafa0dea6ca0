"""One probe: attempts under a wall-clock deadline until one settles it, and the result with its facts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import gevent
from gevent.lock import BoundedSemaphore

from checker import memory as remembered
from checker.backoff import backoff_s
from checker.judge import RETRYABLE, Verdict, judge
from checker.model import Batch, CacheEntry, ProbeResult, Reason, Status
from checker.probes import KINDS
from checker.probes.base import Observation, ProbeFailure
from checker.probes.http import credentials, shown_url
from checker.probes.text import excerpt
from checker.worker.transport.client import Client, Grace
from checker.worker.transport.failures import deadline_failure
from checker.worker.transport.pools import Pools
from checker.worker.transport.trace import Trace

_SHORTEST_SECRET = 4
log = logging.getLogger(__name__)


def probe(
    kind: str,
    options: Any,
    memory: Mapping[str, str],
    pools: Pools,
    grace: Grace,
    lane: BoundedSemaphore,
    draw: Callable[[], float],
) -> tuple[ProbeResult, Batch]:
    """The result, and what is to be remembered of the endpoint.

    ``lane`` limits the attempts at one origin; waiting for it is not on the clock. ``draw`` gives 0 to 1.
    """
    started_at_ms = _now_ms()
    earlier: list[Reason] = []
    while True:
        with lane:
            seen, trace = _attempt(kind, options, memory, pools, grace)
        verdict = judge(KINDS[kind], options, seen, _now_ms(), trace.certificate_expires_at_ms)
        number = len(earlier) + 1
        if number >= options.retry.max_attempts or verdict.reason is None or not _may_pass(verdict, seen):
            break
        earlier.append(verdict.reason)
        gevent.sleep(backoff_s(options.retry, number, draw()))
    log.debug("%s %s: %s %s", kind, shown_url(options.url), verdict.status, verdict.reason or "")
    result = _result(kind, options, started_at_ms, seen, trace, verdict, earlier)
    return result, Batch(
        cache_entries=_to_remember(options.url, seen, memory),
        tool_snapshots=(seen.snapshot,) if seen.snapshot else (),
    )


def _attempt(
    kind: str, options: Any, memory: Mapping[str, str], pools: Pools, grace: Grace
) -> tuple[Observation, Trace]:
    seen, trace = Observation(), Trace()
    client = Client(pools, options, trace, grace)
    start = time.perf_counter()
    deadline = gevent.Timeout(options.timeout)
    deadline.start()
    try:
        KINDS[kind].attempt(options, client, seen, memory)
    except ProbeFailure as failure:
        seen.failure = failure
    except gevent.Timeout as timeout:
        if timeout is not deadline:
            raise
        seen.failure = deadline_failure(trace.step, trace.stage, options.timeout)
    except Exception as error:  # the greenlet's edge: a mistake of ours must not lose the row
        log.exception("%s probe of %s", kind, shown_url(options.url))
        seen.failure = ProbeFailure(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {excerpt(str(error))}")
    finally:
        deadline.close()
        seen.duration_us = round((time.perf_counter() - start) * 1e6)
        client.close()
    return seen, trace


def _may_pass(verdict: Verdict, seen: Observation) -> bool:
    """Whether another attempt may end better."""
    if verdict.status not in (Status.UNHEALTHY, Status.UNKNOWN):
        return False
    return verdict.reason in RETRYABLE or (verdict.reason is Reason.HTTP_STATUS and (seen.http_status or 0) >= 500)


def _result(
    kind: str,
    options: Any,
    started_at_ms: int,
    seen: Observation,
    trace: Trace,
    verdict: Verdict,
    earlier: list[Reason],
) -> ProbeResult:
    return ProbeResult(
        kind=kind,
        status=verdict.status,
        reason=verdict.reason,
        detail=_without_secrets(verdict.detail, options),
        score=verdict.score,
        failed_stage=verdict.stage,
        url=shown_url(options.url),
        started_at_ms=started_at_ms,
        duration_us=seen.duration_us,
        attempts=len(earlier) + 1,
        earlier_reasons=",".join(earlier) or None,
        stages=trace.stages(),
        http_status=seen.http_status,
        received_bytes=trace.received_bytes,
        connections_opened=trace.connections_opened,
        reused=trace.first_reused,
        redirects=seen.redirects,
        certificate_expires_at_ms=trace.certificate_expires_at_ms,
        auth_metadata_url=seen.auth_metadata_url,
        retry_after_s=seen.retry_after_s,
        sessions_opened=seen.sessions_opened,
        sessions_closed=seen.sessions_closed,
        mcp=seen.mcp,
    )


def _without_secrets(detail: str | None, options: Any) -> str | None:
    """The detail, with every configured secret that a server may have echoed into it masked."""
    if detail is None:
        return None
    parts = urlsplit(options.url)
    values = [value for sent in credentials(options).values() for value in (sent, *sent.split())]
    values += [value for _, value in parse_qsl(parts.query)]
    values += [unquote(parts.password)] if parts.password else []
    for value in sorted(set(values), key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET and value not in ("Bearer", "Basic"):
            detail = detail.replace(value, "***")
    return detail


def _to_remember(url: str, seen: Observation, memory: Mapping[str, str]) -> tuple[CacheEntry, ...]:
    """Only what is new: an entry that stays as it was runs out after its day and is found anew."""
    return tuple(
        remembered.entry(category, url, value, _now_ms())
        for category, value in seen.remember.items()
        if value and memory.get(category) != value
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
