"""The server's side of a connection, for servers that write every byte themselves."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

LONGEST_S = 8.0
"""No server goes on for longer than this on one connection; every deadline is far below."""
PAUSE_S = 0.05
"""Between two blocks of 64 KiB of a flood, where many flood at once: together they are more than a worker can take."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as these servers look at it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """The JSON-RPC message in the body; empty where there is none."""
        return json.loads(self.body) if self.body.startswith(b"{") else {}


@dataclass(slots=True)
class Peer:
    """A connection, and where the process that serves it has its trap."""

    sock: socket.socket
    port: int
    trap: str
    """Address that nobody has a reason to call, without a slash at its end."""
    pause_s: float = PAUSE_S
    """Between two blocks of a flood."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What all connections of one server share."""
    unread: bytes = field(default=b"")

    def asked(self) -> Asked | None:
        """The next request, read to its last byte; None where the client has hung up."""
        data, length = self.unread, 0
        while b"\r\n\r\n" not in data or len(data) < length:
            if not (piece := self.sock.recv(65536)):
                return None
            data += piece
            head, end, _ = data.partition(b"\r\n\r\n")
            declared = re.search(rb"(?im)^content-length: *(\d+)", head)
            length = len(head) + len(end) + (int(declared[1]) if declared else 0)
        head, _, rest = data.partition(b"\r\n\r\n")
        body, self.unread = rest[: length - len(head) - 4], rest[length - len(head) - 4 :]
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Asked(*first.split(" ")[:2], headers, body)

    def say(self, data: bytes) -> None:
        """Send it all."""
        self.sock.sendall(data)

    def reply(self, body: bytes | Any, status: str = "200 OK", *headers: str, kind: str = "application/json") -> None:
        """A proper HTTP response; what is not bytes is written as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.say(head(status, f"Content-Type: {kind}", f"Content-Length: {len(data)}", *headers) + data)

    def stay(self) -> None:
        """Say nothing until the client hangs up, or for the longest time there is."""
        until = time.monotonic() + LONGEST_S
        while time.monotonic() < until and self.sock.recv(65536):
            pass

    def drip(self, data: bytes) -> None:
        """A byte a second."""
        for byte in data[: int(LONGEST_S)]:
            self.say(bytes([byte]))
            time.sleep(1)

    def flood(self, block: bytes, times: int = 1) -> None:
        """The block again and again, so many times in a row between two pauses."""
        until = time.monotonic() + LONGEST_S
        while time.monotonic() < until:
            for _ in range(times):
                self.say(block)
            time.sleep(self.pause_s)

    def reset(self) -> None:
        """Let the close that follows be a reset."""
        time.sleep(0.05)  # what was sent before is to arrive
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Behaviour = Callable[[Peer], None]
"""What a server does with a connection; the connection is closed when it returns."""


def head(status: str, *headers: str) -> bytes:
    """Status line and headers."""
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, "")).encode("latin-1")


def event(message: Any, kind: str = "message") -> bytes:
    """One event of a stream."""
    return f"event: {kind}\ndata: {json.dumps(message)}\n\n".encode()


def chunked(pieces: Iterable[bytes]) -> bytes:
    """Chunks, without the last one."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
