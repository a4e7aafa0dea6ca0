"""Replies whose head is known: most heads of a fleet are the same bytes again, or were a moment ago.

A head is remembered with what llhttp made of it. A reply that consists of such a head and exactly the body that it
announces needs no parser: it is whole, and its connection is free again.
"""

from __future__ import annotations

import http.client
import re
from time import perf_counter
from typing import Any

from checker.worker.transport.http1 import IncomingResponse
from checker.worker.transport.reply import Response
from checker.worker.transport.trace import Trace

_MOST_HEADS = 512
_MOST_HEAD_BYTES = 2048
_END = b"\r\n\r\n"
_HEAD_BYTES = len(_END)


class KnownHead:
    """The head of a whole reply, and its meaning for the connection."""

    __slots__ = ("body_bytes", "headers", "is_encoded", "is_plain", "keeps_connection", "status")

    def __init__(self, response: IncomingResponse, body_bytes: int) -> None:
        self.status, self.headers, self.body_bytes = response.status, response.headers, body_bytes
        self.keeps_connection, self.is_encoded = response.reusable, "content-encoding" in response.headers
        self.is_plain = 200 <= self.status < 300 and _SAYS_MORE.isdisjoint(self.headers)
        """The reply succeeds, and no header but its length asks the client for anything."""

    def of_session(self, session_id: str) -> KnownHead:
        """The same head with another identifier of a session."""
        other = object.__new__(KnownHead)
        other.status, other.headers = self.status, self.headers.with_value(_SESSION_ID, session_id)
        other.body_bytes, other.keeps_connection, other.is_plain = self.body_bytes, self.keeps_connection, self.is_plain
        other.is_encoded = self.is_encoded
        return other


_SESSION_ID = "mcp-session-id"
_SESSION = re.compile(rb"(?i)\r\nmcp-session-id:[ \t]*([!-~]+)[ \t]*(?=\r\n(?![ \t]))")
"""The line of a head that is another one in each reply to initialize; without it, heads are the same again."""
_SAYS_MORE = frozenset({"content-encoding", "location", "retry-after", "www-authenticate"})
_BY_OTHER_MEANS = frozenset({"transfer-encoding", "upgrade"})
_WITHOUT_BODY = (204, 304)


class KnownHeads:
    """The heads that a worker has seen lately, by their bytes."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}
        self._of_sessions: dict[bytes, KnownHead] = {}
        """Heads that name a session, by their bytes without that line."""

    def find(self, received: bytes) -> tuple[KnownHead, bytes] | None:
        """Head and body, if the bytes are one whole reply to GET or POST, and its head is known."""
        end = received.find(_END) + _HEAD_BYTES
        written = received[:end]
        head = self._heads.get(written)
        if head is None and (named := _SESSION.search(written)) is not None:
            head = self._of_sessions.get(written[: named.start()] + written[named.end() :])
            if head is not None:
                head = head.of_session(named[1].decode("ascii"))
        if head is None or len(received) - end != head.body_bytes:
            return None
        return head, received[end:]

    def parsed(self, received: bytes) -> tuple[KnownHead, bytes] | None:
        """Head and body, if the bytes are one whole reply to GET or POST as the parser reads them."""
        nowhere: Any = None  # nothing more is read
        response = IncomingResponse(nowhere, "GET", Trace())
        try:
            response.take(received)
        except http.client.HTTPException:
            return None
        if not response.complete or response.surplus:
            return None
        head = self.learn(received, response) or KnownHead(response, 0)
        return head, response.rest()

    def learn(self, received: bytes, response: IncomingResponse) -> KnownHead | None:
        """Remember the head of a reply that has been parsed, and was read in one piece; None if it is not simple."""
        end = received.find(_END) + _HEAD_BYTES
        if not _HEAD_BYTES <= end <= _MOST_HEAD_BYTES or not _is_simple(response, len(received) - end):
            return None
        for heads in (self._heads, self._of_sessions):
            if len(heads) >= _MOST_HEADS:
                heads.clear()
        head, written = KnownHead(response, len(received) - end), received[:end]
        if _SESSION_ID not in head.headers:
            self._heads[written] = head
        elif (named := _SESSION.search(written)) and named[1].decode("ascii") == head.headers[_SESSION_ID]:
            self._of_sessions[written[: named.start()] + written[named.end() :]] = head
        return head


def _is_simple(response: IncomingResponse, body_bytes: int) -> bool:
    """True if everything after this head depends on its Content-Length alone."""
    headers = response.headers
    return (
        response.complete
        and not response.surplus
        and response.as_sent
        and response.status >= 200
        and response.status not in _WITHOUT_BODY
        and headers.get("content-length") == str(body_bytes)
        and _BY_OTHER_MEANS.isdisjoint(headers)
    )


class WholeReply:
    """Implements `checker.worker.transport.reply.Response` for a reply that has arrived completely."""

    __slots__ = ("_body", "head", "headers", "status")
    complete = True

    def __init__(self, head: KnownHead, body: bytes) -> None:
        self.head, self._body = head, body
        self.status, self.headers = head.status, head.headers

    @property
    def reusable(self) -> bool:
        """True if the connection can carry another exchange."""
        return self.head.keeps_connection

    def next_piece(self) -> bytes:
        """All of the body that was not taken yet; empty after that."""
        return self.rest()

    def rest(self) -> bytes:
        """The same."""
        body, self._body = self._body, b""
        return body


def first_reply(connection: Any, received: bytes, method: str, trace: Trace, heads: KnownHeads) -> Response:
    """The reply that begins with these bytes of a plain connection: whole already, or read on as it arrives.

    Raises the exceptions of `IncomingResponse.read_head`.
    """
    if method != "HEAD" and (known := heads.find(received)) is not None:
        trace.budget.take(len(received))
        trace.spent("transfer", perf_counter() - trace.answered_at)
        return WholeReply(*known)
    connection.begun = response = IncomingResponse(connection.with_greenlets(), method, trace)
    response.read_head_from(received)
    connection.begun = None
    if method != "HEAD":
        heads.learn(received, response)
    return response
