"""The circuit breaker of a server's probes: the probes to skip, and the state after a check; pure.

The states and all transitions between them are in docs/breaker.md.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from checker.model import CheckResult, ProbeResult, Reason, Server, Status

if TYPE_CHECKING:
    from checker.probes.options import Breaker

Rules = Mapping[str, "Breaker"]
"""Probe kind -> its breaker's options, for the kinds that have one."""
_MS_PER_S = 1000


class BreakerState(StrEnum):
    """The state of a breaker, which decides if a probe is made."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """Tried in every run, each time as a trial."""


class Circuit(Struct, frozen=True, kw_only=True):
    """The state of the breaker for one probe of one server."""

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    """Consecutive failures."""
    successes: int = 0
    """Consecutive successful trials."""
    since_ms: int = 0
    """Time of the change to this state; for one that was never open, of its first failure."""
    retry_at_ms: int | None = None
    """Time of the next trial of an open one."""
    reason: str | None = None
    """Reason of the last failure."""


Circuits = Mapping[str, Circuit]
"""Probe kind -> its circuit; a kind that is absent is closed and has never failed."""


def rules(server: Server) -> dict[str, Breaker]:
    """The breakers that the server's options configure."""
    return {kind: options.breaker for kind, options in server.probes.items() if options.breaker is not None}


def whole(circuits: Circuits, wanted: Rules) -> str:
    """The server's breaker in one word if its probes agree, else the circuits that are not closed: ``mcp open``."""
    states = {kind: circuits.get(kind, Circuit()).state for kind in wanted}
    if len(set(states.values())) == 1:
        return str(next(iter(states.values())))
    return (
        ", ".join(f"{kind} {state}" for kind, state in states.items() if state is not BreakerState.CLOSED) or "closed"
    )


def skips(circuits: Circuits, wanted: Rules, now_ms: int) -> dict[str, str]:
    """Probe kind -> reason for skipping it now, for circuits that are open and not yet due for a trial."""
    found = {}
    for kind, rule in wanted.items():
        circuit = circuits.get(kind)
        if circuit is None or circuit.state is not BreakerState.OPEN:
            continue
        retry_at_ms = _retry_at_ms(circuit, rule)
        if circuit.since_ms <= now_ms < retry_at_ms:  # it opened in the future where the clock was set back: try now
            found[kind] = _skipped(circuit, retry_at_ms)
    return found


def after(circuits: Circuits, wanted: Rules, check: CheckResult) -> dict[str, Circuit]:
    """The circuits of all wanted kinds after a check.

    A probe that is UNKNOWN, or that was skipped by an open breaker, is no evidence about its server, and neither is a
    suspect check. A trial is any probe that was made although its circuit was not closed.
    """
    before = {kind: circuits.get(kind, Circuit()) for kind in wanted}
    told = () if check.suspect else tuple(probe for probe in check.probes if probe.kind in wanted and _tells(probe))
    if not told:
        return before
    now_ms = check.started_at_ms + check.duration_us // 1000
    moved = {probe.kind: _moved(before[probe.kind], wanted[probe.kind], probe, now_ms) for probe in told}
    return _settled(before | moved, wanted, now_ms)


def _tells(probe: ProbeResult) -> bool:
    return probe.status is not Status.UNKNOWN and probe.reason is not Reason.CIRCUIT_OPEN


def _moved(circuit: Circuit, rule: Breaker, probe: ProbeResult, now_ms: int) -> Circuit:
    """One circuit after its own probe, regardless of the others."""
    if probe.status is not Status.UNHEALTHY:
        if circuit.state is BreakerState.CLOSED:
            return replace(circuit, failures=0)
        since_ms = circuit.since_ms if circuit.state is BreakerState.HALF_OPEN else now_ms
        successes = circuit.successes + 1
        return Circuit(state=BreakerState.HALF_OPEN, successes=successes, since_ms=since_ms, reason=circuit.reason)
    failures, reason = circuit.failures + 1, None if probe.reason is None else probe.reason.value
    if circuit.state is BreakerState.CLOSED and failures < rule.failures:
        return replace(circuit, failures=failures, reason=reason, since_ms=circuit.since_ms or now_ms)
    retry_at_ms = now_ms + round(rule.cooldown * _MS_PER_S)
    return Circuit(state=BreakerState.OPEN, failures=failures, since_ms=now_ms, retry_at_ms=retry_at_ms, reason=reason)


def _settled(circuits: dict[str, Circuit], wanted: Rules, now_ms: int) -> dict[str, Circuit]:
    """Close circuits that completed their trials: each on its own if any circuit is closed, else all or none."""
    ready = {
        kind
        for kind, circuit in circuits.items()
        if circuit.state is BreakerState.HALF_OPEN and circuit.successes >= wanted[kind].trials
    }
    one_is_closed = any(circuit.state is BreakerState.CLOSED for circuit in circuits.values())
    if not one_is_closed and len(ready) < len(circuits):
        return circuits
    closed = {kind: Circuit(since_ms=now_ms, reason=circuits[kind].reason) for kind in ready}
    return circuits | closed


def _retry_at_ms(circuit: Circuit, rule: Breaker) -> int:
    """Time of the next trial: as set when the circuit opened, or earlier if the cooldown is now shorter."""
    now_ruled = circuit.since_ms + round(rule.cooldown * _MS_PER_S)
    return now_ruled if circuit.retry_at_ms is None else min(circuit.retry_at_ms, now_ruled)


def _skipped(circuit: Circuit, retry_at_ms: int) -> str:
    many = f"{circuit.failures} failures in a row, the last one" if circuit.failures > 1 else "the last call failed:"
    at_s = -(-retry_at_ms // _MS_PER_S)  # rounded up, so that it is not told earlier than it is done
    said = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
    return f"not called: {many} {circuit.reason}; tried again from {said}"
