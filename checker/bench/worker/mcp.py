"""MCP operations at one server: a greenlet for each that is under way, each with a session of its own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic_ns
from typing import Any

import gevent
from gevent.queue import SimpleQueue

from checker.bench.news import REFUSED, RESENT
from checker.bench.plan import Operation
from checker.bench.worker.notes import Notes
from checker.bench.worker.target import Load
from checker.judge import judge
from checker.model import Reason, Status
from checker.probes import probe_of
from checker.probes.base import Budget, Observation, ProbeFailure
from checker.probes.mcp.kept import KeptSession
from checker.probes.mcp.options import McpOptions
from checker.worker.deadlines import Deadlines
from checker.worker.transport.client import Client, Shared
from checker.worker.transport.failures import deadline_failure
from checker.worker.transport.trace import Trace

log = logging.getLogger(__name__)
_END_S = 2.0
_RECENT_S = 60
_ANSWERED = frozenset(
    {
        Reason.MCP_ERROR,
        Reason.MCP_INVALID_RESULT,
        Reason.CONDITION_FAILED,
        Reason.HTTP_STATUS,
        Reason.RATE_LIMITED,
        Reason.AUTH_REQUIRED,
        Reason.AUTH_REJECTED,
        Reason.AUTH_EXPIRED,
        Reason.AUTH_SCOPE,
    }
)
"""Failures that are whole answers: the session is as it was, unless it is gone (404)."""
_GONE = 404


@dataclass(frozen=True, slots=True)
class Doing:
    """What an operation is, and the tool that it calls, if it does."""

    operation: Operation
    tool: str
    arguments: Mapping[str, Any]


class McpTarget:
    """Implements `checker.bench.worker.target.Target`."""

    def __init__(
        self,
        series: int,
        options: McpOptions,
        doing: Doing,
        shared: Shared,
        deadlines: Deadlines,
        most: int,
        timeout_s: float,
        notes: Notes,
        load: Load,
    ) -> None:
        self.series = series
        self.options = replace(options, timeout=timeout_s)
        self.doing, self.shared, self.deadlines, self.notes, self.load = doing, shared, deadlines, notes, load
        self._most = most
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self._idle = 0
        self._callers: list[gevent.Greenlet[..., None]] = []
        self._opened: Counter[int] = Counter()

    def begin(self, key: int, intended_ns: int, waited: int, user: int) -> bool:
        """Hand the operation to a greenlet that is free, or to a new one."""
        if self._idle:
            self._idle -= 1
        elif len(self._callers) < self._most:
            self._callers.append(gevent.spawn(self._serve))
        else:
            return False
        self._jobs.put((key, intended_ns, waited, user))
        return True

    def expire(self, now_ns: int) -> None:
        """Every greenlet has a deadline of its own."""

    def opened_recently(self) -> int:
        """Connections opened in the last minute."""
        since = monotonic_ns() // 1_000_000_000 - _RECENT_S
        for second in [one for one in self._opened if one < since]:
            del self._opened[second]
        return self._opened.total()

    def close(self) -> None:
        """End all sessions, within moments."""
        for _ in self._callers:
            self._jobs.put(None)
        gevent.joinall(self._callers, timeout=_END_S)
        gevent.killall(self._callers, block=True, timeout=_END_S)
        self._callers.clear()

    def _serve(self) -> None:
        """Do one operation after the other."""
        caller = _Caller(self)
        try:
            while (job := self._jobs.get()) is not None:
                key, intended_ns, waited, user = job
                caller.do(key, intended_ns, waited)
                self._idle += 1
                self.load.ended(user)
        finally:
            caller.leave()

    def note(self, key: int, code: int, intended_ns: int, sent_ns: int, done_ns: int, trace: Trace) -> None:
        """Keep a sample and the stages it went through."""
        first_ns = round(trace.answered_at * 1e9)
        self.notes.samples.extend((key, code, intended_ns, sent_ns, first_ns, done_ns, trace.received_bytes))
        if trace.connections_opened:
            self._opened[done_ns // 1_000_000_000] += trace.connections_opened
        stages_us = trace.stages_us()
        for name, taken_us in stages_us.items():
            if taken_us:
                self.notes.phases.extend((key, intended_ns, self.notes.phase(name), taken_us * 1000))
        for _ in range(trace.connections_opened - ("connect" in stages_us)):
            self.notes.phases.extend((key, intended_ns, 0, 0))  # each row of the first phase is a connection


class _Caller:
    """One session, or what makes one whole check after the other."""

    def __init__(self, target: McpTarget) -> None:
        self._target = target
        self._client = Client(target.shared, target.options, Trace())
        self._kept = KeptSession(target.options)
        self._operations: dict[Operation, Callable[[], None]] = {
            Operation.MCP_PING: self._ping,
            Operation.MCP_LIST: self._list,
            Operation.MCP_CALL: self._call,
            Operation.MCP_CHURN: self._churn,
        }

    def do(self, key: int, intended_ns: int, waited: int) -> None:
        """One operation and its sample; never raises for what a server does."""
        target = self._target
        budget = Budget.of(target.options)
        trace, self._kept.seen.budget = Trace(budget), budget
        failure: ProbeFailure | None = None
        sent_ns = monotonic_ns()
        deadline = target.deadlines.set(target.options.timeout)
        try:
            if target.doing.operation is Operation.MCP_CHECK:
                failure = self._check(trace)
            else:
                self._client.go_on(trace)
                self._kept.seen.retry_after_s = None
                self._operations[target.doing.operation]()
        except ProbeFailure as failed:
            failure = failed
        except gevent.Timeout as timeout:
            if timeout is not deadline.raised:
                raise
            failure = deadline_failure(trace.step, trace.stage, target.options.timeout)
        except Exception as error:
            log.exception("%s at %s", target.doing.operation, probe_of("mcp").address(target.options).shown)
            failure = ProbeFailure(Reason.INTERNAL_ERROR, type(error).__name__)
        finally:
            deadline.cancel()
        done_ns = monotonic_ns()
        code = waited
        if failure is not None:
            code |= target.notes.code(_said(failure, self._kept.seen))
            refused = failure.reason is Reason.RATE_LIMITED or self._kept.seen.retry_after_s is not None
            code |= REFUSED if refused or self._kept.seen.http_status == 503 else 0
            if failure.reason not in _ANSWERED or not self._kept.is_open or self._kept.seen.http_status == _GONE:
                self._start_over()
        if trace.resent:
            code |= RESENT
        target.note(key, code, intended_ns, sent_ns, done_ns, trace)

    def leave(self) -> None:
        """End the session and the program."""
        _abandon(self._kept, self._client)

    def _start_over(self) -> None:
        """The session is gone, or what failed may have left anything behind: the next operation opens a new one."""
        gevent.spawn(_abandon, self._kept, self._client)
        self._kept = KeptSession(self._target.options)
        self._client = Client(self._target.shared, self._target.options, Trace())

    def _check(self, trace: Trace) -> ProbeFailure | None:
        """A full check; the failure that its verdict is, if it is one."""
        target, seen = self._target, Observation(budget=trace.budget)
        client = Client(target.shared, target.options, trace)
        self._kept.seen.retry_after_s, self._kept.seen.http_status = None, None
        try:
            probe_of("mcp").attempt(target.options, client, seen, {})
        except ProbeFailure as failure:
            seen.failure = failure
        finally:
            client.close(answered=seen.failure is None)
        self._kept.seen.retry_after_s, self._kept.seen.http_status = seen.retry_after_s, seen.http_status
        if seen.failure is not None:  # under load, being refused is failing, whatever a check makes of it
            return seen.failure
        verdict = judge(probe_of("mcp"), target.options, seen, 0, None)
        if verdict.reason is None or verdict.status is not Status.UNHEALTHY:
            return None
        return ProbeFailure(verdict.reason, verdict.detail or "")

    def _ready(self) -> None:
        if not self._kept.is_open:
            self._kept.open(self._client)

    def _ping(self) -> None:
        self._ready()
        self._kept.ping(self._client)

    def _list(self) -> None:
        self._ready()
        self._kept.list_tools(self._client)

    def _call(self) -> None:
        doing = self._target.doing
        self._ready()
        self._kept.find_tool(self._client, doing.tool)
        self._kept.call_tool(self._client, doing.tool, doing.arguments)

    def _churn(self) -> None:
        self._kept.open(self._client)  # one that fails has left nothing to go on with
        self._kept.end(self._client)


def _abandon(kept: KeptSession, client: Client) -> None:
    """End the session, if there is one, and whatever else is left; it counts for nothing."""
    client.go_on(Trace())
    with suppress(ProbeFailure, gevent.Timeout), gevent.Timeout(_END_S):
        kept.end(client)
    client.close(answered=True)


def _said(failure: ProbeFailure, seen: Observation) -> str:
    """The reason, with the status or the code of the error behind it where that tells servers' faults apart."""
    if failure.reason is Reason.HTTP_STATUS and seen.http_status:
        return f"{failure.reason.value} {seen.http_status}"
    if failure.reason is Reason.CONDITION_FAILED and failure.detail == "isError":
        return f"{failure.reason.value} isError"
    return failure.reason.value
