"""HTTP responses off a socket: the same whatever the pieces they come in, refused where they are no HTTP."""

from __future__ import annotations

import gzip
import http.client
import itertools
import random
import socket
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.model import Reason
from checker.probes.base import ProbeFailure
from checker.worker.transport.http1 import IncomingResponse, parsed, request_bytes
from checker.worker.transport.reply import HttpReply
from checker.worker.transport.trace import Trace

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY = b'{"status": "UP"}'
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6;x=y\r\n"
    + BODY[:6]
    + b"\r\na\r\n"
    + BODY[6:]
    + b"\r\n0\r\nT: 1\r\n\r\n"
)
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + BODY


def coded(coding: bytes, body: bytes) -> bytes:
    """A response with this body."""
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body)) + body


class Connection:
    """What a reply needs of its connection."""

    def __init__(self) -> None:
        self.closed = self.kept = False

    def close(self) -> None:
        self.closed = True

    def give_back(self, _: Any) -> None:
        self.kept = not self.closed


def read(
    pieces: Iterable[bytes], method: str = "GET", max_body: int = 1 << 20
) -> tuple[int, dict[str, str], bytes, bool]:
    """Status, headers, body, and whether the connection was kept."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        for piece in pieces:
            theirs.sendall(piece)
        theirs.close()

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    connection = Connection()
    try:
        response = IncomingResponse(ours, method, Trace())
        response.read_head()
        reply = HttpReply(response, connection, connection.give_back, Trace(), 1 << 20)
        body = reply.read()
        return reply.status, dict(reply.headers), body, connection.kept
    finally:
        ours.close()
        sending.join(5)


RESPONSES: dict[str, tuple[bytes, str, tuple[int, bytes, bool]]] = {
    # response, method: status, body, whether the connection is kept
    "length": (LENGTH, "GET", (200, BODY, True)),
    "chunked": (CHUNKED, "GET", (200, BODY, True)),
    "to the end": (b"HTTP/1.1 200 OK\r\n\r\n" + BODY, "GET", (200, BODY, False)),
    "connection close": (LENGTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1), "GET", (200, BODY, False)),
    "http 1.0": (LENGTH.replace(b"1.1", b"1.0"), "GET", (200, BODY, False)),
    "http 1.0 kept": (
        LENGTH.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n", 1),
        "GET",
        (200, BODY, True),
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", (204, b"", True)),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 16\r\n\r\n", "GET", (304, b"", True)),
    "head": (b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n", "HEAD", (200, b"", True)),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n" + LENGTH, "GET", (200, BODY, True)),
    "the same length twice": (
        LENGTH.replace(b"\r\n\r\n", b"\r\ncontent-length:16\r\nA: b\r\n\r\n", 1),
        "GET",
        (200, BODY, True),
    ),
    "a list of lengths behind interim replies": (
        b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + LENGTH.replace(b": 16", b": 16, 16 ,16", 1),
        "GET",
        (200, BODY, True),
    ),
    "the same length twice with line feeds": (
        LENGTH.replace(b"\r\n", b"\nContent-Length: 16\n", 1).replace(b"\r\n", b"\n"),
        "GET",
        (200, BODY, True),
    ),
    "lines that are no headers": (
        LENGTH.replace(b"\r\n\r\n", b"\r\nnonsense\r\n: b\r\nA B: c\r\nX : y\r\n\r\n", 1),
        "GET",
        (200, BODY, True),
    ),
    "spaces behind the size of a chunk": (CHUNKED.replace(b"\r\na\r\n", b"\r\na  \r\n"), "GET", (200, BODY, True)),
    "a length and chunks": (
        CHUNKED.replace(b"\r\n", b"\r\nContent-Length: 16\r\n", 1),
        "GET",
        (200, BODY, True),
    ),
    "no reason": (LENGTH.replace(b" OK", b""), "GET", (200, BODY, True)),
    "line feeds": (LENGTH.replace(b"\r\n", b"\n"), "GET", (200, BODY, True)),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", (200, b"", True)),
    "two responses": (LENGTH + LENGTH, "GET", (200, BODY, False)),
    "gzip": (coded(b"gzip", gzip.compress(BODY, mtime=0)), "GET", (200, BODY, True)),
    "deflate": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n" + zlib.compress(BODY),
        "GET",
        (200, BODY, False),
    ),
    "brotli": (coded(b"br", brotli.compress(BODY)), "GET", (200, BODY, True)),
    "zstd": (coded(b"zstd", zstd.compress(BODY)), "GET", (200, BODY, True)),
    "unknown coding": (
        LENGTH.replace(b"\r\n\r\n", b"\r\nContent-Encoding: x-none\r\n\r\n", 1),
        "GET",
        (200, BODY, True),
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_response_is_read(name: str) -> None:
    data, method, expected = RESPONSES[name]
    status, _, body, kept = read([data], method)
    assert (status, body, kept) == expected


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(set(RESPONSES) - {"two responses"})), st.lists(st.integers(0, 300), max_size=12))
def test_pieces_make_no_difference(name: str, cuts: list[int]) -> None:
    data, method, expected = RESPONSES[name]
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    status, headers, body, kept = read(pieces, method)
    assert (status, body) == expected[:2]
    assert headers == read([data], method)[1]
    assert kept <= expected[2]


BROKEN: dict[str, tuple[bytes, type[Exception], str]] = {
    "nothing": (b"", http.client.RemoteDisconnected, "closed without"),
    "no http": (b"220 mail.example.net ESMTP\r\n", http.client.HTTPException, "Expected HTTP"),
    "cut head": (b"HTTP/1.1 200 OK\r\nContent-Le", http.client.IncompleteRead, ""),
    "endless head": (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000, http.client.HTTPException, "does not end"),
    "many headers": (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n", http.client.HTTPException, "headers"),
    "interim without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, http.client.HTTPException, "does not end"),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        http.client.HTTPException,
        "Content-Length",
    ),
    "a line that is no header without an end of the head": (
        b"HTTP/1.1 200 OK\r\nnonsense\r\n" + b"A: b\r\n" * 20_000,
        http.client.HTTPException,
        "",
    ),
    "lines that are no headers and a length that is no number": (
        b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: x\r\n\r\nab",
        http.client.HTTPException,
        "Content-Length",
    ),
    "a list of different lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nab",
        http.client.HTTPException,
        "Content-Length",
    ),
    "cut body": (LENGTH[:-4], ProbeFailure, "closed before the end of the body"),
    "cut chunks": (CHUNKED[:-9], ProbeFailure, "closed before the end of the body"),
    "chunk length": (CHUNKED.replace(b"\r\na\r\n", b"\r\nzz\r\n"), ProbeFailure, "chunk"),
    "not gzip": (LENGTH.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1), ProbeFailure, "decompressed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_response_is_refused(name: str) -> None:
    data, kind, said = BROKEN[name]
    with pytest.raises(kind) as refused:
        read([data])
    assert said in (refused.value.detail if isinstance(refused.value, ProbeFailure) else str(refused.value))


@pytest.mark.parametrize(
    ("coding", "compress"),
    [(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"br", brotli.compress), (b"zstd", zstd.compress)],
    ids=["gzip", "deflate", "br", "zstd"],
)
def test_bomb_is_not_unpacked_beyond_the_limit(coding: bytes, compress: Callable[[bytes], bytes]) -> None:
    """16 MiB of nothing, of which no more than the limit of 1 MiB and a piece is ever in memory."""
    data = coded(coding, compress(bytes(16 << 20)))
    tracemalloc.start()
    with pytest.raises(ProbeFailure) as refused:
        read([data])
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.reason is Reason.BODY_TOO_LARGE
    assert most_bytes < 4 << 20


def test_a_hundred_headers_are_read_and_no_more_however_they_are_called() -> None:
    lines = [b"A: b" if number % 2 else b"H%d: c" % number for number in range(99)]
    data = b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: 0", *lines])
    assert read([data + b"\r\n\r\n"])[1]["a"] == ", ".join(["b"] * 49)
    with pytest.raises(http.client.HTTPException, match="more than 100 headers"):
        read([data + b"\r\nX: y\r\n\r\n"])


def test_trailers_are_passed_over() -> None:
    status, headers, body, kept = read([CHUNKED.replace(b"T: 1", b"T: 1\r\nContent-Encoding: gzip")])
    assert (status, body, kept) == (200, BODY, True)
    assert headers == {"transfer-encoding": "chunked"}


def test_no_mutation_of_a_response_breaks_the_reader() -> None:
    draw = random.Random(5150)
    for _ in range(1500):
        name = draw.choice(sorted(RESPONSES))
        data, method, _ = RESPONSES[name]
        changed = bytearray(data)
        for _ in range(draw.randint(1, 6)):
            place = draw.randrange(len(changed))
            match draw.randrange(3):
                case 0:
                    changed[place] = draw.randrange(256)
                case 1:
                    del changed[place : place + draw.randint(1, 9)]
                case _:
                    changed[place:place] = draw.randbytes(draw.randint(1, 9))
            if not changed:
                break
        try:
            read([bytes(changed)], method)
        except (http.client.HTTPException, OSError, ProbeFailure):
            continue


def test_request_is_written_as_one_piece() -> None:
    _, target = parsed("http://[::1]:8080/a b?c=d")
    sent = request_bytes("POST", target, {"X-A": "b"}, b"{}")
    assert sent == (
        b"POST /a%20b?c=d HTTP/1.1\r\nHost: [::1]:8080\r\n"
        b"X-A: b\r\nAccept-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert b"Host: other\r\n" in request_bytes("GET", target, {"host": "other"}, None).replace(b"host", b"Host")
    assert request_bytes("GET", target, {"Host": "other"}, None).count(b"Host:") == 1
    assert request_bytes("GET", target, {}, None).endswith(b":8080\r\nAccept-Encoding: identity\r\n\r\n")
    assert b"Host: h\r\n" in parsed("https://h:443/")[1]


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb", "a\0", "€"])
def test_value_that_no_header_can_carry_is_not_sent(value: str) -> None:
    with pytest.raises(ProbeFailure) as refused:
        request_bytes("GET", parsed("http://h/")[1], {"Mcp-Session-Id": value}, None)
    assert refused.value.reason is Reason.HTTP_MALFORMED
