"""The clock of one attempt: the time of each stage, the current stage, and the traffic of its connections."""

from __future__ import annotations

from contextlib import AbstractContextManager
from time import perf_counter
from typing import TYPE_CHECKING

from checker.addresses import Scope
from checker.probe_kinds import STAGES
from checker.probes.base import Budget, ProbeFailure

if TYPE_CHECKING:
    from checker.worker.transport.tls import Expiry

CONNECTING = ("dns", "connect", "tls")
_OWN = {"auth", "start"}
"""Stages nested in another one that are named if they fail."""


class Trace:
    """Filled in by the connections and by the probe during an attempt; read when it is over."""

    step = "dns"
    """The step in progress: one of dns, connect, tls, send, wait, transfer."""
    named: str | None = None
    """The probe's own stage in progress, such as initialize."""
    answered_at = 0.0
    """`perf_counter` moment at which the latest reply began to arrive; 0 before the first."""
    received_bytes = 0
    connections_opened = 0
    resent = 0
    """Requests sent again, because the server ended a kept connection before a byte of the reply."""
    first_reused: bool | None = None
    certificate_expires_at_ms: int | None = None
    """The earliest expiry of all certificates seen."""
    certificate_of = ""
    """The owner of that certificate, if it is not the own certificate of the host that was called first."""
    reached: Scope | None = None
    """The outermost scope of the hosts connected to: an address named by one of them may lead no farther inside."""
    _elsewhere_s = 0.0
    _first_host: str | None = None

    def __init__(self, budget: Budget | None = None) -> None:  # what is the same for all at first costs nothing here
        self.budget = Budget() if budget is None else budget
        """The probe's remaining budget for data from its server."""
        self._spent_s: dict[str, float] = {}

    @property
    def stage(self) -> str:
        """The stage to name if the attempt breaks off now."""
        return self.named if self.named and self.step not in CONNECTING else self.step

    def connecting_took(self, step: str, seconds: float) -> None:
        """Add to a step of opening a connection."""
        self._elsewhere_s += seconds
        self._add(step, seconds)

    def connected(self, looked_up_s: float, connected_s: float) -> None:
        """Add to the steps of a connection that has been opened."""
        self._elsewhere_s += looked_up_s + connected_s
        spent_s = self._spent_s
        spent_s["dns"] = spent_s.get("dns", 0.0) + looked_up_s
        spent_s["connect"] = spent_s.get("connect", 0.0) + connected_s

    def spent(self, step: str, seconds: float) -> None:
        """Add to a step of an exchange; inside a named stage the time belongs to that stage."""
        if self.named is None:
            spent_s = self._spent_s
            spent_s[step] = spent_s.get(step, 0.0) + seconds

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Time a stage of the probe's own, without the time spent connecting or in a nested stage."""
        return _StageTimer(self, stage)

    def connection(self, *, peer: Scope, reused: bool) -> None:
        """Count the connection that an exchange uses, and record the kind of host it leads to."""
        self.connections_opened += not reused
        if self.first_reused is None:
            self.first_reused = reused
        if self.reached is None or peer < self.reached:
            self.reached = peer

    def note_certificate(self, expiry: Expiry, host: str) -> None:
        """Keep the expiry of a host's certificates, if no others expire before."""
        if self._first_host is None:
            self._first_host = host
        if self.certificate_expires_at_ms is None or expiry.at_ms < self.certificate_expires_at_ms:
            issuer = f" of the issuer {expiry.issuer}" if expiry.issuer else ""
            self.certificate_expires_at_ms = expiry.at_ms
            self.certificate_of = issuer + ("" if host == self._first_host else f" of {host}")

    def stages_us(self) -> dict[str, int]:
        """The stages that happened, in microseconds."""
        return {name: round(spent_s * 1e6) for name, spent_s in self._spent_s.items() if name in STAGES}

    def exchange_us(self) -> dict[str, int]:
        """The same for an exchange outside the probe's own stages: all of them are stored."""
        return {name: round(spent_s * 1e6) for name, spent_s in self._spent_s.items()}

    def _add(self, stage: str, seconds: float) -> None:
        self._spent_s[stage] = self._spent_s.get(stage, 0.0) + seconds


class _StageTimer:
    """The context manager returned by `Trace.timed`; a generator would take four times as long."""

    __slots__ = ("_elsewhere_s", "_outer", "_stage", "_start", "_trace")

    def __init__(self, trace: Trace, stage: str) -> None:
        self._trace, self._stage = trace, stage

    def __enter__(self) -> None:
        trace = self._trace
        self._outer, trace.named = trace.named, self._stage
        self._start, self._elsewhere_s = perf_counter(), trace._elsewhere_s

    def __exit__(self, _kind: object, failure: BaseException | None, _traceback: object) -> None:
        trace, stage = self._trace, self._stage
        spent_s = perf_counter() - self._start - (trace._elsewhere_s - self._elsewhere_s)
        trace._add(stage, spent_s)
        if self._outer is not None:
            trace._elsewhere_s += spent_s
        if failure is None:  # else it stays the one that is named where the attempt breaks off
            trace.named = self._outer
        elif isinstance(failure, ProbeFailure) and failure.stage not in (*CONNECTING, *_OWN):
            failure.stage = stage
