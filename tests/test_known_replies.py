"""Replies that are known again: what is found is the same, whatever was seen before, and what is kept is bounded."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast

import pytest
from fuzz_replies import changed, dump, right_result
from hypothesis import given, settings
from hypothesis import strategies as st

from accepting import Accepting
from checker.contract.canonical_form import _sorted, _steady, canonical, dumps, with_sets_sorted
from checker.model import Server
from checker.probes.base import ProbeFailure
from checker.probes.bodies import loads
from checker.probes.http import header_lines
from checker.probes.mcp.known_replies import Readings
from checker.probes.mcp.options import McpOptions
from checker.probes.mcp.result_types import INITIALIZE, OTHERS, TOOL, _refusals, is_accepted
from checker.probes.options import Tls
from checker.worker.transport.http1 import IncomingResponse, parsed, request_bytes
from checker.worker.transport.known_heads import KnownHeads, WholeReply
from checker.worker.transport.trace import Trace
from conftest import check_all
from servers_faults import certificates

EXAMPLES = os.environ.get("MCP_STATUS_EXAMPLES", "25")
SEED = os.environ.get("MCP_STATUS_SEED", "20261130")
HERE = Path(__file__).parent


def test_a_reply_that_is_known_is_judged_as_one_that_is_not() -> None:
    program = HERE / "support" / "known_replies_program.py"
    done = subprocess.run([sys.executable, str(program), SEED, EXAMPLES], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["differences"] == []
    assert found["kept"] > found["compared"] / 8, "else nothing was known again"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 70)), max_size=300))
def test_only_what_was_noted_twice_is_kept_and_never_more_than_allowed(notes: list[tuple[int, int]]) -> None:
    readings: Readings[int] = Readings(200)
    lengths: dict[int, int] = {}
    times: dict[int, int] = {}
    for key, length in notes:
        length = lengths.setdefault(key, length)
        times[key] = times.get(key, 0) + 1
        readings.note(key, key * 1000, length)
        found = {one: readings.get(one) for one in range(31)}
        assert all(value is None or (value == one * 1000 and times[one] > 1) for one, value in found.items())
        assert sum(lengths[one] for one, value in found.items() if value is not None) <= 200


_WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(("Accept-Encoding", "A", "b", "Host", "hOST", "Content-Type")), _WORDS))
def test_lines_written_before_are_what_the_transport_writes(headers: dict[str, str]) -> None:
    _, target = parsed("http://127.0.0.1:8080/mcp")
    headers = {"Accept-Encoding": "identity", **headers}
    lines = header_lines(headers)
    if lines is None:
        has_host = any(name.lower() == "host" for name in headers)
        text = "".join(headers.values())
        assert has_host or "\n" in text or "\0" in text or any(ord(one) > 255 for one in text)
        return
    sent = request_bytes("POST", target, headers, b"{}")
    assert b"".join((b"POST", target, lines, b"Content-Length: 2\r\n\r\n{}")) == sent


_LINES = st.sampled_from(
    (
        "Content-Type: application/json",
        "Mcp-Session-Id: {id}",
        "mcp-session-id:{id}  ",
        "MCP-SESSION-ID: {id}, {id}",
        "Mcp-Session-Id: {id} {id}",
        "Mcp-Session-Id:",
        "Mcp-Session-Id: é{id}",
        "X-Mcp-Session-Id: {id}",
        "X: mcp-session-id: {id}",
        "X-Folded: a\r\n mcp-session-id: {id}",
        "Mcp-Session-Id: {id}\r\n\tmore",
        "Set-Cookie: a=b",
        "Set-Cookie: c=d",
        "Connection: close",
        "Content-Length: 2",
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        *(f"H{number}: v" for number in range(3)),
    )
)


def _seen(response: Any, body: bytes) -> tuple[object, ...]:
    headers = response.headers
    fields = {name: headers.getlist(name) for name in headers}
    return response.status, fields, response.reusable, response.complete, body


@settings(max_examples=400)
@given(
    st.lists(_LINES, max_size=6),
    st.lists(st.sampled_from(("one", "two-2", "{3}", "!~")), min_size=2, max_size=4),
    st.integers(0, 100),
)
def test_a_head_with_another_session_is_read_as_the_parser_reads_it(
    lines: list[str], ids: list[str], others: int
) -> None:
    heads = KnownHeads()
    lines = [*lines, "Content-Length: 2", *(f"Other-{number}: v" for number in range(others * (others > 95)))]
    for session_id in ids:
        head = "\r\n".join(["HTTP/1.1 200 OK", *lines]).replace("{id}", session_id)
        received = f"{head}\r\n\r\n{{}}".encode("latin-1")
        response = IncomingResponse(cast(Any, None), "POST", Trace())
        known = heads.find(received)
        try:
            response.take(received)
        except HTTPException:
            assert known is None
            continue
        if known is not None:
            whole = WholeReply(*known)
            assert _seen(whole, whole.rest()) == _seen(response, response.rest())
        heads.learn(received, response)


@pytest.mark.parametrize("part", ["initialize", "tools", *OTHERS])
def test_what_clients_accept_has_no_part_that_they_refuse(part: str) -> None:
    shapes = {"initialize": INITIALIZE, "tools": TOOL, **OTHERS}
    methods = {"tools": "tools/list", "resources": "resources/list", "prompts": "prompts/list"}
    methods |= {"initialize": "initialize", "resourceTemplates": "resources/templates/list"}
    accepted = refused = 0
    for number in range(1500):
        draw = random.Random(f"{SEED} {number}")
        result = right_result(draw, methods[part])
        given = result if part == "initialize" else (result[part] or [{}])[0]
        with suppress(ValueError):
            value = loads(dump(changed(draw, given, draw.randrange(4))).encode())
            found = is_accepted(value, shapes[part])
            assert found == (not list(_refusals(value, shapes[part], "")))
            accepted, refused = accepted + found, refused + (not found)
    assert min(accepted, refused) > 100


def test_the_parts_of_a_contract_make_the_text_of_the_whole() -> None:
    compared = 0
    for number in range(600):
        draw = random.Random(f"{SEED} {number}")
        document: Any = {"protocolVersion": "2025-11-25", "server": {"name": "é"}, "capabilities": {}}
        tools = right_result(draw, "tools/list")["tools"]
        with suppress(ValueError):
            document["tools"] = loads(dump(changed(draw, tools, draw.randrange(4))).encode())
            document["instructions"] = loads(dump(changed(draw, "x", draw.randrange(2))).encode())
            found, whole = canonical(document), dict(document)
            if isinstance(listed := document["tools"], list):
                whole["tools"] = _sorted([_steady("tools", item) for item in listed], "name")
                assert found.tools_bytes == len(with_sets_sorted(dumps(whole["tools"])))
            assert found.text == with_sets_sorted(dumps(whole)).decode()
            compared += 1
    assert compared > 300


class LateServer:
    """Opens a session in pieces, the last of which come after a while; records what is sent to it."""

    def __init__(self, pieces: tuple[bytes, ...], context: ssl.SSLContext | None = None) -> None:
        self._pieces, self._context = pieces, context
        self._accepting = Accepting(self._serve)
        self.port = self._accepting.port
        self.deleted: list[str] = []
        self.was_ended = threading.Event()

    def __enter__(self) -> LateServer:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._accepting.close()

    def _secured(self, sock: socket.socket) -> socket.socket:
        return sock if self._context is None else self._context.wrap_socket(sock, server_side=True)

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError), self._secured(sock) as sock:
            file = sock.makefile("rb")
            while line := file.readline():
                head = b"".join(iter(file.readline, b"\r\n")).decode("latin-1")
                length = re.search(r"(?i)content-length: (\d+)", head)
                body = file.read(int(length[1]) if length else 0)
                if line.startswith(b"DELETE"):
                    self.deleted += re.findall(r"(?i)mcp-session-id: (\S+)", head)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    self.was_ended.set()
                elif b'"initialize"' in body:
                    for piece in self._pieces:
                        sock.sendall(piece)
                        time.sleep(1.3)
                else:
                    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: late-one\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ((_HEAD[:40], _HEAD[40:60], _HEAD[60:] + b"{}"), "deadline"),
        ((b"HTTP/1.1 102 Processing\r\n\r\n", _HEAD + b"{}"), "deadline"),
        ((_HEAD, b"{}"), "deadline"),
    ],
    ids=["the head in pieces", "after an interim reply", "the body after the deadline"],
)
def test_a_session_whose_head_comes_after_the_deadline_is_ended(
    pieces: tuple[bytes, ...], reason: str, secure: bool, tmp_path: Path
) -> None:
    context = certificates(tmp_path)["good"] if secure else None
    tls = Tls(ca_file=str(tmp_path / "ca.pem")) if secure else Tls()
    with LateServer(pieces, context) as server:
        url = f"{'https' if secure else 'http'}://127.0.0.1:{server.port}/mcp"
        options = McpOptions(url=url, timeout=1.0, era="session", tls=tls)
        found = check_all([Server(name="late", probes={"mcp": options})])
        assert found["late"].reason == reason
        assert server.was_ended.wait(5)
        assert server.deleted == ["late-one"], "once"


def test_a_head_that_cannot_be_sent_is_refused_as_before() -> None:
    _, target = parsed("http://127.0.0.1:8080/mcp")
    with pytest.raises(ProbeFailure):
        request_bytes("POST", target, {"A": "b\nc"}, b"")
    assert header_lines({"A": "b\nc"}) is None
