"""Faults of an MCP server over Streamable HTTP and over HTTP+SSE: what carries the messages, and what fills streams."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress

from hostile.messages import CANARY, Message, error, good
from hostile.peer import Behaviour, Peer, chunked, event, head

Answer = Callable[[Peer, Message], bytes]
"""The bytes of the message that answers a request."""
Fill = Callable[[Peer], None]
"""What is done with an open event stream instead of the reply."""

_EVENTS = head("200 OK", "Content-Type: text/event-stream", "Cache-Control: no-store")


def over_json(answer: Answer) -> Behaviour:
    """Streamable HTTP, each reply a JSON body."""

    def behave(peer: Peer) -> None:
        while (asked := peer.asked()) is not None:
            message = asked.message
            if asked.method != "POST" or "id" not in message or "method" not in message:
                peer.reply(b"", "405 Method Not Allowed" if asked.method == "GET" else "202 Accepted")
            else:
                peer.shared["authorization"] = asked.headers.get("authorization", "")
                peer.reply(answer(peer, message))

    return behave


def over_stream(answer: Answer | None, fill: Fill | None = None) -> Behaviour:
    """Streamable HTTP, each reply an event; with ``fill`` that is what comes instead of the tool list."""

    def behave(peer: Peer) -> None:
        while (asked := peer.asked()) is not None:
            message = asked.message
            if asked.method == "GET" and fill is not None:
                peer.say(_EVENTS)
                return fill(peer)
            if asked.method != "POST" or "id" not in message or "method" not in message:
                peer.reply(b"", "405 Method Not Allowed" if asked.method == "GET" else "202 Accepted")
            elif fill is not None and message["method"] == "tools/list":
                peer.say(_EVENTS)
                return fill(peer)
            else:
                data = b"data: " + (answer(peer, message) if answer else good(message)) + b"\n\n"
                lines = ("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
                peer.say(head(*lines) + chunked([data]) + b"0\r\n\r\n")
        return None

    return behave


def over_sse(answer: Answer | None, fill: Fill | None = None, first: bytes | None = None) -> Behaviour:
    """HTTP+SSE; with ``fill`` that is what comes instead of the tool list, or of the endpoint if ``first`` is given."""

    def behave(peer: Peer) -> None:
        while (asked := peer.asked()) is not None:
            message = asked.message
            if asked.method == "GET":
                peer.say(_EVENTS + (b"event: endpoint\ndata: /messages\n\n" if first is None else first))
                peer.shared["stream"] = peer
                (fill or Peer.stay)(peer) if first is not None else Peer.stay(peer)
                return
            peer.reply(b"", "202 Accepted")
            if "id" not in message or "method" not in message:
                continue
            stream = peer.shared.get("stream")
            if stream is None:
                continue
            with suppress(OSError):  # the client has closed it
                if fill is not None and message["method"] == "tools/list":
                    fill(stream)
                    stream.reset()
                    stream.sock.shutdown(2)
                else:
                    stream.say(b"data: " + (answer(peer, message) if answer else good(message)) + b"\n\n")

    return behave


def _line(peer: Peer) -> None:
    peer.say(b"data: ")
    peer.flood(b"y" * 1400, 40)


def _ended_with_id(peer: Peer) -> None:
    peer.say(b"id: 1\nretry: 1\ndata:\n\n")


def _comes_later(peer: Peer) -> None:
    peer.say(b"id: 1\nretry: 999999999\ndata:\n\n")


_NOTE: Message = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 50}}
_REQUEST: Message = {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {"messages": []}}
_ENDLESS = "deadline body_too_large mcp_not_jsonrpc mcp_no_reply"


def _again_and_again(message: Message) -> Fill:
    block = event(message) * 200
    return lambda peer: peer.flood(block)


MESSAGES_WITHOUT_END: dict[str, Message] = {
    "notifications without end": _NOTE,
    "requests of its own without end": _REQUEST,
    "replies to others without end": {"jsonrpc": "2.0", "id": 4711, "result": {}},
}
"""Fault -> the message that comes again and again instead of the reply, over any transport."""

STREAMS: dict[str, tuple[Fill, str]] = {
    **{fault: (_again_and_again(message), _ENDLESS) for fault, message in MESSAGES_WITHOUT_END.items()},
    "the reply never comes": (Peer.stay, "deadline"),
    "the stream ends without the reply": (lambda peer: None, "mcp_no_reply connection_closed"),
    "line without end": (_line, _ENDLESS),
    "empty lines without end": (lambda peer: peer.flood(b"\n" * 65536), _ENDLESS),
    "carriage returns without end": (lambda peer: peer.flood(b"\r" * 65536), _ENDLESS),
    "comments without end": (lambda peer: peer.flood(b": still here\n\n" * 4000), _ENDLESS),
    "event without an end of lines": (lambda peer: peer.flood(b"data: x\n" * 8000), _ENDLESS),
    "identifiers without end": (lambda peer: peer.flood(b"id: 1\ndata: \n\n" * 4000), _ENDLESS),
    "a byte a second on the stream": (lambda peer: peer.drip(b"data: {}" * 9), _ENDLESS),
    "garbage on the stream": (lambda peer: peer.say(b"data: \xff\xfe{{{\n\n"), "mcp_not_jsonrpc"),
    "message of 100,000 levels on the stream": (
        lambda peer: peer.say(b"data: " + b"[" * 100_000 + b"]" * 100_000 + b"\n\n"),
        "mcp_not_jsonrpc mcp_no_reply",
    ),
}
"""Fault of an event stream -> what is done with it instead of the reply, and the reasons that are true of it."""

RESUMED: dict[str, tuple[Fill, str]] = {
    "stream that ends again and again": (_ended_with_id, "mcp_no_reply deadline"),
    "stream to be taken up again in eleven days": (_comes_later, "deadline mcp_no_reply"),
}
"""The same, of Streamable HTTP alone: only there a stream can be taken up again."""

ENDPOINTS: dict[str, tuple[Behaviour, str]] = {
    "no endpoint": (over_sse(None, Peer.stay, b""), "deadline mcp_no_reply"),
    "comments instead of the endpoint": (over_sse(None, STREAMS["comments without end"][0], b""), _ENDLESS),
    "line without end instead of the endpoint": (over_sse(None, _line, b""), _ENDLESS),
    "endpoint at another origin": (
        over_sse(None, None, b"event: endpoint\ndata: http://169.254.77.77/latest/\n\n"),
        "redirect_blocked",
    ),
    "endpoint that is a file": (
        over_sse(None, None, b"event: endpoint\ndata: file:///etc/passwd\n\n"),
        "redirect_blocked mcp_invalid_result",
    ),
    "endpoint that is no address": (
        over_sse(None, None, b"event: endpoint\ndata: http://[::1\n\n"),
        "mcp_invalid_result redirect_blocked",
    ),
    "endpoint with line breaks": (
        over_sse(None, None, b"event: endpoint\ndata: /a\ndata: HTTP/1.1\ndata: X-A: a\n\n"),
        "mcp_invalid_result http_malformed redirect_blocked mcp_no_reply deadline healthy",
    ),
}
"""Fault of the first event of HTTP+SSE -> the server."""


def _echoed(peer: Peer, message: Message) -> bytes:
    """The credential as it came, in pieces and forms that a text may have."""
    if message["method"] != "initialize":
        return good(message)
    import base64

    forms = [CANARY, json.dumps(CANARY), base64.b64encode(CANARY.encode()).decode(), "%63" + CANARY[1:]]
    return error(message, f"{'x' * 80} {peer.shared['authorization']} {' '.join(forms)}")


ECHOES: dict[str, tuple[Answer, str]] = {"credential sent back in an error": (_echoed, "mcp_error")}
"""Fault -> answers to a probe that carries the canary as its bearer token."""


def _never_ended(peer: Peer) -> None:
    while (asked := peer.asked()) is not None:
        if asked.method == "DELETE":
            return peer.stay()
        if "id" in asked.message:
            peer.reply(good(asked.message), "200 OK", "Mcp-Session-Id: 1")
        else:
            peer.reply(b"", "202 Accepted")
    return None


SESSIONS: dict[str, tuple[Behaviour, str]] = {"end of the session that is never answered": (_never_ended, "healthy")}
"""Fault of a session of Streamable HTTP -> the server."""


def slow(answer: Answer, delay_s: float) -> Answer:
    """The same, later."""

    def later(peer: Peer, message: Message) -> bytes:
        time.sleep(delay_s)
        return answer(peer, message)

    return later
