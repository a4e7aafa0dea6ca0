"""Connecting to a host by callbacks of the loop: to the first of its addresses that answers, as RFC 8305 has it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from gevent.monkey import get_original

from checker.model import Reason

WRITE = 2
Place = tuple[socket.AddressFamily, tuple[Any, ...]]
_NEXT_AFTER_S = 0.25
_new_socket: Any = get_original("socket", "socket")  # not gevent's: it would wait where this goes on
_OUR_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


class Dial:
    """One connection on its way: ``connected`` is called with the socket and its place, or ``failed`` with a reason."""

    __slots__ = ("_connected", "_failed", "_left", "_loop", "_reasons", "_timer", "_trying")

    def __init__(
        self,
        places: Sequence[Place],
        loop: Any,
        connected: Callable[[Any, Place], None],
        failed: Callable[[str], None],
    ) -> None:
        self._left, self._loop, self._connected, self._failed = list(places), loop, connected, failed
        self._trying: dict[Any, Any] = {}
        """Socket -> what watches it."""
        self._timer: Any = None
        self._reasons: list[str] = []
        self._next()

    def close(self) -> None:
        """Give up what is on its way; no callback comes any more."""
        self._stop_timer()
        for sock, watcher in self._trying.items():
            watcher.close()
            sock.close()
        self._trying.clear()

    def _next(self) -> None:
        """Begin to connect to the next address, if there is one."""
        self._stop_timer()
        if not self._left:
            if not self._trying:
                self._loop.run_callback(self._failed, self._most_telling())
            return
        family, address = place = self._left.pop(0)
        sock: Any = None
        try:
            sock = _new_socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            error = sock.connect_ex(address)
        except OSError as failure:
            error = failure.errno or errno.EIO
        if error not in (0, errno.EINPROGRESS):
            self._has_failed(sock, error)
            return
        watcher = self._trying[sock] = self._loop.io(sock.fileno(), WRITE)
        watcher.start(self._writable, sock, place)
        if self._left:
            self._timer = self._loop.timer(_NEXT_AFTER_S)
            self._timer.start(self._next)

    def _writable(self, sock: Any, place: Place) -> None:
        self._trying.pop(sock).close()
        if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._has_failed(sock, error)
            return
        self.close()
        self._connected(sock, place)

    def _has_failed(self, sock: Any, error: int) -> None:
        if sock is not None:
            sock.close()
        if error in _OUR_OWN_LIMITS:
            self._reasons.append(f"{Reason.INTERNAL_ERROR.value} {os.strerror(error)}")
        else:
            refused = error == errno.ECONNREFUSED
            self._reasons.append((Reason.CONNECT_REFUSED if refused else Reason.CONNECT_FAILED).value)
        self._next()

    def _most_telling(self) -> str:
        """Our own limits before a refusal, and that before what the system could not do."""
        order = {Reason.CONNECT_REFUSED.value: 1, Reason.CONNECT_FAILED.value: 2}
        return min(self._reasons, key=lambda reason: order.get(reason, 0), default=Reason.DNS.value)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
