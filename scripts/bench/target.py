"""The target of the benchmark: a fast loopback server for REST and MCP that counts connections and requests.

Started as a program with the number of ports it is to open, and a PEM file with certificate and key for as many with
TLS; prints {"ports": [...], "tls_ports": [...]} and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
import sys
from collections import Counter
from contextlib import suppress
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


def result(request: dict[str, Any], value: dict[str, Any], more: str = "") -> bytes:
    """A response that answers the JSON-RPC request."""
    return http("200 OK", json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode(), more)


def refusal(request: dict[str, Any], status: str, code: int, message: str, data: Any = None) -> bytes:
    """A response that refuses the JSON-RPC request."""
    error = {"code": code, "message": message, **({"data": data} if data else {})}
    return http(status, json.dumps({"jsonrpc": "2.0", "id": request.get("id"), "error": error}).encode())


def in_session(request: dict[str, Any], method: str) -> bytes:
    """What a server of the session era answers."""
    if "id" not in request:
        return ACCEPTED
    if method == "tools/list":
        return result(request, {"tools": _TOOLS})
    if method == "ping":
        return result(request, {})
    if method == "initialize":
        version = request["params"]["protocolVersion"]
        return result(
            request, {"protocolVersion": version, **_ANNOUNCED}, f"Mcp-Session-Id: {random.getrandbits(128):032x}\r\n"
        )
    if method == "server/discover":
        return refusal(request, "400 Bad Request", -32000, "Bad Request: No valid session ID provided")
    return refusal(request, "200 OK", -32601, "Method not found")


def sessionless(request: dict[str, Any], method: str) -> bytes:
    """What a server of 2026-07-28 answers."""
    if method == "tools/list":
        return result(request, {**_HINTS, "tools": _TOOLS})
    if method == "server/discover":
        return result(request, _DISCOVERED)
    if method == "initialize":
        return refusal(request, "400 Bad Request", -32022, "unsupported version", {"supported": [MODERN]})
    return refusal(request, "404 Not Found", -32601, "Method not found")


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
            self._transport.write(http("200 OK", json.dumps(seen).encode(), "Connection: close\r\n"))
            return self._transport.close()
        if not self._counted:
            self._counted = True
            seen["connections"] += 1
        if method == b"POST":
            request = json.loads(body)
            seen[request["method"]] += 1
            answer = sessionless if path == b"/modern" else in_session
            return self._transport.write(answer(request, request["method"]))
        seen[f"{method.decode()} {path.decode()}"] += 1
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
            await loop.create_server(Target, "127.0.0.1", port, backlog=1024, ssl=context)
            ports.append(port)
        if len(ports) == count:
            break
    return ports


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
