"""A small forward proxy on loopback: CONNECT and plain forwarding, with or without a password."""

from __future__ import annotations

import base64
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from accepting import Accepting


class Proxy:
    """Serves until left; ``asked`` are the request lines it was given. A context manager."""

    def __init__(self, password: str | None = None, refuse: bool = False, port: int = 0) -> None:
        self._refuse = refuse
        self._wanted = None if password is None else base64.b64encode(f"user:{password}".encode()).decode()
        self.asked: list[str] = []
        self._accepting = Accepting(self._serve, port=port)
        self.port = self._accepting.port
        self._accepting.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._accepting.close()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if head := _head(client):
                line, *headers = head.split("\r\n")
                self.asked.append(line)
                if self._refuse:
                    return client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                sent = [one.partition(": ")[2] for one in headers if one.lower().startswith("proxy-authorization:")]
                if self._wanted is not None and sent != [f"Basic {self._wanted}"]:
                    return client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                if line.startswith("CONNECT "):
                    host, _, port = line.split()[1].rpartition(":")
                    return self._tunnel(client, host, int(port))
                return self._forward(client, line, headers)

    def _tunnel(self, client: socket.socket, host: str, port: int) -> None:
        with socket.create_connection((host, port)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join(5)

    def _forward(self, client: socket.socket, line: str, headers: list[str]) -> None:
        method, url, _ = line.split()
        parts = urlsplit(url)
        kept = [one for one in headers if not one.lower().startswith(("proxy-", "connection:"))]
        request = "\r\n".join([f"{method} {parts.path} HTTP/1.1", *kept, "Connection: close", "", ""])
        with socket.create_connection((parts.hostname or "", parts.port or 80)) as server:
            server.sendall(request.encode())
            _copy(server, client)


def _head(client: socket.socket) -> str:
    """A request's head without its empty line; empty at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (byte := client.recv(1)):
            return ""
        head += byte
    return head.decode("latin-1").removesuffix("\r\n\r\n")


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
