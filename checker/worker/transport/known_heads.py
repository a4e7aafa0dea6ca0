"""Replies whose head is known: most heads of a fleet are the same bytes again, or were a moment ago.

A head is remembered with what llhttp made of it. A reply that consists of such a head and exactly the body that it
announces needs no parser: it is whole, and its connection is free again.
"""

from __future__ import annotations

import http.client
from time import perf_counter
from typing import Any

from checker.worker.transport.http1 import IncomingResponse
from checker.worker.transport.reply import Response
from checker.worker.transport.trace import Trace

_MOST_HEADS = 1024
_MOST_HEAD_BYTES = 4096
_END = b"\r\n\r\n"
_HEAD_BYTES = len(_END)


class KnownHead:
    """The head of a whole reply, and its meaning for the connection."""

    __slots__ = ("body_bytes", "headers", "is_plain", "keeps_connection", "status")

    def __init__(self, response: IncomingResponse, body_bytes: int) -> None:
        self.status, self.headers, self.body_bytes = response.status, response.headers, body_bytes
        self.keeps_connection = response.reusable
        self.is_plain = 200 <= self.status < 300 and _SAYS_MORE.isdisjoint(self.headers)
        """The reply succeeds, and no header but its length asks the client for anything."""


_SAYS_MORE = frozenset({"content-encoding", "location", "retry-after", "www-authenticate"})
_BY_OTHER_MEANS = frozenset({"transfer-encoding", "upgrade"})
_WITHOUT_BODY = (204, 304)


class KnownHeads:
    """The heads that a worker has seen lately, by their bytes."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}

    def find(self, received: bytes) -> tuple[KnownHead, bytes] | None:
        """Head and body, if the bytes are one whole reply to GET or POST, and its head is known."""
        end = received.find(_END) + _HEAD_BYTES
        head = self._heads.get(received[:end])
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
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        head = self._heads[received[:end]] = KnownHead(response, len(received) - end)
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

    __slots__ = ("_body", "_head", "headers", "status")
    complete = True

    def __init__(self, head: KnownHead, body: bytes) -> None:
        self._head, self._body = head, body
        self.status, self.headers = head.status, head.headers

    @property
    def reusable(self) -> bool:
        """True if the connection can carry another exchange."""
        return self._head.keeps_connection

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
