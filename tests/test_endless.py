"""Servers that never stop sending: each is told in time, costs a bounded amount, and keeps nobody else waiting."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from checker.metrics import WorkerMeasures, WorkerReport
from checker.model import CheckResult, Server
from checker.probes.base import Budget, ProbeFailure
from checker.probes.mcp.options import McpOptions
from checker.probes.mcp.sse import EventStream
from checker.probes.rest import RestOptions
from conftest import check_all
from servers_faults import FaultServer

TIMEOUT_S = 2.0
HEALTHY = 30
_PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _PLAIN + b"Transfer-Encoding: chunked\r\n\r\n"
_EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
_REQUEST = b'data: {"jsonrpc":"2.0","id":7,"method":"ping"}\n\n'
_NOTIFICATION = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n'

# What is sent first, and then again and again.
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "body": (_PLAIN + b"\r\n", b"x" * 65536),
    "chunks of a byte": (_CHUNKED, b"1\r\nx\r\n" * 20_000),
    "chunk extension": (_CHUNKED + b"1;", b"x" * 65536),
    "chunk extensions": (_CHUNKED, b"1;" + b"x" * 8000 + b"\r\nx\r\n"),
    "trailer": (_CHUNKED + b"1\r\nx\r\n0\r\nA: ", b"x" * 65536),
    "trailers": (_CHUNKED + b"1\r\nx\r\n0\r\n", b"A: b\r\n" * 10_000),
    "interim replies": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2000),
    "header": (_PLAIN + b"A: ", b"x" * 65536),
    "headers": (_PLAIN, b"A: b\r\n" * 10_000),
    "headers without a name": (_PLAIN, b"A:\n" * 20_000),
    "status line": (b"HTTP/1.1 200 ", b"O" * 65536),
    "line of an event stream": (_EVENTS + b"data: ", b"y" * 65536),
    "small lines": (_EVENTS, b"\n" * 65536),
    "carriage returns": (_EVENTS, b"\r" * 65536),
    "lines of data": (_EVENTS, b"data:a\n" * 10_000),
    "comments": (_EVENTS, b":\n\n" * 20_000),
    "requests": (_EVENTS, _REQUEST * 1000),
    "notifications": (_EVENTS, _NOTIFICATION * 1000),
    "other replies": (_EVENTS, b'data: {"jsonrpc":"2.0","id":0,"result":{}}\n\n' * 1000),
    "batch": (_EVENTS + b"data: [{}", b",{}" * 20_000),
    "nesting": (_EVENTS + b"data: ", b"[" * 65536),
}
TOLD = {"body_too_large", "deadline", "http_malformed", "mcp_no_reply", "mcp_not_jsonrpc", "first_byte_timeout"}


def _most_lag_us() -> float:
    """What the loop may be late; on a machine that is busy with others, their part of its time comes on top."""
    return 500_000 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _endless(begin: bytes, again: bytes) -> Callable[[socket.socket], None]:
    def run(sock: socket.socket) -> None:
        sock.sendall(begin)
        while True:
            sock.sendall(again)

    return run


@pytest.fixture(scope="module", params=["fast", "urllib3"])
def checked(request: pytest.FixtureRequest) -> Iterator[tuple[dict[str, CheckResult], WorkerMeasures]]:
    """The results by name, and what the one worker says of itself."""
    said: list[WorkerReport] = []
    with ExitStack() as stack:
        servers = []
        for name, (begin, again) in ENDLESS.items():
            url = stack.enter_context(FaultServer(_endless(begin, again))).url()
            options = {"url": url, "timeout": TIMEOUT_S, "http": request.param}
            servers.append(Server(name=f"mcp {name}", probes={"mcp": McpOptions(**options, era="session")}))
            servers.append(Server(name=f"rest {name}", probes={"rest": RestOptions(**options)}))
        for number in range(HEALTHY):
            url = stack.enter_context(FaultServer("ok")).url()
            servers.append(Server(name=f"healthy {number}", probes={"rest": RestOptions(url=url, timeout=10.0)}))
        found = check_all(servers, report=said.append)
        assert said[-1].worker is not None
        yield found, said[-1].worker


@pytest.mark.parametrize("kind", ["mcp", "rest"])
@pytest.mark.parametrize("name", ENDLESS)
def test_server_without_end_is_told_in_time(
    checked: tuple[dict[str, CheckResult], WorkerMeasures], name: str, kind: str
) -> None:
    check = checked[0][f"{kind} {name}"]
    if name == "early hints" and check.reason == "http_status":  # urllib3 takes one for the reply
        return
    assert (check.status, str(check.reason) in TOLD) == ("UNHEALTHY", True), check.detail
    assert check.duration_us < TIMEOUT_S * 1e6 + _most_lag_us()


def test_others_are_checked_meanwhile(checked: tuple[dict[str, CheckResult], WorkerMeasures]) -> None:
    found, worker = checked
    assert [name for name, check in found.items() if "healthy" in name and check.status != "HEALTHY"] == []
    assert worker.longest_lag_us < _most_lag_us()
    assert worker.peak_memory_bytes < 250 << 20


def test_cost_of_a_line_grows_with_its_bytes_and_not_with_their_square() -> None:
    def searched(pieces: int) -> int:
        """Line ends looked for, in bytes."""
        looked_at = 0

        class Piece(bytes):
            def __getitem__(self, key: object) -> bytes:  # type: ignore[override] # slices only
                nonlocal looked_at
                part = bytes.__getitem__(self, key)  # type: ignore[call-overload] # as it came
                looked_at += len(part)
                return part

        list(EventStream().events(Piece(b"y" * 100) for _ in range(pieces)))
        return looked_at

    assert searched(2000) <= 2 * searched(1000) + 200


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_end_alike_wherever_a_piece_ends(end: bytes) -> None:
    text = b"\xef\xbb\xbf" + end.join((b": c", b"event: e", b"data: a", b"data: b", b"", b"data: c", b"", b""))
    for size in range(1, len(text) + 1):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(EventStream().events(pieces)) == [(b"e", b"a\nb"), (b"message", b"c")], size


def test_probe_as_a_whole_has_a_limit() -> None:
    budget = Budget(100, 10)
    budget.take(100)
    with pytest.raises(ProbeFailure, match=r"body_too_large.*100 bytes.*max_total"):
        budget.take(1)
    budget.take_message(b"[1,2,3]")
    with pytest.raises(ProbeFailure, match=r"body_too_large.*10 JSON values.*max_items"):
        budget.take_message(b"[" + b"{}," * 5000 + b"]")


def test_pages_and_attempts_share_the_limit() -> None:
    page = b'{"jsonrpc":"2.0","id":%d,"error":{"code":-1,"message":"' + b"x" * 50_000 + b'"}}'

    def answer(sock: socket.socket) -> None:
        body = page % 1
        sock.sendall(_PLAIN.replace(b"200", b"500") + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    from checker.probes.options import Retry

    with FaultServer(answer) as server:
        retry = Retry(max_attempts=10, initial_backoff=0.0)
        options = RestOptions(url=server.url(), max_body=60_000, max_total=220_000, retry=retry)
        found = check_all([Server(name="s", probes={"rest": options})])["s"]
    assert (found.reason, "max_total" in str(found.detail)) == ("body_too_large", True)
    assert server.connections == 5


_PROGRAMS = {
    "line": "while True: write(b'x' * 65536)",
    "blank lines": "while True: write(b'\\n' * 65536)",
    "stray lines": "while True: write(b'x\\n' * 30000)",
    "notifications": 'while True: write(b\'{"jsonrpc":"2.0","method":"a"}\\n\' * 1000)',
    "requests": 'while True: write(b\'{"jsonrpc":"2.0","id":1,"method":"ping"}\\n\' * 1000)',
    "standard error": "while True: sys.stderr.buffer.write(b'x' * 65536)",
}


@pytest.mark.parametrize("name", _PROGRAMS)
def test_program_without_end_is_told_in_time(name: str) -> None:
    said: list[WorkerReport] = []
    code = f"import sys\nwrite = sys.stdout.buffer.write\n{_PROGRAMS[name]}"
    options = McpOptions(command=sys.executable, args=("-c", code), timeout=TIMEOUT_S, shutdown_timeout=0.2)
    found = check_all([Server(name="s", probes={"mcp": options})], report=said.append)["s"]
    assert (found.status, str(found.reason) in TOLD) == ("UNHEALTHY", True), found.detail
    assert found.duration_us < TIMEOUT_S * 1e6 + _most_lag_us()
    assert said[-1].worker.longest_lag_us < _most_lag_us()
