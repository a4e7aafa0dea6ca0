"""A server that ends or wedges whichever worker asks it, by a signal to the process that has the connection."""

from __future__ import annotations

import os
import socketserver
import threading
import time
from collections import Counter
from contextlib import suppress
from types import TracebackType

import psutil

_OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'


class PoisonServer:
    """``/NUMBER/NAME`` sends the worker that signal, ``/0/NAME`` is healthy after ``delay_s``.

    ``times`` is how often one address does so before it is healthy for good.
    """

    def __init__(self, delay_s: float = 0.0, times: int = 1000) -> None:
        outer = self
        self.asked: Counter[str] = Counter()
        self._delay_s, self._times = delay_s, times

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while line := self.rfile.readline():
                    path = line.split()[1].decode()
                    while self.rfile.readline().strip():
                        pass
                    outer.asked[path] += 1
                    number = int(path.split("/")[1])
                    if number and outer.asked[path] <= outer._times:
                        os.kill(owner_of(self.client_address[1]), number)
                        time.sleep(0.5)
                    elif outer._delay_s:
                        time.sleep(outer._delay_s)
                    try:
                        self.wfile.write(_OK)
                    except OSError:
                        return

            def finish(self) -> None:
                with suppress(OSError):
                    super().finish()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *_: object) -> None:
                """The other end is gone: that is what this is for."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> PoisonServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, number: int, name: str) -> str:
        """The address of a server of that name that sends this signal."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{number}/{name}"


def owner_of(port: int) -> int:
    """The process below this one whose connection has that port at its end."""
    for process in psutil.Process().children(recursive=True):
        try:
            if any(one.laddr and one.laddr.port == port for one in process.net_connections("tcp")):
                return process.pid
        except psutil.Error:
            continue
    raise AssertionError(f"no process has port {port}")
