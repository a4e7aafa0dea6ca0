"""Faults of HTTP and TLS, whatever is spoken over it; and faults of what a health endpoint answers."""

from __future__ import annotations

import gzip
import json
import sys
import time
import zlib
from collections.abc import Callable
from functools import cache

from hostile.peer import Behaviour, Peer, chunked, head

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

OK = b'{"status": "UP"}'
_JSON = "Content-Type: application/json"
_BLOCK = b"x" * 65536
_BOMB_BYTES = 50_000_000


def after_request(*pieces: bytes, then: Callable[[Peer], None] | None = None) -> Behaviour:
    """Read the request, say this, then do that, then close."""

    def behave(peer: Peer) -> None:
        if peer.asked() is not None:
            for piece in pieces:
                peer.say(piece)
            if then is not None:
                then(peer)

    return behave


def flooding(first: bytes, block: bytes) -> Behaviour:
    """Read the request, say the first part, and then the block without end."""
    return after_request(first, then=lambda peer: peer.flood(block))


_MADE: list[Callable[[], bytes]] = []


def prepare() -> None:
    """Make what takes a while before it is asked for."""
    for made in _MADE:
        made()


def coded(coding: str, body: Callable[[], bytes]) -> Behaviour:
    """A body in a content coding; some take a while to make: see `prepare`."""
    made = cache(body)
    _MADE.append(made)
    return lambda peer: peer.reply(made(), "200 OK", f"Content-Encoding: {coding}") if peer.asked() else None


def _brotli_bomb() -> bytes:
    import brotli

    return bytes(brotli.compress(bytes(_BOMB_BYTES), quality=5))


def redirecting(location: str, status: str = "302 Found") -> Behaviour:
    """Every request is sent on; ``{trap}`` and ``{self}`` are filled in."""

    def behave(peer: Peer) -> None:
        while peer.asked() is not None:
            to = location.format(trap=peer.trap, self=f"http://127.0.0.1:{peer.port}")
            peer.reply(b"", status, f"Location: {to}")

    return behave


def answering(body: bytes | Callable[[], bytes], status: str = "200 OK", *headers: str) -> Behaviour:
    """Every request gets this body."""

    def behave(peer: Peer) -> None:
        while peer.asked() is not None:
            peer.reply(body if isinstance(body, bytes) else body(), status, *headers)

    return behave


WIRE: dict[str, tuple[Behaviour, str]] = {
    "closes at once": (lambda peer: None, "connection_closed"),
    "resets at once": (Peer.reset, "connection_closed connect_failed"),
    "silent, and never reads": (lambda peer: time.sleep(5), "first_byte_timeout"),
    "silent after the request": (after_request(then=Peer.stay), "first_byte_timeout"),
    "a byte a second of the head": (after_request(then=lambda peer: peer.drip(head("200 OK"))), "deadline"),
    "a byte a second of the body": (
        after_request(head("200 OK", _JSON, "Content-Length: 100"), then=lambda peer: peer.drip(_BLOCK)),
        "deadline",
    ),
    "closes in the middle of the head": (after_request(b"HTTP/1.1 200 OK\r\nContent-Ty"), "connection_closed"),
    "closes in the middle of the body": (
        after_request(head("200 OK", _JSON, "Content-Length: 100") + OK),
        "connection_closed",
    ),
    "closes in the middle of a chunk": (
        after_request(head("200 OK", _JSON, "Transfer-Encoding: chunked") + b"64\r\n" + OK),
        "connection_closed",
    ),
    "resets in the middle of the body": (
        after_request(head("200 OK", _JSON, "Content-Length: 100") + OK, then=Peer.reset),
        "connection_closed",
    ),
    "endless head": (flooding(b"HTTP/1.1 200 OK\r\n", b"X-A: aaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 2000), "http_malformed"),
    "endless line in the head": (flooding(b"HTTP/1.1 200 OK\r\nX-A: ", _BLOCK), "http_malformed"),
    "endless status line": (flooding(b"HTTP/1.1 200 ", _BLOCK), "http_malformed"),
    "endless interim responses": (flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000), "http_malformed"),
    "too many headers": (after_request(head("200 OK", *["X-A: a"] * 1000), then=Peer.stay), "http_malformed"),
    "not HTTP": (after_request(b"\x00\xffSSH-2.0-OpenSSH_9.2\r\n\r\n"), "http_malformed"),
    "status that is no number": (after_request(b"HTTP/1.1 2x0 OK\r\n\r\n"), "http_malformed"),
    "length that is no number": (after_request(head("200 OK", "Content-Length: -1") + OK), "http_malformed"),
    "two lengths": (after_request(head("200 OK", "Content-Length: 1", "Content-Length: 16") + OK), "http_malformed"),
    "chunk without a size": (
        after_request(head("200 OK", _JSON, "Transfer-Encoding: chunked") + b"zz\r\nabc\r\n"),
        "http_malformed",
    ),
    "chunk extension without an end": (
        flooding(head("200 OK", _JSON, "Transfer-Encoding: chunked") + b"1;a=", _BLOCK),
        "http_malformed body_too_large deadline",
    ),
    "trailers without an end": (
        flooding(head("200 OK", _JSON, "Transfer-Encoding: chunked") + b"0\r\n", b"X-A: aaaaaaaaaaaaaaa\r\n" * 3000),
        "http_malformed body_too_large deadline",
    ),
    "switches protocols unasked": (
        after_request(head("101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade"), then=Peer.stay),
        "http_status http_malformed connection_closed deadline",
    ),
    "endless body": (flooding(head("200 OK", _JSON), _BLOCK), "body_too_large"),
    "body that is announced too large": (
        flooding(head("200 OK", _JSON, "Content-Length: 99999999999"), _BLOCK),
        "body_too_large",
    ),
    "endless body of chunks of a byte": (
        flooding(head("200 OK", _JSON, "Transfer-Encoding: chunked"), chunked([b"x"] * 10_000)),
        "body_too_large deadline",
    ),
    "gzip bomb": (coded("gzip", lambda: gzip.compress(bytes(_BOMB_BYTES))), "body_too_large"),
    "gzip bomb in a gzip bomb": (
        coded("gzip, gzip", lambda: gzip.compress(gzip.compress(bytes(_BOMB_BYTES)))),
        "body_too_large decode",
    ),
    "deflate bomb": (coded("deflate", lambda: zlib.compress(bytes(_BOMB_BYTES))), "body_too_large"),
    "brotli bomb": (coded("br", _brotli_bomb), "body_too_large"),
    "zstd bomb": (coded("zstd", lambda: bytes(zstd.compress(bytes(_BOMB_BYTES)))), "body_too_large"),
    "gzip that is cut off": (coded("gzip", lambda: gzip.compress(OK * 100)[:-12]), "decode"),
    "not the gzip it says": (coded("gzip", lambda: b"this is no gzip"), "decode"),
    "redirects in a circle": (redirecting("{self}/again"), "redirect_blocked http_status"),
    "redirects to a link-local address": (
        redirecting("http://169.254.77.77/latest/meta-data/", "307 Temporary Redirect"),
        "redirect_blocked",
    ),
    "redirects to a link-local address written as IPv6": (
        redirecting("http://[::ffff:169.254.77.77]/latest/", "307 Temporary Redirect"),
        "redirect_blocked",
    ),
    "redirects to a file": (redirecting("file:///etc/passwd", "307 Temporary Redirect"), "redirect_blocked"),
    "challenge of a megabyte of commas": (
        answering(b"", "401 Unauthorized", "WWW-Authenticate: " + "Bearer a=,," * 5000),
        "auth_rejected",
    ),
    "challenge that leads to a file": (
        answering(b"", "401 Unauthorized", 'WWW-Authenticate: Bearer resource_metadata="file:///etc/passwd"'),
        "auth_rejected",
    ),
}
"""Fault -> what the server does, and the reasons that are true of it."""

_DEEP = b"[" * 100_000 + b"]" * 100_000
_NUMBER = b'{"status": 1' + b"0" * 500_000 + b', "depth": -1e999999999, "at": 1E400}'

BODIES: dict[str, tuple[Behaviour, str]] = {
    "JSON of 100,000 levels": (answering(b'{"status": ' + _DEEP + b"}"), "condition_failed"),
    "JSON of 100,000 objects in each other": (
        answering(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        "condition_failed",
    ),
    "number of half a million digits": (answering(_NUMBER), "condition_failed"),
    "list of three million objects": (
        answering(lambda: b"[" + b"{}," * 2_800_000 + b"{}]"),
        "body_too_large condition_failed",
    ),
    "JSON that is cut off": (answering(b'{"status": "U'), "condition_failed"),
    "not JSON": (answering(b"<html>Welcome</html>"), "condition_failed"),
    "not text": (answering(b'{"status": "\xff\xfe\xed\xa0\x80"}'), "condition_failed"),
    "other types than expected": (answering(b'{"status": [{"UP": null}]}'), "condition_failed"),
    "null": (answering(b"null"), "condition_failed"),
    "terminal controls in the value": (
        answering(json.dumps({"status": "\x1b]0;owned\x07\x9b2J\u202e"}).encode()),
        "condition_failed",
    ),
}
"""Bodies for a probe that expects `$.status` to be UP."""

POISON = b" " * 1_000_000
"""A body that takes an engine that goes back hours with `\\s+UP$`."""
