"""Many loopback servers in one process: opens ports, answers as told, and counts what comes.

Started with the ports to open, as JSON {behaviour: how many}, and the seconds to wait before each answer; prints
{behaviour: [ports]}, then for each line of its standard input what it has seen, and ends with that input. The
behaviours `mcp` and `mcp_stream` speak MCP over Streamable HTTP, the second in event streams.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status": "UP"}'
SLOW_S = 1.5
"""What the behaviour `slow` waits before it answers."""
IDLE_S = 0.05
"""How long the behaviour `closes` keeps an idle connection."""


class _Counts:
    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.open, self.connections = Counter[int](), Counter[int]()
        self.most_open = 0
        self.asked_at_s: list[float] = []
        self._ended = select.poll()
        """Tells which connections the client has closed, of those whose end was not yet read."""

    def opened(self, port: int, descriptor: int) -> None:
        self.connections[port] += 1
        self.open[port] += 1
        self._ended.register(descriptor, select.POLLRDHUP)
        if self.open.total() > self.most_open:
            # on a busy machine an end is read long after the client has opened another connection
            self.most_open = max(self.most_open, self.open.total() - len(self._ended.poll(0)))

    def closed(self, port: int, descriptor: int) -> None:
        self.open[port] -= 1
        self._ended.unregister(descriptor)

    def told(self) -> dict[str, Any]:
        return {
            "open": +self.open,
            "connections": self.connections,
            "most_open": self.most_open,
            "asked_at_s": self.asked_at_s,
        }


_TOOL = {"name": "add", "description": "Add two numbers.", "inputSchema": {"type": "object"}}
_INFO = {"capabilities": {"tools": {}}, "serverInfo": {"name": "fleet", "version": "1"}}
_METHOD_UNKNOWN = {"code": -32601, "message": "Method not found"}


def _mcp_reply(body: bytes, in_stream: bool) -> bytes:
    """What a proper MCP server of the session era, without sessions, answers to a POST."""
    message = json.loads(body)
    if "id" not in message:
        return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    version = (message.get("params") or {}).get("protocolVersion")
    results = {"initialize": {"protocolVersion": version, **_INFO}, "ping": {}, "tools/list": {"tools": [_TOOL]}}
    found = results.get(message["method"])
    said = {"result": found} if found is not None else {"error": _METHOD_UNKNOWN}
    text = json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}).encode()
    kind, text = (b"text/event-stream", b"data: " + text + b"\n\n") if in_stream else (b"application/json", text)
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(text)) + text


class _Connection(asyncio.Protocol):
    """Takes one request after the other."""

    def __init__(self, behaviour: str, counts: _Counts) -> None:
        self._behaviour, self._counts = behaviour, counts
        self._pending = b""
        self._closing: asyncio.TimerHandle | None = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport, self._port = transport, transport.get_extra_info("sockname")[1]
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._counts.opened(self._port, self._descriptor)

    def connection_lost(self, error: Exception | None) -> None:
        self._counts.closed(self._port, self._descriptor)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while b"\r\n\r\n" in self._pending:
            head, _, rest = self._pending.partition(b"\r\n\r\n")
            declared = re.search(rb"(?im)^content-length: *(\d+)", head)
            length = int(declared[1]) if declared else 0
            if len(rest) < length:
                return
            self._pending = rest[length:]
            self._counts.asked_at_s.append(time.monotonic())
            self._answer(rest[:length])

    def _answer(self, body: bytes) -> None:
        if self._behaviour == "hanging":
            return
        answer = _mcp_reply(body, self._behaviour == "mcp_stream") if self._behaviour.startswith("mcp") else OK
        if self._behaviour == "resetting":
            accepted = self._transport.get_extra_info("socket")
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return self._transport.abort()
        loop = asyncio.get_running_loop()
        if delay_s := SLOW_S if self._behaviour == "slow" else self._counts.delay_s:
            loop.call_later(delay_s, self._transport.write, answer)
        else:
            self._transport.write(answer)
        if self._behaviour == "closes":
            if self._closing is not None:
                self._closing.cancel()
            self._closing = loop.call_later(delay_s + IDLE_S, self._transport.close)


async def _serve(behaviours: Mapping[str, int], counts: _Counts) -> None:
    loop = asyncio.get_running_loop()
    ports: dict[str, list[int]] = {}
    kept = []  # a port that is bound and not listened at refuses, and nobody else gets it
    for behaviour, count in behaviours.items():
        ports[behaviour] = []
        for _ in range(count):
            listener = socket.socket()
            kept.append(listener)
            listener.bind(("127.0.0.1", 0))
            ports[behaviour].append(listener.getsockname()[1])
            if behaviour != "dead":
                await loop.create_server(partial(_Connection, behaviour, counts), sock=listener, backlog=1024)
    _say(ports)
    while await loop.run_in_executor(None, sys.stdin.readline):
        _say(counts.told())


def _say(something: Any) -> None:
    sys.stdout.write(json.dumps(something) + "\n")
    sys.stdout.flush()


def _main() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(json.loads(sys.argv[1]), _Counts(float(sys.argv[2]))))


if __name__ == "__main__":
    _main()
