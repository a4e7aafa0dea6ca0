"""A loopback server that answers REST and MCP at once: measurements against it show the load generator's own limits.

``python -m checker.loadtest.echo`` prints its port and serves until standard input ends.
"""

from __future__ import annotations

import select
import socket
from typing import Any

_REST = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"status":"UP"}'
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
_GONE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_READ_BYTES = 65536
_VERSION = "2025-11-25"
_TOOL = {"name": "echo", "description": "Gives back nothing.", "inputSchema": {"type": "object", "properties": {}}}
_RESULTS: dict[str, dict[str, Any]] = {
    "initialize": {
        "protocolVersion": _VERSION,
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "echo", "version": "1"},
    },
    "ping": {},
    "tools/list": {"tools": [_TOOL]},
    "tools/call": {"content": [{"type": "text", "text": "ok"}]},
}


def answer(request: bytes) -> tuple[bytes, bytes]:
    """The reply to the first request in the bytes, and the remaining bytes; no reply to an incomplete request."""
    if request.startswith(b"GET "):
        head, end, rest = request.partition(b"\r\n\r\n")
        return (_REST, rest) if end else (b"", request)
    head, end, rest = request.partition(b"\r\n\r\n")
    if not end:
        return b"", request
    length = _content_length(head)
    if len(rest) < length:
        return b"", request
    body, rest = rest[:length], rest[length:]
    return (_GONE if request.startswith(b"DELETE ") else _mcp(body)), rest


def _content_length(head: bytes) -> int:
    lower = head.lower()
    place = lower.find(b"\ncontent-length:")
    return int(lower[place + 16 :].split(b"\r\n", 1)[0]) if place >= 0 else 0


def _mcp(body: bytes) -> bytes:
    import orjson

    message = orjson.loads(body)
    if "id" not in message:
        return _ACCEPTED
    result = _RESULTS.get(message["method"])
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    reply |= {"error": {"code": -32601, "message": "Method not found"}} if result is None else {"result": result}
    text = orjson.dumps(reply)
    session = b"Mcp-Session-Id: echo\r\n" if message["method"] == "initialize" else b""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
    return head % (session, len(text)) + text


def main() -> None:
    """Serve until standard input ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)  # noqa: T201 # how the parent learns it
    poller = select.poll() if not hasattr(select, "epoll") else select.epoll()
    poller.register(listener.fileno(), select.POLLIN)
    poller.register(0, select.POLLIN)
    open_: dict[int, socket.socket] = {}
    pending: dict[int, bytes] = {}
    while True:
        for fd, _ in poller.poll():
            if fd == 0:
                return
            if fd == listener.fileno():
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_[connection.fileno()], pending[connection.fileno()] = connection, b""
                poller.register(connection.fileno(), select.POLLIN)
            elif not _served(open_[fd], fd, pending):
                poller.unregister(fd)
                open_.pop(fd).close()
                del pending[fd]


def _served(connection: socket.socket, fd: int, pending: dict[int, bytes]) -> bool:
    """Answer the requests received so far; True if the connection stays open."""
    try:
        data = connection.recv(_READ_BYTES)
        if not data:
            return False
        if data.startswith(b"GET ") and data.endswith(b"\r\n\r\n") and not pending[fd]:
            return connection.send(_REST) == len(_REST)  # nearly all of them
        rest = pending[fd] + data
        while rest:
            reply, after = answer(rest)
            if not reply:
                break
            connection.sendall(reply)
            rest = after
        pending[fd] = rest
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return False
    return True


if __name__ == "__main__":
    main()
