"""Replies broken at random places: whatever comes back, the result is a verdict on the server, no fault of ours."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable
from contextlib import ExitStack

from checker.model import Server
from checker.probes.mcp.options import McpOptions
from checker.probes.rest import RestOptions
from conftest import check_all
from servers_faults import OK, FaultServer

SEED, SERVERS = 20_261_123, 120
_INIT = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
_TOOLS = {"tools": [{"name": "a", "inputSchema": {"type": "object"}}], "nextCursor": None}


def _reply(body: bytes, kind: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nMcp-Session-Id: s\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _messages() -> list[bytes]:
    results = [_INIT, _TOOLS, {}, {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}]
    texts = [
        json.dumps({"jsonrpc": "2.0", "id": number, "result": result}) for number in (1, 2, 3, 4) for result in results
    ]
    plain = [_reply(text.encode(), "application/json") for text in texts]
    return plain + [_reply(f"event: message\ndata: {text}\n\n".encode(), "text/event-stream") for text in texts]


def _broken(random_: random.Random, data: bytes) -> bytes:
    """The bytes with a few of them changed, left out, doubled, or cut off."""
    broken = bytearray(data)
    for _ in range(random_.randint(0, 4)):
        at = random_.randrange(len(broken) or 1)
        change = random_.choice(("flip", "cut", "drop", "double", "insert"))
        if change == "flip" and broken:
            broken[at] ^= 1 << random_.randrange(8)
        elif change == "cut":
            del broken[at:]
        elif change == "drop":
            del broken[at : at + random_.randint(1, 20)]
        elif change == "double":
            broken[at:at] = broken[at : at + 30]
        else:
            broken[at:at] = random_.choice((b"\0", b"\xff\xfe", b"\r\n", b"\r", b"{", b"-1", b"\xc3\x28", b"1e999"))
    return bytes(broken)


def _mode(seed: int, whole: list[bytes]) -> Callable[[socket.socket], None]:
    random_ = random.Random(seed)

    def run(sock: socket.socket) -> None:
        sock.sendall(_broken(random_, random_.choice(whole)))

    return run


def test_no_broken_reply_is_taken_for_a_fault_of_ours() -> None:
    with ExitStack() as stack:
        servers = []
        for number in range(SERVERS):
            kind = number % 2
            whole = [OK] if kind else _messages()
            url = stack.enter_context(FaultServer(_mode(SEED + number, whole))).url()
            options = RestOptions(url=url, timeout=2.0) if kind else McpOptions(url=url, timeout=2.0)
            servers.append(Server(name=f"s{number}", probes={"rest" if kind else "mcp": options}))
        found = check_all(servers)
    ours = [(name, check.detail) for name, check in found.items() if check.status == "UNKNOWN"]
    assert ours == []
    assert len({check.reason for check in found.values()}) > 4, "the breaking reaches many places"
