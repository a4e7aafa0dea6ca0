"""A server whose every reply is generated: what an address answers follows from the number in its path."""

from __future__ import annotations

import json
import random
import re
import socket
import ssl
import time
from contextlib import suppress
from typing import Any

from fuzz_replies import ODD_RAW, events, http_reply, message, mutated, oauth_document

from accepting import Accepting

_NUMBER = re.compile(r"/n/(\d+)")
_PATIENCE_S = 10.0
_MOST_REQUESTS = 200


class GeneratedServer:
    """Answers until it is left; a context manager. Over TLS with a context."""

    def __init__(self, seed: int, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._seed, self._context = seed, context
        self._accepting = Accepting(self._serve, backlog=1024, port=port)
        self.port = self._accepting.port
        self._asked: dict[str, int] = {}
        self._streams: dict[str, socket.socket] = {}

    def url(self, number: int) -> str:
        """The address of an example."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}/n/{number}/mcp"

    def __enter__(self) -> GeneratedServer:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._accepting.close()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, ValueError):
            sock.settimeout(_PATIENCE_S)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            file = sock.makefile("rb")
            for _ in range(_MOST_REQUESTS):
                if not (line := file.readline(70_000)):
                    break
                method, target, *_ = line.decode("latin-1").split(" ")
                length = 0
                while (field := file.readline(70_000)).strip():
                    name, _, value = field.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                if not self._answer(sock, method, target, file.read(length)):
                    break
        sock.close()

    def _answer(self, sock: socket.socket, method: str, target: str, body: bytes) -> bool:
        """Whether the connection goes on."""
        found = _NUMBER.search(target)
        number = found[1] if found else "0"
        asked = self._asked[number] = self._asked.get(number, 0) + 1
        temper = random.Random(f"{self._seed} {number}")
        begins = temper.choice((0, 0, 2, 4, 6, 9))  # so that the last things asked for are reached too
        oddness = temper.choice((0.01, 0.03, 0.1, 0.3)) if asked > begins else 0.0
        draw = random.Random(f"{self._seed} {number} {asked}")
        here = self.url(int(number)).removesuffix("/mcp")
        if oddness and draw.random() < 0.004:
            time.sleep(_PATIENCE_S)
        if oddness and draw.random() < 0.01:
            return False
        data = self._data(draw, number, method, target, body, oddness, here, sock)
        if data is None:  # a stream, which stays open
            return True
        if draw.random() < 0.1:
            for start in range(0, min(len(data), 400), 7):
                sock.sendall(data[start : start + 7])
            sock.sendall(data[400:])
        else:
            sock.sendall(data)
        return b"Connection: close" not in data and b"HTTP/1.0" not in data and draw.random() > 0.05

    def _data(
        self,
        draw: random.Random,
        number: str,
        method: str,
        target: str,
        body: bytes,
        oddness: float,
        here: str,
        sock: socket.socket,
    ) -> bytes | None:
        if "/.well-known/" in target or target.endswith("/token"):
            document = json.dumps(oauth_document(draw, target, here, oddness), default=str).encode()
            return http_reply(draw, document, "application/json", oddness, here)
        if int(number) % 7 == 3 and self._asked[number] == 1:
            head = f'Bearer resource_metadata="{here}/.well-known/oauth-protected-resource"'
            return http_reply(draw, b"", "text/plain", 0, here, {"WWW-Authenticate": head}).replace(
                b"200 OK", b"401 No"
            )
        if method == "GET" and "/sse" in target:
            where = f"/n/{number}/post"
            if draw.random() < oddness:
                where = draw.choice(("", "post", "http://[", "//x:99999/", "http://127.0.0.1:1/\xff", "\0", "\u202e"))
            begin = events(draw, [where], oddness / 4)
            if draw.random() > oddness:
                begin = f"event: endpoint\ndata: {where}\n\n".encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + begin)
            self._streams[number] = sock
            return None
        if method != "POST":
            text = message(draw, "GET", 1, oddness).encode("utf-8", "surrogatepass")
            return http_reply(draw, text, "application/json", oddness, here)
        try:
            asked: Any = json.loads(body)
        except ValueError:
            asked = {}
        name, request_id = str(asked.get("method", "")), asked.get("id")
        if target.endswith("/post"):
            stream = self._streams.get(number)
            if stream is not None and request_id is not None:
                with suppress(OSError):
                    stream.sendall(events(draw, [message(draw, name, request_id, oddness)], oddness))
            return http_reply(draw, b"", "text/plain", oddness / 2, here)
        if request_id is None:
            return http_reply(draw, b"", "text/plain", oddness / 2, here).replace(b"200 OK", b"202 Accepted")
        texts = [message(draw, name, request_id, oddness)]
        session = {"Mcp-Session-Id": "s" * draw.randint(1, 40)} if name == "initialize" else {}
        if draw.random() < 0.4:
            if draw.random() < oddness:
                texts.insert(0, message(draw, "ping", draw.choice((0, 99, "x", None)), 1.0))
            return http_reply(draw, events(draw, texts, oddness), "text/event-stream", oddness, here, session)
        answer = texts[0] if draw.random() > oddness / 4 else draw.choice(ODD_RAW)
        data = answer.encode("utf-8", "surrogatepass")
        if draw.random() < oddness / 4:
            data = mutated(draw, data)
        return http_reply(draw, data, "application/json", oddness, here, session)
