"""The interface between a session and any transport to an MCP server: messages out, and the answers to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol

from checker.model import Reason, RemarkName, Status
from checker.probes.base import Complaint, Observation, OnLateHead, ProbeFailure, Reply, Transport
from checker.probes.mcp.jsonrpc import RpcError, RpcReply, answer_body, answers, find_reply, is_request, spelled
from checker.probes.mcp.known_contract import EarlierContract
from checker.probes.mcp.options import McpOptions
from checker.secrets.excerpts import excerpt
from checker.structs import Record
from checker.version import VERSION

CLIENT_INFO = {"name": "mcp-status-check", "version": VERSION}
_MOST_IN_BATCH = 1000
"""Messages in one batch; they exist in protocol version 2025-03-26 only."""
_MOST_ANSWERED = 100
"""Requests of the server's own that are answered in one probe; one that asks more is not waited for."""
_NO_MESSAGE = "sent JSON that is no message"
_MOST_STRAYS = 10_000
"""Consecutive lines or events that are not messages, without a reply: a server that sends more will not reply."""


class Answer(Record, frozen=True):
    """The answer to one message; the status is 200 if messages do not travel over HTTP."""

    status: int
    headers: Mapping[str, str]
    result: Mapping[str, Any] | None = None
    error: RpcError | None = None
    text: str = ""
    """Start of a body that was no JSON-RPC, for the detail of a refusal."""
    source: bytes = b""
    """The text of the result, by which what follows from it is known again; or empty (`jsonrpc.read`)."""

    def refused(self, method: str) -> ProbeFailure:
        """The failure for this answer, when a result was needed."""
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


class Channel(Protocol):
    """One attempt's channel to its server; used by one greenlet, except where a method says otherwise."""

    name: str
    """`streamable-http`, `sse` or `stdio`."""
    leaves_sessions: bool
    """True if a session outlives the connection it was opened on."""
    options: McpOptions
    seen: Observation
    asked: int
    """The number of the request that was sent last."""
    earlier: EarlierContract | None
    """What came in an earlier run, as far as that is known."""

    def call(
        self,
        transport: Transport,
        method: str,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        on_head: Callable[[Reply], None] | None = None,
        on_late_head: OnLateHead | None = None,
    ) -> Answer:
        """Send a request and read until its reply; ``headers`` apply to Streamable HTTP only.

        ``on_head`` gets the head of an HTTP reply before its body is read; ``on_late_head`` gets one that comes after
        an interrupted wait (`checker.probes.base.Transport.send`).
        """
        ...

    def notify(self, transport: Transport, method: str, headers: Mapping[str, str]) -> Answer:
        """Send a notification; the answer has neither result nor error."""
        ...

    def delete(self, transport: Transport, headers: Mapping[str, str]) -> int:
        """End the session if that takes a message of its own, and return the HTTP status."""
        ...


Loose = Literal["", "at once", "at the end"]


def note_oddness(reply: RpcReply, seen: Observation) -> None:
    """Record the oddities of the message that contained a reply."""
    if reply.odd:
        seen.remark(RemarkName.RESULT_SHAPE, f"a reply: {reply.odd}")
    if reply.refused:
        refused_once(seen, f"a reply: {reply.refused}")


def refused_once(seen: Observation, detail: str) -> None:
    """Complain once about a part that an official client refuses, because every reply may contain it."""
    complaint = Complaint(Status.DEGRADED, Reason.MCP_NOT_JSONRPC, detail, "transfer")
    if complaint not in seen.complaints:
        seen.complaints.append(complaint)


class IncomingMessages:
    """Messages that arrive on a stream: finds replies, answers the server's requests, ignores the rest.

    The official clients also drop invalid messages and replies to no request. Such a message is a remark if the reply
    arrives in spite of it, and the reported cause if none does.
    """

    def __init__(
        self,
        seen: Observation,
        send: Callable[[bytes], None],
        remark: RemarkName,
        earlier: EarlierContract | None = None,
    ) -> None:
        """``remark`` is the name of the remark for data other than messages."""
        self._seen, self._send, self._remark, self.earlier = seen, send, remark, earlier
        self._strays, self._since_reply, self._first_stray = 0, 0, ""
        self._loose: Mapping[str, Any] | None = None
        self.first_odd = ""
        """The first data that is neither a reply nor a message of the server's own accord."""
        self.late: dict[int, Mapping[str, Any]] = {}
        """Number of a request that was given up -> the message that answers it."""
        self.source = b""
        """The text of the result in the message that was taken last (`jsonrpc.read`)."""

    def reply_to(self, request_id: int, messages: Iterable[Any], *, loose: Loose = "") -> RpcReply | None:
        """The reply among the messages; None if they end without it. Raises ProbeFailure for a broken one.

        ``loose`` decides if an error that names no request is taken for the reply.
        """
        found: RpcReply | None = None
        self._loose = None
        for message in messages:
            if isinstance(message, list) and len(message) > _MOST_IN_BATCH:
                raise ProbeFailure(Reason.BODY_TOO_LARGE, f"a batch of more than {_MOST_IN_BATCH} messages")
            for one in message if isinstance(message, list) else (message,):
                found = self._taken(one, request_id, loose) or found
            if found is not None:
                self._seen.suspicion, self._since_reply = None, 0
                note_oddness(found, self._seen)
                return found
        if loose and self._loose is not None:
            self._seen.suspicion = None
            return find_reply(self._loose, request_id)
        if self._seen.suspicion is not None:
            raise self._seen.suspicion
        return None

    def note_stray(self, what: str, shown: bytes) -> None:
        """Record data that is not a message; raises ProbeFailure if there is no end to it."""
        self._strays += 1
        self._since_reply += 1
        self._first_stray = self._first_stray or f"{what}: {excerpt(shown, 80)!r}"
        self.first_odd = self.first_odd or self._first_stray
        said = self._first_stray + (f", and {self._strays - 1} more" if self._strays > 1 else "")
        self._seen.remarks[self._remark] = said
        self._seen.suspicion = ProbeFailure(Reason.MCP_NOT_JSONRPC, said)
        if self._since_reply > _MOST_STRAYS:
            raise self._seen.suspicion

    def _taken(self, one: Any, request_id: int, loose: Loose) -> RpcReply | None:
        """The message if it is the reply; every other message is handled here."""
        if not isinstance(one, dict):
            self.note_stray(_NO_MESSAGE, spelled(one))
            return None
        if "method" in one:
            if is_request(one):
                self._answer(one)
            return None
        given = one.get("id")
        if answers(given, request_id):
            return find_reply(one, request_id)
        if "result" not in one and "error" not in one:
            self.note_stray(_NO_MESSAGE, spelled(one))
        elif isinstance(given, int) and 0 < given < request_id:
            self.late[given] = one
        elif isinstance(given, int):
            said = f"a reply with id {given} came, expected {request_id}"
            self.first_odd = self.first_odd or f"sent {said}"
            self._seen.suspicion = ProbeFailure(Reason.MCP_NOT_JSONRPC, said)
        elif loose == "at once" and "error" in one:
            return find_reply(one, request_id)
        else:
            self._loose = one if "error" in one else self._loose
            self.first_odd = self.first_odd or "sent a reply without an id"
            said = f"a reply came whose id is {excerpt(str(given), 40)}: {excerpt(spelled(one), 80)!r}"
            self._seen.suspicion = ProbeFailure(Reason.MCP_NOT_JSONRPC, said)
            self._seen.remark(RemarkName.REPLY_WITHOUT_ID, said)
        return None

    def _answer(self, request: Mapping[str, Any]) -> None:
        """Answer like a client without any capability: ping is answered, every other method is unknown."""
        budget = self._seen.budget
        budget.requests_answered += 1
        if budget.requests_answered > _MOST_ANSWERED:
            self._seen.suspicion = ProbeFailure(
                Reason.MCP_NO_REPLY,
                f"the server sent more than {_MOST_ANSWERED} requests of its own instead of a reply",
            )
            return
        self._send(answer_body(request))
