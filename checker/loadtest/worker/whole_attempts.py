"""Load of complete check attempts, one for each arrival, for any kind of probe."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import gevent
from gevent.queue import SimpleQueue
from msgspec.structs import replace

from checker.judge import judge
from checker.loadtest.messages import REFUSED, RESENT
from checker.loadtest.worker.target import OpenedConnections, Target, TargetOrder
from checker.model import Reason, Status
from checker.probe_kinds import KIND_OF
from checker.probes import probe_of
from checker.probes.base import Budget, Observation, ProbeFailure
from checker.worker.transport.client import Client
from checker.worker.transport.failures import deadline_failure
from checker.worker.transport.trace import Trace

log = logging.getLogger(__name__)
_END_S = 2.0


class AttemptTarget:
    """A `checker.loadtest.worker.target.Target` with a greenlet for each concurrent operation, each with a caller."""

    def __init__(self, order: TargetOrder, caller: Callable[[AttemptTarget], AttemptCaller]) -> None:
        self.series, self.order, self.kind = order.series, order, KIND_OF[order.part.operation]
        timeout_s = order.part.timeout_s
        self.options = replace(order.options, timeout=timeout_s, connect_timeout=timeout_s)
        self.shared, self.deadlines, self.notes = order.shared, order.deadlines, order.notes
        self._new_caller, self._load = caller, order.load
        self._most = order.most
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self._idle = 0
        self._callers: list[gevent.Greenlet[..., None]] = []
        self._opened = OpenedConnections()

    def begin(self, key: int, intended_ns: int, waited: int, user: int) -> bool:
        """Pass the operation to a free greenlet, or to a new one."""
        if self._idle:
            self._idle -= 1
        elif len(self._callers) < self._most:
            self._callers.append(gevent.spawn(self._serve))
        else:
            return False
        self._jobs.put((key, intended_ns, waited, user))
        return True

    def expire(self, now_ns: int) -> None:
        """Does nothing: every greenlet has its own deadline."""

    def opened_recently(self) -> int:
        """Connections opened in the last minute."""
        return self._opened.recently()

    def close(self) -> None:
        """Close what the callers keep, within moments."""
        for _ in self._callers:
            self._jobs.put(None)
        gevent.joinall(self._callers, timeout=_END_S)
        gevent.killall(self._callers, block=True, timeout=_END_S)
        self._callers.clear()

    def _serve(self) -> None:
        """Run one operation after the other."""
        caller = self._new_caller(self)
        try:
            while (job := self._jobs.get()) is not None:
                key, intended_ns, waited, user = job
                caller.do(key, intended_ns, waited)
                self._idle += 1
                self._load.ended(user)
        finally:
            caller.leave()

    def note(self, key: int, code: int, intended_ns: int, sent_ns: int, done_ns: int, trace: Trace) -> None:
        """Record a sample and the stages it went through."""
        first_ns = round(trace.answered_at * 1e9)
        self.notes.samples.extend((key, code, intended_ns, sent_ns, first_ns, done_ns, trace.received_bytes))
        if trace.connections_opened:
            self._opened.note(done_ns, trace.connections_opened)
        stages_us = trace.stages_us()
        for name, taken_us in stages_us.items():
            if taken_us:
                self.notes.phases.extend((key, intended_ns, self.notes.phase(name), taken_us * 1000))
        for _ in range(trace.connections_opened - ("connect" in stages_us)):
            self.notes.phases.extend((key, intended_ns, 0, 0))  # each row of the first phase is a connection


class AttemptCaller:
    """A caller that makes one attempt after the other, and keeps nothing between them."""

    def __init__(self, target: AttemptTarget) -> None:
        self.target = target
        self.seen = Observation()
        """Of the operation in progress, or of the last one."""

    def do(self, key: int, intended_ns: int, waited: int) -> None:
        """Run one operation and record its sample; never raises for the behaviour of a server."""
        target = self.target
        trace = Trace(Budget.of(target.options))
        failure: ProbeFailure | None = None
        sent_ns = monotonic_ns()
        deadline = target.deadlines.set(target.options.timeout)
        try:
            failure = self.operate(trace)
        except ProbeFailure as failed:
            failure = failed
        except gevent.Timeout as timeout:
            if timeout is not deadline.raised:
                raise
            failure = deadline_failure(trace.step, trace.stage, target.options.timeout)
        except Exception as error:
            shown = probe_of(target.kind).address(target.options).shown
            log.exception("%s at %s", target.order.part.operation, shown)
            failure = ProbeFailure(Reason.INTERNAL_ERROR, type(error).__name__)
        finally:
            deadline.cancel()
        done_ns = monotonic_ns()
        code = waited
        if failure is not None:
            seen = self.seen
            code |= target.notes.code(_said(failure, seen))
            refused = failure.reason is Reason.RATE_LIMITED or seen.retry_after_s is not None
            code |= REFUSED if refused or seen.http_status == 503 else 0
            self.recover(failure)
        if trace.resent:
            code |= RESENT
        target.note(key, code, intended_ns, sent_ns, done_ns, trace)

    def operate(self, trace: Trace) -> ProbeFailure | None:
        """Run one attempt; returns the failure in its verdict, if there is one. Raises ProbeFailure, too."""
        target, probe = self.target, probe_of(self.target.kind)
        seen = self.seen = Observation(budget=trace.budget)
        client = Client(target.shared, target.options, trace)
        start_ns = monotonic_ns()
        try:
            probe.attempt(target.options, client, seen, {})
        except ProbeFailure as failure:
            seen.failure = failure
        finally:
            client.close(answered=seen.failure is None)
        if seen.failure is not None:  # under load, being refused is failing, whatever a check makes of it
            return seen.failure
        seen.duration_us = (monotonic_ns() - start_ns) // 1000
        verdict = judge(probe, target.options, seen, 0, None)
        if verdict.reason is None or verdict.status is not Status.UNHEALTHY:
            return None
        return ProbeFailure(verdict.reason, verdict.detail or "")

    def recover(self, failure: ProbeFailure) -> None:
        """Prepare for the next operation after a failed one."""

    def leave(self) -> None:
        """Close everything that was kept."""


def target(order: TargetOrder) -> Target:
    """A target of complete attempts at a server."""
    return AttemptTarget(order, AttemptCaller)


def _said(failure: ProbeFailure, seen: Observation) -> str:
    """The reason, with the status or the error code that caused it if that distinguishes faults of the server."""
    if failure.reason is Reason.HTTP_STATUS and seen.http_status:
        return f"{failure.reason.value} {seen.http_status}"
    if failure.reason is Reason.CONDITION_FAILED and failure.detail == "isError":
        return f"{failure.reason.value} isError"
    return failure.reason.value
