"""A load test takes a reply for what a check takes it for, in whatever pieces it comes."""

from __future__ import annotations

import gzip
import itertools
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import brotli
import pytest
from test_dns import swallowing

from checker.model import Server
from checker.probes.conditions import JsonCondition
from checker.probes.rest import Expect
from conftest import check_all
from loads import hold, of, played, rest
from servers_faults import FaultServer

BODY = b'{"status": "UP"}'
LENGTH = b"HTTP/1.1 200 OK\r\nX-Env: prod\r\nContent-Length: 16\r\n\r\n" + BODY
UP = Expect(headers={"X-Env": "prod"}, json=(JsonCondition(path="$.status", equals="UP"),))
CUT = gzip.compress(BODY * 50)[:-12]


def closing(coding: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nConnection: close\r\n\r\n" % coding + body


REPLIES: dict[str, tuple[bytes, Expect, str | None]] = {
    # reply, what is expected of it, reason
    "length": (LENGTH, UP, None),
    "to the end": (LENGTH.replace(b"Content-Length: 16\r\n", b""), UP, None),
    "http 1.0": (LENGTH.replace(b"1.1", b"1.0").replace(b"Content-Length: 16\r\n", b""), UP, None),
    "line feeds": (LENGTH.replace(b"\r\n", b"\n"), UP, None),
    "same length twice": (LENGTH.replace(b"\r\n\r\n", b"\r\ncontent-length: 16\r\n\r\n", 1), UP, None),
    "lengths in a list": (LENGTH.replace(b": 16", b": 16,16"), Expect(), None),
    "other lengths": (LENGTH.replace(b": 16", b": 16, 17"), Expect(), "http_malformed"),
    "chunks beside a length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Env: prod\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n"
        + BODY
        + b"\r\n0\r\n\r\n",
        UP,
        None,
    ),
    "interim": (b"HTTP/1.1 103 Early\r\nX-Env: early\r\nContent-Length: 3\r\n\r\n" + LENGTH, UP, None),
    "repeated field": (
        LENGTH.replace(b"\r\n\r\n", b"\r\nVia: a\r\nVia: b\r\n\r\n", 1),
        Expect(headers={"via": "^b$"}),
        None,
    ),
    "byte order mark": (
        b"HTTP/1.1 200 OK\r\nX-Env: prod\r\nContent-Length: 19\r\n\r\n\xef\xbb\xbf" + BODY,
        UP,
        None,
    ),
    "Latin-1": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Length: 1\r\n\r\n\xfc",
        Expect(body_regex="^ü$"),
        None,
    ),
    "gzip": (closing(b"gzip", gzip.compress(BODY)), Expect(), None),
    "brotli": (closing(b"br", brotli.compress(BODY)), Expect(body_regex="UP"), None),
    "cut gzip": (closing(b"gzip", CUT), Expect(), "decode"),
    "cut gzip looked into": (closing(b"gzip", CUT), Expect(body_regex="UP"), "decode"),
    "cut brotli": (closing(b"BR", brotli.compress(BODY * 50)[:-3]), Expect(), "decode"),
    "cut body": (LENGTH[:-1], Expect(), "connection_closed"),
    "cut head": (LENGTH[:30], Expect(), "connection_closed"),
    "no http": (b"220 mail.example.net ESMTP\r\n\r\n", Expect(), "http_malformed"),
    "too many headers": (
        LENGTH.replace(b"\r\n\r\n", b"\r\n" + b"A: b\r\n" * 101 + b"\r\n", 1),
        UP,
        "http_malformed",
    ),
}


def in_pieces(data: bytes, *cuts: int) -> Callable[[socket.socket], None]:
    """Sends it in pieces, each in a segment of its own."""

    def send(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in itertools.pairwise((0, *cuts, len(data))):
            sock.sendall(data[start:end])
            time.sleep(0.005 if cuts else 0)

    return send


def test_a_load_test_takes_replies_as_a_check_does_in_any_pieces() -> None:
    servers: list[Server] = []
    expected: dict[str, str | None] = {}
    with ExitStack() as stack:
        for name, (data, expect, reason) in REPLIES.items():
            head = data.find(b"\n\n") if b"\r\n\r\n" not in data else data.find(b"\r\n\r\n")
            for way, cuts in (
                ("whole", ()),
                ("cut", (9, 28)),
                ("cut late", (20, max(21, head + 1), max(22, head + 6))),
            ):
                server = stack.enter_context(FaultServer(in_pieces(data, *(cut for cut in cuts if cut < len(data)))))
                servers.append(rest(f"{name}, {way}", server.url(), expect=expect))
                expected[f"{name}, {way}"] = reason
        stream = stack.enter_context(FaultServer("endless"))
        servers.append(rest("stream", stream.url(), read_body=False, expect=Expect(headers={"content-type": "."})))
        expected["stream"] = None
        checked = {name: check.reason for name, check in check_all(servers).items()}
        run = played(servers, {one.name: hold(10, 0.5, servers=(one.name,)) for one in servers})
    loaded = {one.name: set(of(run, one.name).reasons) for one in servers}
    assert checked == expected
    assert loaded == {name: set() if reason is None else {reason} for name, reason in expected.items()}


@pytest.mark.parametrize("silent_first", [True, False])
def test_a_load_test_goes_on_to_the_address_that_answers(silent_first: bool) -> None:
    with FaultServer("ok") as server, swallowing("127.0.0.2", server.port):
        first, second = ("127.0.0.2", "127.0.0.1") if silent_first else ("127.0.0.3", "127.0.0.1")
        several = rest("a", server.url(host="two.test"))
        run = played([several], {"a": hold(20, 1.0)}, addresses={"two.test": (first, second)})
    summary = of(run, "a")
    assert (summary.ok, summary.reasons) == (20, {})
