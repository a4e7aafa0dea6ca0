"""Many loopback servers in one process: opens ports, answers as told, and counts what comes.

Started with the ports to open, as JSON {behaviour: how many}, and the seconds to wait before each answer; prints
{behaviour: [ports]}, then for each line of its standard input what it has seen, and ends with that input.
"""

from __future__ import annotations

import asyncio
import json
import resource
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

    def told(self) -> dict[str, Any]:
        return {
            "open": +self.open,
            "connections": self.connections,
            "most_open": self.most_open,
            "asked_at_s": self.asked_at_s,
        }


class _Connection(asyncio.Protocol):
    """Takes one request after the other: none of the requests here has a body."""

    def __init__(self, behaviour: str, counts: _Counts) -> None:
        self._behaviour, self._counts = behaviour, counts
        self._pending = b""
        self._closing: asyncio.TimerHandle | None = None
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport, self._port = transport, transport.get_extra_info("sockname")[1]
        self._counts.connections[self._port] += 1
        self._counts.open[self._port] += 1
        self._counts.most_open = max(self._counts.most_open, self._counts.open.total())

    def connection_lost(self, error: Exception | None) -> None:
        self._counts.open[self._port] -= 1

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while b"\r\n\r\n" in self._pending:
            self._pending = self._pending.partition(b"\r\n\r\n")[2]
            self._counts.asked_at_s.append(time.monotonic())
            self._answer()

    def _answer(self) -> None:
        if self._behaviour == "hanging":
            return
        if self._behaviour == "resetting":
            accepted = self._transport.get_extra_info("socket")
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return self._transport.abort()
        loop = asyncio.get_running_loop()
        if delay_s := SLOW_S if self._behaviour == "slow" else self._counts.delay_s:
            loop.call_later(delay_s, self._transport.write, OK)
        else:
            self._transport.write(OK)
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
