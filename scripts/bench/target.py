"""The target of the benchmark: a fast loopback server for REST and MCP that counts connections and requests.

Started as a program with the number of ports it is to open, and a PEM file with certificate and key for as many with
TLS; prints {"ports": [...], "tls_ports": [...], "loop": ...} and ends with its standard input. The ports without TLS
are open at all of 127.0.0.0/8, so that each server of a fleet can have an address of its own. Replies are put together
of bytes that are there already: it is never to be what a client waits for.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import ssl
import sys
import time
from collections import Counter
from contextlib import suppress
from functools import cache
from typing import Any

PORTS = range(20_000, 31_000)
"""Below the range the kernel hands out to clients."""
SLOW_S = 0.02
MODERN = "2026-07-28"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOOLS = [
    {
        "name": name,
        "description": f"{name} among the documents of one tenant",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["text"],
        },
    }
    for name in ("search", "fetch", "list", "count", "explain")
]
_HINTS = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
_INFO = {"name": "benchmark target", "version": "1.0"}
_ANNOUNCED = {"capabilities": {"tools": {}}, "serverInfo": _INFO}
_DISCOVERED = {
    **_HINTS,
    "supportedVersions": [MODERN],
    "capabilities": {"tools": {}},
    "_meta": {"io.modelcontextprotocol/serverInfo": _INFO},
}
_HEALTH = b'{"status": "UP", "version": "2.4.1", "queue": {"depth": 12}}'

seen: Counter[str] = Counter()
"""MCP method or HTTP method and path -> requests; "connections" -> connections that made one of these."""


def http(status: str, body: bytes = b"", more: str = "") -> bytes:
    """A response with a JSON body."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


HEALTHY, CLOSING, ACCEPTED, DELETED = (
    http("200 OK", _HEALTH),
    http("200 OK", _HEALTH, "Connection: close\r\n"),
    http("202 Accepted"),
    http("200 OK"),
)


_ID_BYTES = 6


def reply(member: str, value: Any, status: str = "200 OK", more: str = "") -> tuple[bytes, bytes]:
    """What stands before and behind the id in a response to a JSON-RPC request.

    An id is filled up with spaces, for the length of the body is said before it.
    """
    text = json.dumps({"jsonrpc": "2.0", member: value, "id": "@"}).encode().replace(b'"@"', b"@" * _ID_BYTES)
    before, _, after = http(status, text, more).rpartition(b"@" * _ID_BYTES)
    return before, after


def said(parts: tuple[bytes, bytes], request_id: bytes) -> bytes:
    """The response with the id."""
    return parts[0] + request_id.rjust(_ID_BYTES) + parts[1]


def refusal(status: str, code: int, message: str, data: Any = None) -> tuple[bytes, bytes]:
    """A response that refuses a JSON-RPC request."""
    return reply("error", {"code": code, "message": message, **({"data": data} if data else {})}, status)


@cache
def initialized(version: str) -> tuple[bytes, bytes]:
    """The answer to initialize, up to the session's id and behind it."""
    session = "Mcp-Session-Id: SESSION\r\n"
    return reply("result", {"protocolVersion": version, **_ANNOUNCED}, more=session)


@cache
def listed(number: str) -> tuple[bytes, bytes]:
    """The tools of one server, the texts of which have its number in them."""
    tools = [{**tool, "description": f"{tool['description']} of number {number}"} for tool in _TOOLS]
    return reply("result", {"tools": tools})


_IN_SESSION = {
    b"tools/list": reply("result", {"tools": _TOOLS}),
    b"ping": reply("result", {}),
    b"server/discover": refusal("400 Bad Request", -32000, "Bad Request: No valid session ID provided"),
}
_SESSIONLESS = {
    b"tools/list": reply("result", {**_HINTS, "tools": _TOOLS}),
    b"server/discover": reply("result", _DISCOVERED),
    b"initialize": refusal("400 Bad Request", -32022, "unsupported version", {"supported": [MODERN]}),
}
_UNKNOWN = refusal("404 Not Found", -32601, "Method not found")
_METHOD, _ID = re.compile(rb'"method": ?"([^"]+)"'), re.compile(rb'"id": ?(\d+)')
_VERSION = re.compile(rb'"protocolVersion": ?"([^"]+)"')


def answered(path: bytes, method: bytes, body: bytes) -> bytes:
    """What a server answers to a message: of 2026-07-28 at /modern, of the session era at /mcp and below it."""
    found = _ID.search(body)
    if found is None:
        return ACCEPTED
    if path == b"/modern":
        return said(_SESSIONLESS.get(method, _UNKNOWN), found[1])
    if method == b"initialize":
        version = _VERSION.search(body)
        parts = initialized(version[1].decode() if version else "")
        return said(parts, found[1]).replace(b"SESSION", b"%032x" % random.getrandbits(128), 1)
    if method == b"tools/list" and len(path) > len(b"/mcp"):
        return said(listed(path.rpartition(b"/")[2].decode()), found[1])
    return said(_IN_SESSION.get(method, _UNKNOWN), found[1])


class Target(asyncio.Protocol):
    """One connection; requests are taken one after the other."""

    def __init__(self) -> None:
        self._pending, self._counted = b"", False
        self._transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        """Keep where to write."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end]
            length = found[1] if (found := _LENGTH.search(head)) else 0
            whole = end + 4 + int(length)
            if len(self._pending) < whole:
                return
            body, self._pending = self._pending[end + 4 : whole], self._pending[whole:]
            method, path, _ = head.split(b" ", 2)
            self._answer(method, path, body)

    def _answer(self, method: bytes, path: bytes, body: bytes) -> None:
        if path == b"/count":
            counted = {"seen": seen, "cpu_s": time.process_time()}
            self._transport.write(http("200 OK", json.dumps(counted).encode(), "Connection: close\r\n"))
            return self._transport.close()
        if not self._counted:
            self._counted = True
            seen["connections"] += 1
        if method == b"POST":
            found = _METHOD.search(body)
            name = found[1] if found else b""
            seen[name.decode()] += 1
            return self._transport.write(answered(path, name, body))
        seen[_counted_as(method, path)] += 1
        if path == b"/health":
            self._transport.write(HEALTHY)
        elif path == b"/slow":
            asyncio.get_running_loop().call_later(SLOW_S, self._transport.write, HEALTHY)
        elif path == b"/close":
            self._transport.write(CLOSING)
            self._transport.close()
        elif method == b"DELETE":
            self._transport.write(DELETED)
        else:  # GET of an MCP endpoint: there is no stream to listen to
            self._transport.write(http("405 Method Not Allowed"))


@cache
def _counted_as(method: bytes, path: bytes) -> str:
    return f"{method.decode()} {path.decode()}"


async def serve(count: int, certificate: str | None) -> None:
    """Open the ports, say which, and serve until standard input ends."""
    loop = asyncio.get_running_loop()
    ports, tls_ports = await opened(count, None), []
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        tls_ports = await opened(count, context)
    print(json.dumps({"ports": ports, "tls_ports": tls_ports, "loop": type(loop).__module__}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


async def opened(count: int, context: ssl.SSLContext | None) -> list[int]:
    """So many ports, listened to."""
    loop, ports = asyncio.get_running_loop(), []
    for port in random.sample(PORTS, len(PORTS)):
        with suppress(OSError):  # taken by somebody else
            await loop.create_server(Target, sock=listener(port), backlog=4096, ssl=context)
            ports.append(port)
        if len(ports) == count:
            break
    return ports


def listener(port: int) -> socket.socket:
    """A socket at all loopback addresses, where the system can be told that nobody else is to reach it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    host = "127.0.0.1"
    if sys.platform == "linux":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        host = "0.0.0.0"  # of the loopback device alone
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def main() -> None:
    try:
        import uvloop
    except ModuleNotFoundError:
        run = asyncio.run
    else:
        run = uvloop.run
    with suppress(KeyboardInterrupt):
        run(serve(int(sys.argv[1]), next(iter(sys.argv[2:]), None)))


if __name__ == "__main__":
    main()
