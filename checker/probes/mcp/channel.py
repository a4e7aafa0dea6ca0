"""What a session needs of a way to an MCP server, whichever way that is: messages out, and the answers to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from checker.model import Reason
from checker.probes.base import Observation, ProbeFailure, Reply, Transport
from checker.probes.mcp.jsonrpc import RpcError, RpcReply, answer_body, answers_another, find_reply, is_request
from checker.probes.mcp.options import McpOptions
from checker.records import constructor
from checker.version import VERSION

CLIENT_INFO = {"name": "mcp-status-check", "version": VERSION}
_MOST_IN_BATCH = 1000
"""Messages in one batch; they exist in protocol version 2025-03-26 only."""
_MOST_ANSWERED = 100
"""Requests of the server's own that are answered in one probe; one that asks more is not waited for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one message; the status is 200 where messages do not travel over HTTP."""

    status: int
    headers: Mapping[str, str]
    result: Mapping[str, Any] | None = None
    error: RpcError | None = None
    text: str = ""
    """Start of a body that was no JSON-RPC, for the detail of a refusal."""

    def refused(self, method: str) -> ProbeFailure:
        """The failure that this answer is, where a result was needed."""
        if self.error is not None:
            status = "" if self.status == 200 else f" (HTTP {self.status})"
            return ProbeFailure(Reason.MCP_ERROR, f"{method}: {self.error}{status}")
        if self.status in (404, 405):
            return ProbeFailure(
                Reason.HTTP_STATUS,
                f"HTTP {self.status} to {method}: no MCP endpoint over Streamable HTTP at this address",
            )
        said = f": {self.text}" if self.text else ""
        return ProbeFailure(Reason.HTTP_STATUS, f"HTTP {self.status} to {method}{said}")


new_answer = constructor(Answer)
"""An answer, built fast."""


class Channel(Protocol):
    """One attempt's way to its server; used by one greenlet, except where a method says otherwise."""

    name: str
    """`streamable-http`, `sse` or `stdio`."""
    leaves_sessions: bool
    """Whether a session outlives the connection it was opened on."""
    options: McpOptions
    seen: Observation

    def call(
        self,
        transport: Transport,
        method: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        on_head: Callable[[Reply], None] | None = None,
    ) -> Answer:
        """Send a request and read until its reply; ``headers`` matter to Streamable HTTP only.

        ``on_head`` sees the head of an HTTP reply before its body is awaited.
        """
        ...

    def notify(self, transport: Transport, method: str, headers: Mapping[str, str]) -> Answer:
        """Send a notification; the answer has neither result nor error."""
        ...

    def delete(self, transport: Transport, headers: Mapping[str, str]) -> int:
        """End the session where that takes a message of its own, and give the HTTP status."""
        ...


class Incoming:
    """Messages that come on a stream: replies are looked for, the server's own requests answered, the rest ignored."""

    def __init__(self, seen: Observation, send: Callable[[bytes], None]) -> None:
        self._seen, self._send = seen, send

    def reply_to(self, request_id: int, messages: Iterable[Any]) -> RpcReply | None:
        """The reply among the messages; None where they end without it. Raises ProbeFailure for a broken one."""
        for message in messages:
            if isinstance(message, list) and len(message) > _MOST_IN_BATCH:
                raise ProbeFailure(Reason.BODY_TOO_LARGE, f"a batch of more than {_MOST_IN_BATCH} messages")
            for one in message if isinstance(message, list) else (message,):
                if is_request(one):
                    self._answer(one)
                elif answers_another(one, request_id) and not 0 < one["id"] < request_id:
                    self._seen.suspicion = ProbeFailure(
                        Reason.MCP_NOT_JSONRPC, f"a reply with id {one['id']} came, expected {request_id}"
                    )
            if (found := find_reply(message, request_id, on_stream=True)) is not None:
                self._seen.suspicion = None
                return found
        if self._seen.suspicion is not None:
            raise self._seen.suspicion
        return None

    def _answer(self, request: Mapping[str, Any]) -> None:
        """Answer as a client without any capability does: ping is answered, everything else not known."""
        budget = self._seen.budget
        budget.requests_answered += 1
        if budget.requests_answered > _MOST_ANSWERED:
            self._seen.suspicion = ProbeFailure(
                Reason.MCP_NO_REPLY,
                f"the server sent more than {_MOST_ANSWERED} requests of its own instead of a reply",
            )
            return
        self._send(answer_body(request))
