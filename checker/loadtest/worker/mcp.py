"""MCP operations in kept sessions: one caller for each concurrent operation, each with its own session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import gevent

from checker.loadtest.worker.target import Target, TargetOrder
from checker.loadtest.worker.whole_attempts import AttemptCaller, AttemptTarget
from checker.model import Reason
from checker.probes.base import ProbeFailure
from checker.probes.mcp.reused_session import KeptSession
from checker.worker.transport.client import Client
from checker.worker.transport.trace import Trace

_END_S = 2.0
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
"""Failures that are complete replies: the session is unchanged, unless it is gone (404)."""
_GONE = 404


class SessionCaller(AttemptCaller):
    """A caller that runs one operation after the other in one session."""

    def __init__(self, target: AttemptTarget) -> None:
        super().__init__(target)
        self._start()
        operations: Mapping[str, Callable[[], None]] = {
            "mcp_ping": self._ping,
            "mcp_list": self._list,
            "mcp_call": self._call,
            "mcp_churn": self._churn,
        }
        self._operate = operations[target.order.part.operation]

    def operate(self, trace: Trace) -> ProbeFailure | None:
        """Run the operation in the session."""
        self._client.go_on(trace)
        self.seen.budget, self.seen.retry_after_s = trace.budget, None
        self._operate()
        return None

    def recover(self, failure: ProbeFailure) -> None:
        """Keep the session if it is still usable; otherwise the next operation opens a new one."""
        if failure.reason not in _ANSWERED or not self._kept.is_open or self.seen.http_status == _GONE:
            gevent.spawn(_abandon, self._kept, self._client)  # what failed may have left anything behind
            self._start()

    def leave(self) -> None:
        """End the session and the program."""
        _abandon(self._kept, self._client)

    def _start(self) -> None:
        self._kept = KeptSession(self.target.options)
        self._client = Client(self.target.shared, self.target.options, Trace())
        self.seen = self._kept.seen

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
        part = self.target.order.part
        self._ready()
        self._kept.find_tool(self._client, part.tool)
        self._kept.call_tool(self._client, part.tool, part.arguments)

    def _churn(self) -> None:
        self._kept.open(self._client)  # one that fails has left nothing to go on with
        self._kept.end(self._client)


def _abandon(kept: KeptSession, client: Client) -> None:
    """Close the session, if there is one, and its other resources; failures do not count."""
    client.go_on(Trace())
    with suppress(ProbeFailure, gevent.Timeout), gevent.Timeout(_END_S):
        kept.end(client)
    client.close(answered=True)


def target(order: TargetOrder) -> Target:
    """A target of operations in kept sessions of a server."""
    return AttemptTarget(order, SessionCaller)
