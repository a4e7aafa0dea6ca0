"""The fast path of a plain GET, and the fast ways to read addresses, give the same as the usual ones.

MCP_STATUS_EXAMPLES=10000 makes more examples than the suite, MCP_STATUS_SEED other ones.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import socket
import string
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
from fuzz_replies import framed, mutated
from hypothesis import example, given, settings
from hypothesis import strategies as st
from urllib3.util import parse_url

from accepting import Accepting
from checker.addresses import CONFIGURED, _own_scope, scope
from checker.cache_keys import endpoint_key
from checker.model import CheckResult, Server
from checker.probes import probe_of
from checker.probes.base import Address
from checker.probes.conditions import JsonCondition
from checker.probes.http import http_address, origin, shown_endpoint
from checker.probes.options import Retry
from checker.probes.rest import Expect, RestOptions
from checker.units import Secret
from checker.worker.transport.fast_path import single_get
from checker.worker.transport.http1 import parsed
from conftest import check_all

EXAMPLES = int(os.environ.get("MCP_STATUS_EXAMPLES", "400"))
SEED = int(os.environ.get("MCP_STATUS_SEED", "20261130"))
_NUMBER = re.compile(rb"GET /n/(\d+)")


class Reply:
    """What an address answers: pieces, and whether the connection goes on."""

    def __init__(self, number: int) -> None:
        draw = random.Random(f"{SEED} {number}")
        body = draw.choice((b"", b"x", b'{"status": "UP"}', b"[1, 2]", b"y" * 3000, b"z" * 40_000))
        oddness = draw.choice((0.0, 0.0, 0.3))
        length, framed_body = framed(draw, body, oddness)
        status = draw.choice((200, 200, 200, 200, 204, 206, 302, 401, 404, 429, 500, 503))
        fields = [
            b"Content-Type: application/json",
            b"Retry-After: 0",
            b"Location: /n/1",
            b'WWW-Authenticate: Bearer resource_metadata="http://127.0.0.1/a"',
            b"Connection: close",
            b"Set-Cookie: a=b",
            b"X-Long: " + b"l" * 5000,
            b"Date: " + str(draw.randrange(3)).encode(),
        ]
        some = draw.sample(fields, draw.choice((0, 1, 1, 2, 3)))
        head = b"HTTP/1.%d %d X\r\n" % (draw.choice((1, 1, 1, 0)), status) + b"".join(one + b"\r\n" for one in some)
        data = head + (b"" if status == 204 else length) + b"\r\n" + (b"" if status == 204 else framed_body)
        interim = draw.random() < 0.05
        if interim:
            data = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + data
        self.is_mutated = is_mutated = draw.random() < 0.3
        if is_mutated:
            data = mutated(draw, data)
        cuts = sorted({0, len(data), *(draw.randrange(len(data) + 1) for _ in range(draw.choice((0, 0, 0, 1, 3))))})
        self.pieces = [data[start:end] for start, end in itertools.pairwise(cuts)]
        self.goes_on = not (is_mutated or oddness or b"close" in data or b"HTTP/1.0" in data or b"\r\n\r\n" not in data)


class ScriptedServer:
    """Answers each address with its generated reply until it is left; a context manager."""

    def __init__(self) -> None:
        self._accepting = Accepting(self._serve, backlog=256)
        self.port = self._accepting.port

    def __enter__(self) -> ScriptedServer:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._accepting.close()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):
            sock.settimeout(10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    if not (piece := sock.recv(65536)):
                        return
                    received += piece
                asked, received = received, b""
                found = _NUMBER.match(asked)
                reply = Reply(int(found[1]) if found else 1)
                for piece in reply.pieces:
                    sock.sendall(piece)
                    if len(reply.pieces) > 1:
                        time.sleep(0.001)  # so that pieces arrive one by one: the reader has to do with either
                if not reply.goes_on:
                    return


def server_of(number: int, port: int, usual: bool) -> Server:
    """The server to check; a Host header of its own keeps it off the fast path, and changes nothing else."""
    draw = random.Random(f"{SEED} options {number}")
    expect = draw.choice(
        (
            Expect(),
            Expect(),
            Expect(json=(JsonCondition(path="$.status", equals="UP"),)),
            Expect(body_regex="x"),
            Expect(status=(200, 404)),
            Expect(headers={"Content-Type": "json"}),
        )
    )
    more: dict[str, Any] = dict(draw.choice(({}, {}, {"max_body": 2000}, {"max_total": 2000}, {"max_redirects": 0})))
    if len(Reply(number).pieces) > 1:  # what is too much in all depends on how much has come when it is looked at
        more.pop("max_total", None)
    headers = {"Host": Secret(f"127.0.0.1:{port}")} if usual else {}
    options = RestOptions(
        url=f"http://127.0.0.1:{port}/n/{number}",
        timeout=3.0,
        headers=headers,
        expect=expect,
        retry=draw.choice((Retry(), Retry(max_attempts=2, initial_backoff=0.001))),
        **more,
    )
    assert (single_get(probe_of("rest"), options) is None) == usual
    return Server(name=f"n{number}", probes={"rest": options})


def facts(check: CheckResult, port: int, after_closing: bool) -> dict[str, Any]:
    """What has to be the same by both ways: everything but times, and ports."""
    (probe,) = check.probes
    found = {name: getattr(probe, name) for name in probe.__struct_fields__}
    found |= {"check": (check.status, check.reason, check.detail, check.score), "stages_us": sorted(probe.stages_us)}
    if after_closing:  # the end of the connection has come by now, or not yet
        found |= {"reused": None, "connections_opened": None, "stages_us": None}
    if probe.status != "HEALTHY":  # how much of a faulty reply was read depends on how it came
        found |= {"received_bytes": None}
    if probe.reason == "body_too_large":  # told as soon as too much has come, which may be in any piece
        found |= {"http_status": None, "check": None, "detail": None, "failed_stage": None}
    without_times = {name: value for name, value in found.items() if name not in ("started_at_ms", "duration_us")}
    return {name: str(value).replace(f":{port}", ":port") for name, value in without_times.items()}


def test_replies_in_pieces_give_the_same_by_both_ways() -> None:
    with ScriptedServer() as fast, ScriptedServer() as usual:
        found = [
            check_all([server_of(number, one.port, one is usual) for number in range(EXAMPLES)], concurrency=1)
            for one in (fast, usual)
        ]
    different = {}
    closing = False
    for number in range(EXAMPLES):
        if number and Reply(number - 1).is_mutated:  # what came behind it may be read as this reply, or not
            continue
        name = f"n{number}"
        pair = [facts(checks[name], one.port, closing) for checks, one in zip(found, (fast, usual), strict=True)]
        if pair[0] != pair[1]:
            different[name] = {key: (pair[0][key], pair[1][key]) for key in pair[0] if pair[0][key] != pair[1][key]}
        (probe,) = found[1][name].probes
        # a redirect leads to another reply, and after a failure the connection may be gone
        closing = not Reply(number).goes_on or probe.status != "HEALTHY" or probe.redirects is not None
    assert different == {}
    reasons = {check.reason for check in found[0].values()}
    assert len(reasons) > 6, "the replies are of many kinds"
    assert None in reasons


@st.composite
def addresses(draw: st.DrawFn) -> str:
    """Addresses, most of them such as fleets have."""
    host = draw(st.sampled_from(("127.0.0.1", "a.example", "x", "[::1]", "A.Example", "a_b", "1.2.3", "xn--a.de")))
    port = draw(st.sampled_from(("", ":80", ":443", ":8080", ":65535", ":0080", ":59999")))
    segments = draw(st.lists(st.text(string.ascii_letters + string.digits + "._~-%é;=&@", max_size=30), max_size=4))
    end = draw(st.sampled_from(("", "/", "?a=b", "#c", "//", "/..", "/./a")))
    return draw(st.sampled_from(("http", "https"))) + f"://{host}{port}" + "".join(f"/{one}" for one in segments) + end


@given(addresses())
@example("http://a.example")
@example("http://a.example/hooks/T0123ABCD/B0123ABCD/abcdefghijklmnopqrstuvwx")
@settings(max_examples=500, deadline=None)
def test_address_is_read_the_same_with_and_without_parsing(url: str) -> None:
    try:
        found = parse_url(url)
        host = found.host or ""
        port = "" if found.port in (None, {"http": 80, "https": 443}[found.scheme or ""]) else f":{found.port}"
        expected: Any = (found, f" {found.request_uri} HTTP/1.1\r\nHost: {host}{port}\r\n".encode("ascii"))
    except Exception as error:
        expected = type(error)
    try:
        actual: Any = parsed(url)
    except Exception as error:
        actual = type(error)
    assert actual == expected
    with suppress(ValueError):
        assert http_address(RestOptions(url=url)) == Address(endpoint_key(url), shown_endpoint(url), origin(url))


@given(st.ip_addresses(v=4).map(str) | st.sampled_from(("0.0.0.0", "255.255.255.255", "10.255.255.255", "11.0.0.0")))
@settings(max_examples=500, deadline=None)
def test_scope_of_an_ipv4_address_is_that_of_its_network(address: str) -> None:
    assert scope(address) is _own_scope(ip_address(address))


@pytest.mark.parametrize("address", ["1.2.3", "01.2.3.4", "a", "", "1.2.3.4 ", "1.2.3.4\0", "é"])
def test_text_that_is_no_address_has_no_scope(address: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        CONFIGURED.allows(address)
