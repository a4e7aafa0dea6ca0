"""One probe: attempts with backoff under a wall-clock deadline until one settles it, and its result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gevent
from msgspec.structs import replace

from checker import cache_keys
from checker.clock import now_ms
from checker.judge import RETRYABLE, Verdict, judge
from checker.model import CacheEntry, ContractSnapshot, McpFacts, ProbeResult, Reason, Remark, Status
from checker.probes import probe_of
from checker.probes.base import Address, Budget, Observation, OwnFault, ProbeFailure
from checker.probes.options import Retry
from checker.result_rows import UsualResult
from checker.secrets.excerpts import excerpt
from checker.secrets.known_secrets import Masking, begin
from checker.worker.greenlets import DeadlinePassed, Deadlines
from checker.worker.origin_limits import OriginLimit
from checker.worker.transport.client import Begun, Client, Shared
from checker.worker.transport.failures import deadline_failure
from checker.worker.transport.fast_path import Whole, single_get
from checker.worker.transport.fast_path import attempt as fast_attempt
from checker.worker.transport.trace import Trace


def backoff_s(retry: Retry, failures: int, drawn: float) -> float:
    """Seconds to wait after that many failures; ``drawn`` (0 to 1) places the wait within its jitter."""
    wait = min(retry.initial_backoff * retry.backoff_factor ** (failures - 1), retry.max_backoff)
    return wait * (1 + retry.jitter * (2 * drawn - 1))


STUMBLED = "the checker could not make sense of what the server sent"
"""Begins the detail of a failure caused by an unforeseen exception; the log has its traceback."""
_OURS = (OSError, ImportError, NameError)
"""Reasons that a reply cannot cause, whatever its content: the checker's own surroundings and its own bugs."""
_TOO_LONG = 0.5
"""Share of its deadline that a probe may be kept waiting. Less is the server's: it could choose its moment."""
_SAYS_WHY = {
    Reason.PROCESS_EXITED,
    Reason.FIRST_BYTE_TIMEOUT,
    Reason.DEADLINE,
    Reason.MCP_NO_REPLY,
}
"""Failures of a started program that its own output explains."""
_SAID_BY_SERVERS = ("protocol_version", "server_name", "server_version")
_UNCOUNTED = Budget()
"""Of attempts that take less than any limit."""
_NO_FIGURES: dict[str, Any] = {}
log = logging.getLogger(__name__)


class ProbeOutcome(NamedTuple):
    """The outcome of a probe."""

    result: ProbeResult
    cache_entries: tuple[CacheEntry, ...]
    contracts: tuple[ContractSnapshot, ...]
    spent_us: int
    """All attempts and the waits between them, without waiting for others."""
    own_fault: OwnFault | None = None
    """The fault of the checker's own network that may have caused the failure."""
    is_suspect: bool = False
    """True if the deadline passed while the checker kept the probe waiting, and had for most of the time."""


def probe(
    kind: str,
    options: Any,
    address: Address,
    memory: Mapping[str, str],
    shared: Shared,
    limit: OriginLimit,
    deadlines: Deadlines,
    draw: Callable[[], float],
) -> ProbeOutcome | UsualResult:
    """The result, and the facts to remember about the endpoint; a result that is usual has none.

    ``limit`` limits the attempts at one origin; waiting for it is not timed. ``draw`` returns a number from 0 to 1.
    """
    get, found = single_get(probe_of(kind), options), None
    with limit:
        started_at_ms = now_ms()
        if get is not None:
            trace = Trace(_UNCOUNTED)
            found = fast_attempt(get, options, shared, deadlines, trace)
            if type(found) is Whole and get.any_success:
                return _usual(kind, address.shown, started_at_ms, trace, found, shared)
        budget, masking = Budget.of(options), begin(options)
        if type(found) is not Whole:
            begun = (found, trace) if type(found) is Begun else None
            seen, trace, stderr_tail = _attempt(kind, options, memory, shared, deadlines, masking, budget, begun)
    if type(found) is Whole:
        seen, stderr_tail = _observed(found, masking, budget), ""
    earlier: list[Reason] = []
    spent_us = 0
    while True:
        verdict = _judged(kind, options, seen, started_at_ms, trace)
        if verdict.reason is None:
            break
        number = len(earlier) + 1
        if number >= options.retry.max_attempts or not _may_pass(verdict, seen):
            break
        wait_s = backoff_s(options.retry, number, draw())
        if seen.retry_after_s is not None:
            if seen.retry_after_s > options.retry.max_backoff:  # asked to stay away for longer than we may wait
                break
            wait_s = max(wait_s, seen.retry_after_s)
        earlier.append(verdict.reason)
        spent_us += seen.duration_us + round(wait_s * 1e6)
        limit.back_off(wait_s)
        with limit:
            seen, trace, stderr_tail = _attempt(kind, options, memory, shared, deadlines, masking, budget)
    log.debug("%s %s: %s %s", kind, address.shown, verdict.status, verdict.reason or "")
    told = None if verdict.status is Status.HEALTHY else stderr_tail or None
    result = _result(kind, address.shown, started_at_ms, seen, trace, verdict, earlier, told, masking)
    contracts = () if seen.snapshot is None else (seen.snapshot,)
    entries = _to_remember(address.key, seen, memory) if seen.remember else ()
    if trace.reached is not None and trace.answered_at:
        shared.surroundings.note_reached(trace.reached, trace.answered_at)
    own_fault = None
    if seen.failure is not None and seen.failure.own is not None and shared.surroundings.confirms(seen.failure.own):
        own_fault = seen.failure.own
    return ProbeOutcome(result, entries, contracts, spent_us + seen.duration_us, own_fault, seen.kept_waiting)


def _usual(kind: str, shown: str, started_at_ms: int, trace: Trace, whole: Whole, shared: Shared) -> UsualResult:
    """The result of a single GET that succeeded: nothing of the server's text is in it."""
    if trace.reached is not None:
        shared.surroundings.note_reached(trace.reached, trace.answered_at)
    log.debug("%s %s: HEALTHY", kind, shown)
    return UsualResult(
        kind,
        shown,
        started_at_ms,
        whole.duration_us,
        trace.exchange_us(),
        whole.head.status,
        trace.received_bytes,
        trace.connections_opened,
        trace.first_reused,
    )


def _observed(whole: Whole, masking: Masking, budget: Budget) -> Observation:
    """The facts of a whole reply."""
    return Observation(
        secrets=masking.acquired,
        budget=budget,
        duration_us=whole.duration_us,
        http_status=whole.head.status,
        headers=whole.head.headers,
        body=whole.body,
    )


def skipped(kind: str, options: Any, detail: str) -> ProbeOutcome:
    """The outcome of a probe that its open circuit breaker skips: no request is sent."""
    result = ProbeResult(
        kind=kind,
        status=Status.UNHEALTHY,
        reason=Reason.CIRCUIT_OPEN,
        detail=detail,
        score=0.0,
        url=probe_of(kind).address(options).shown,
        started_at_ms=now_ms(),
        duration_us=0,
        attempts=0,
    )
    return ProbeOutcome(result, (), (), 0)


def broken(kind: str, options: Any, error: Exception) -> ProbeOutcome:
    """The outcome of a probe in which a bug of ours surfaced: without a row the run would not end."""
    begin(options)
    log.error("%s probe of %s", kind, probe_of(kind).address(options).shown, exc_info=error)
    result = ProbeResult(
        kind=kind,
        status=Status.UNKNOWN,
        reason=Reason.INTERNAL_ERROR,
        detail=f"{type(error).__name__}: {excerpt(str(error))}",
        url=probe_of(kind).address(options).shown,
        started_at_ms=now_ms(),
        duration_us=0,
    )
    return ProbeOutcome(result, (), (), 0)


def _attempt(
    kind: str,
    options: Any,
    memory: Mapping[str, str],
    shared: Shared,
    deadlines: Deadlines,
    masking: Masking,
    budget: Budget,
    begun: tuple[Begun, Trace] | None = None,
) -> tuple[Observation, Trace, str]:
    """One attempt, from the start or from where the fast path has left it."""
    seen = Observation(secrets=masking.acquired, budget=budget)
    if begun is None:
        trace = Trace(budget)
        client = Client(shared, options, trace)
        start, deadline = time.perf_counter(), deadlines.set(options.timeout)
    else:
        first, trace = begun
        trace.budget = budget
        client = Client(shared, options, trace, first)
        start, deadline = first.start, first.deadline
    try:
        probe_of(kind).attempt(options, client, seen, memory)
    except ProbeFailure as failure:
        seen.failure = failure
    except gevent.Timeout as timeout:
        if timeout is not deadline.raised:
            raise
        if not seen.is_answered:  # else only the end of a session was not answered, which its remark says
            _note_deadline(seen, trace, deadline.raised, options)
    except Exception as error:  # the greenlet's edge: a mistake of ours must not lose the row
        log.exception("%s probe of %s", kind, probe_of(kind).address(options).shown)
        has_answered = trace.answered_at > 0 or client.has_output
        seen.failure = _stumbled(kind, error) if has_answered else _own_mistake(error)
    finally:
        deadline.cancel()
        seen.duration_us = round((time.perf_counter() - start) * 1e6)
        client.close(answered=seen.failure is None)
    if seen.failure is not None and seen.failure.reason in _SAYS_WHY and (said := client.last_words):
        seen.failure = _with_words(seen.failure, said)
    return seen, trace, client.stderr_tail


def _note_deadline(seen: Observation, trace: Trace, passed: DeadlinePassed, options: Any) -> None:
    """The failure of an attempt whose deadline passed before everything had arrived."""
    seen.failure = _explained(seen.suspicion, deadline_failure(trace.step, trace.stage, options.timeout))
    if seen.advice and trace.step == "transfer":
        seen.failure.detail += f"; {seen.advice}"
    if passed.kept_waiting_s > options.timeout * _TOO_LONG:
        seen.kept_waiting = True
        said = f"what it sent was not judged within {options.timeout:g} s: the checker is busy"
        seen.failure = ProbeFailure(Reason.DEADLINE, said, trace.stage)


def _judged(kind: str, options: Any, seen: Observation, at_ms: int, trace: Trace) -> Verdict:
    """The verdict, also if judging raises an error over the server's content."""
    try:
        return judge(probe_of(kind), options, seen, at_ms, trace.certificate_expires_at_ms, trace.certificate_of)
    except Exception as error:
        log.exception("judging %s", probe_of(kind).address(options).shown)
        seen.failure = _stumbled(kind, error)
        return judge(probe_of(kind), options, seen, at_ms, trace.certificate_expires_at_ms, trace.certificate_of)


def _stumbled(kind: str, error: Exception) -> ProbeFailure:
    """The failure of an attempt that an unforeseen exception ended after the server had answered.

    A server's content must not remove it from the count, so the failure is reported as the server's; the log shows the
    true origin.
    """
    if isinstance(error, _OURS):
        return _own_mistake(error)
    why = "nested too deeply" if _is_too_deep(error) else f"{type(error).__name__}: {excerpt(str(error))}"
    return ProbeFailure(probe_of(kind).unusable, f"{STUMBLED}: {why}")


def _own_mistake(error: Exception) -> ProbeFailure:
    return ProbeFailure(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {excerpt(str(error))}")


def _is_too_deep(error: Exception) -> bool:
    return isinstance(error, RecursionError) or "ecursion limit" in str(error)


def _explained(suspicion: ProbeFailure | None, failure: ProbeFailure) -> ProbeFailure:
    """The failure of a passed deadline, by the cause that the probe suspected when it passed."""
    if suspicion is None:
        return failure
    if suspicion.reason is Reason.DEADLINE:  # of a probe whose time passes elsewhere than in the steps of an exchange
        return suspicion
    return ProbeFailure(suspicion.reason, f"{suspicion.detail}; {failure.detail}", suspicion.stage or failure.stage)


def _with_words(failure: ProbeFailure, said: str) -> ProbeFailure:
    """The failure with the program's own message, unless it is quoted already; a program that ended mostly says why."""
    if said[:60] in failure.detail:
        return failure
    link = ": " if failure.reason is Reason.PROCESS_EXITED else "; it said: "
    return ProbeFailure(failure.reason, f"{failure.detail}{link}{said}", failure.stage)


def _may_pass(verdict: Verdict, seen: Observation) -> bool:
    """True if another attempt may succeed."""
    if verdict.reason is Reason.RATE_LIMITED and seen.retry_after_s is not None:
        return True
    if verdict.status not in (Status.UNHEALTHY, Status.UNKNOWN):
        return False
    if seen.may_pass is not None:
        return seen.may_pass
    return verdict.reason in RETRYABLE or (verdict.reason is Reason.HTTP_STATUS and (seen.http_status or 0) >= 500)


def _result(
    kind: str,
    shown: str,
    started_at_ms: int,
    seen: Observation,
    trace: Trace,
    verdict: Verdict,
    earlier: list[Reason],
    stderr_tail: str | None,
    masking: Masking,
) -> ProbeResult:
    return ProbeResult(
        kind=kind,
        status=verdict.status,
        reason=verdict.reason,
        detail=masking(verdict.detail) if verdict.detail else verdict.detail,
        score=verdict.score,
        failed_stage=verdict.stage,
        url=shown,
        started_at_ms=started_at_ms,
        duration_us=seen.duration_us,
        attempts=len(earlier) + 1,
        earlier_reasons=",".join(earlier) or None,
        stages_us=trace.stages_us(),
        http_status=seen.http_status,
        received_bytes=trace.received_bytes,
        connections_opened=trace.connections_opened,
        reused=trace.first_reused,
        redirects=seen.redirects,
        certificate_expires_at_ms=trace.certificate_expires_at_ms,
        auth_metadata_url=masking(seen.auth_metadata_url) if seen.auth_metadata_url else None,
        retry_after_s=seen.retry_after_s,
        sessions_opened=seen.sessions_opened,
        sessions_closed=seen.sessions_closed,
        stderr_tail=masking(stderr_tail) if stderr_tail else stderr_tail,
        mcp=_masked_facts(seen.mcp, masking),
        remarks=_remarks(seen, masking) if seen.remarks else (),
        **(_masked_figures(seen.figures, masking) if seen.figures else _NO_FIGURES),
    )


def _masked_figures(figures: Mapping[str, Any], masking: Masking) -> dict[str, Any]:
    return {name: masking(value) if isinstance(value, str) else value for name, value in figures.items()}


def _remarks(seen: Observation, masking: Masking) -> tuple[Remark, ...]:
    return tuple(Remark(name=name, detail=masking(detail)) for name, detail in seen.remarks.items())


def _masked_facts(facts: McpFacts | None, masking: Masking) -> McpFacts | None:
    if facts is None or not masking.masks_anything:
        return facts
    said = {name: getattr(facts, name) for name in _SAID_BY_SERVERS}
    masked: dict[str, Any] = {name: text and masking(text) for name, text in said.items()}
    if facts.capabilities:
        said["capabilities"], masked["capabilities"] = facts.capabilities, masking.json(facts.capabilities)
    return facts if masked == said else replace(facts, **masked)


def _to_remember(key: str, seen: Observation, memory: Mapping[str, str]) -> tuple[CacheEntry, ...]:
    """New facts only: an unchanged entry expires after its day and is looked up anew."""
    return tuple(
        cache_keys.entry(category, key, value, now_ms(), seen.remember_until_ms.get(category))
        for category, value in seen.remember.items()
        if value and memory.get(category) != value
    )
