"""A listener on loopback whose connections are each served by a thread of their own, until it is closed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Accepting:
    """Calls ``serve`` with each accepted socket; ``backlog`` as in listen(2)."""

    def __init__(self, serve: Callable[[socket.socket], object], backlog: int | None = None, port: int = 0) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", port), backlog=backlog)
        self.port: int = self._listener.getsockname()[1]

    def start(self) -> None:
        """Accept from now on."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more; connections that are open are left to those who serve them."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()
