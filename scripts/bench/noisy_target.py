"""A loopback HTTP server whose answers take a few milliseconds, as services do: scattered, and now and then long.

GET /1.1 takes 1.1 times as long as GET /1. Started as a program with the median service time in milliseconds; prints
{"port": ...} and ends with its standard input.
"""

from __future__ import annotations

import json
import random
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress

SCATTER = 0.25
"""Standard deviation of the logarithm of service times."""
LONG_RATIO, LONG_TIMES = 0.01, 3.0
"""One in a hundred takes three times as long: a collection, a cache that missed."""
_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"UP"}'


def service_s(median_s: float, random_: random.Random) -> float:
    """How long one request takes."""
    long = LONG_TIMES if random_.random() < LONG_RATIO else 1.0
    return median_s * random_.lognormvariate(0, SCATTER) * long


class _Connection(socketserver.StreamRequestHandler):
    """A kept-alive connection, in a thread of its own: sleeping threads wake to within 0.1 ms, event loops to 1 ms."""

    median_s = 0.004

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def handle(self) -> None:
        own = random.Random(threading.get_ident())
        with suppress(ConnectionError):  # a client that was killed
            while line := self.rfile.readline():
                while self.rfile.readline() not in (b"\r\n", b""):
                    pass
                time.sleep(service_s(self.median_s * float(line.split()[1].strip(b"/") or 1), own))
                self.wfile.write(_ANSWER)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024


def main() -> None:
    _Connection.median_s = float(sys.argv[1]) / 1000
    with _Server(("127.0.0.1", 0), _Connection) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(json.dumps({"port": server.server_address[1]}), flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
