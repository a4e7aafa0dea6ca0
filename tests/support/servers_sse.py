"""A scripted server of the HTTP+SSE transport of 2024-11-05."""

from __future__ import annotations

import json
import queue
import threading
import time
from contextlib import suppress
from typing import Any

from servers import _Handler, _Running, tool


class SseServer(_Running):
    """GET /sse brings the replies to what is POSTed to /messages; keywords say how it differs from a good one."""

    def __init__(
        self,
        *,
        endpoint: str | None = "/messages?session=1",
        event: str = "endpoint",
        notify_first: bool = False,
        ask_first: bool = False,
        post_status: int = 202,
        silent: bool = False,
        hang_up: bool = False,
        port: int = 0,
    ) -> None:
        self.endpoint, self.event, self.notify_first, self.ask_first = endpoint, event, notify_first, ask_first
        self.post_status, self.silent, self.hang_up = post_status, silent, hang_up
        self.streams: dict[int, queue.Queue[dict[str, Any] | None]] = {}
        self.posts_to_stream = 0
        self.client_answers: dict[Any, Any] = {}
        super().__init__(_SseHandler, port)

    def url(self, path: str = "/sse") -> str:
        """The address of the stream."""
        return f"http://127.0.0.1:{self.port}{path}"

    def streams_closed_within(self, seconds: float) -> bool:
        """Whether every client has closed its stream; one that has is noticed at the next comment."""
        until = time.monotonic() + seconds
        while self.streams and time.monotonic() < until:
            time.sleep(0.02)
        return not self.streams


class _SseHandler(_Handler):
    @property
    def owner(self) -> SseServer:
        found: SseServer = self.server.owner  # type: ignore[attr-defined]
        return found

    def do_GET(self) -> None:  # noqa: N802 # the name http.server looks for
        owner, waiting = self.owner, queue.Queue[dict[str, Any] | None]()
        if self.path != "/sse":
            return self.answer(404)
        owner.streams[id(waiting)] = waiting
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            if owner.endpoint is not None:
                address = owner.endpoint.replace("{origin}", f"http://127.0.0.1:{owner.port}")
                self._say(owner.event, address)
            while not owner.closing.is_set():
                try:
                    message = waiting.get(timeout=0.05)
                except queue.Empty:
                    self.wfile.write(b": still here\n\n")
                    continue
                if message is None:
                    break
                self._say("message", json.dumps(message))
        except OSError:  # the client has closed the stream
            pass
        finally:
            del owner.streams[id(waiting)]
            self.close_connection = True
        return None

    def do_POST(self) -> None:  # noqa: N802 # the name http.server looks for
        owner = self.owner
        message = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        if self.path == "/sse":
            owner.posts_to_stream += 1
            return self.answer(405)
        if "method" not in message:
            owner.client_answers[message["id"]] = message
            return self.answer(202)
        self.answer(owner.post_status)
        if owner.post_status < 300 and "id" in message:
            threading.Thread(target=self._reply, args=(message,), daemon=True).start()  # the connection is free again
        return None

    def _reply(self, message: dict[str, Any]) -> None:
        owner = self.owner
        with suppress(StopIteration):
            stream = next(reversed(owner.streams.values()))
            if owner.hang_up:
                stream.put(None)
            if owner.notify_first:
                stream.put({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "hello"}})
            if owner.ask_first:
                stream.put({"jsonrpc": "2.0", "id": 1, "method": "ping"})
                until = time.monotonic() + 5
                while 1 not in owner.client_answers and time.monotonic() < until:
                    time.sleep(0.01)
            if not owner.silent:
                named = {"name": "sse", "version": "1"}
                info = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": named}
                results = {"initialize": info, "ping": {}, "tools/list": {"tools": [tool("add")]}}
                stream.put({"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]})

    def _say(self, event: str, data: str) -> None:
        self.wfile.write(f"event: {event}\r\ndata: {data}\r\n\r\n".encode())
