"""Targets that read what servers send: HTTP, event streams, JSON-RPC, challenges, authorization metadata."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

from fuzz_replies import FromBytes, events, http_reply, message

from checker.model import RemarkName
from checker.probes.base import Observation, ProbeFailure
from checker.probes.http import challenge, says_expired, token_has_expired
from checker.probes.mcp.jsonrpc import RpcReply, find_reply, parse
from checker.probes.mcp.rpc_channel import IncomingMessages as Messages
from checker.probes.mcp.sse import EventStream
from checker.worker.transport.http1 import IncomingResponse
from checker.worker.transport.reply import HttpReply
from checker.worker.transport.trace import Trace

_METHODS = ("server/discover", "initialize", "tools/list", "tools/call", "prompts/list", "resources/read")
_MOST_BODY = 1 << 20
_LARGEST_SEND = 150_000


def pieces(data: bytes) -> Iterator[bytes]:
    """The data in pieces whose sizes follow from the data, so that a finding is found again."""
    start, step = 0, (len(data) * 7 + sum(data[:8])) % 13 + 1
    while start < len(data):
        yield data[start : start + step]
        start, step = start + step, step * 5 % 17 + 1


def http_response(data: bytes) -> None:
    """A response off a real socket: a proper reply or a failure, the same for the same bytes."""
    assert _read_response(data) == _read_response(data)


def _read_response(data: bytes) -> object:
    ours, theirs = socket.socketpair()
    try:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _LARGEST_SEND)
        theirs.sendall(data[:_LARGEST_SEND])
        theirs.close()
        ours.settimeout(5)
        response = IncomingResponse(ours, "GET", Trace())
        response.read_head()
        reply = HttpReply(response, _Connection(), lambda _: None, Trace(), _MOST_BODY)
        body = reply.read()
        assert 0 <= reply.status <= 999, reply.status
        assert len(body) <= _MOST_BODY
        assert all(name == name.lower() for name in reply.headers)
        return reply.status, dict(reply.headers), body
    except (ProbeFailure, http.client.HTTPException, OSError) as failure:
        return type(failure).__name__
    finally:
        ours.close()


class _Connection:
    """What a reply needs of its connection."""

    def close(self) -> None:
        """Nothing is kept."""


def event_stream(data: bytes) -> None:
    """Events are the same whatever the pieces they come in."""
    whole, apart = EventStream(), EventStream()
    found = _events(whole, [data])
    assert found == _events(apart, pieces(data))
    assert (whole.last_id, whole.retry_ms) == (apart.last_id, apart.retry_ms)
    assert sum(len(kind) + len(text) for kind, text in found) <= len(data) + len("message") * len(found)


def _events(stream: EventStream, chunks: object) -> list[tuple[bytes, bytes]]:
    try:
        return list(stream.events(chunks))  # type: ignore[arg-type] # a list or an iterator of bytes
    except ProbeFailure:
        return []


def json_rpc(data: bytes) -> None:
    """A message is a reply, none, or a failure with a detail that can be shown: as a body, and on a stream."""

    def on_stream(message: object) -> RpcReply | None:
        seen = Observation()
        incoming = Messages(seen, lambda _: None, RemarkName.STREAM_EVENTS)
        try:
            return incoming.reply_to(2, [message], loose="at the end")
        finally:
            assert all(text.isprintable() and len(text) < 1000 for text in seen.remarks.values())

    for found_in in (lambda message: find_reply(message, 1), on_stream):
        try:
            reply = found_in(parse(data))
        except ProbeFailure as failure:
            assert failure.detail
            assert failure.detail.isprintable()
            assert len(failure.detail) < 1000
        else:
            assert reply is None or (reply.result is None) != (reply.error is None)
            assert reply is None or reply.error is None or len(str(reply.error)) < 1000


def challenges(data: bytes) -> None:
    """Parameters of a challenge, and what a text or a token says of its own end."""
    text = data.decode("latin-1")
    found = challenge(text)
    assert all(name == name.lower() for name in found)
    assert sum(map(len, found.values())) <= len(text)
    assert isinstance(says_expired(text), bool)
    assert isinstance(token_has_expired(text, 0.0), bool)


def reply(data: bytes) -> None:
    """A message that the bytes decide, as JSON, as a stream, and as a whole response around it."""
    draw = FromBytes(data)
    oddness = draw.choice((0.1, 0.5, 1.0))
    text = message(draw, draw.choice(_METHODS), 1, oddness)
    body = text.encode("utf-8", "surrogatepass")
    json_rpc(body)
    stream = events(draw, [text], oddness)
    event_stream(stream)
    for kind, content in (("application/json", body), ("text/event-stream", stream)):
        http_response(http_reply(draw, content, kind, oddness, "http://127.0.0.1:1"))
