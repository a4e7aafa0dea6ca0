"""One HTTP/1.1 connection that the loop's callbacks drive: no greenlet waits for it, no request is built twice."""

from __future__ import annotations

import errno
import os
import socket
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import gevent
import httptools
from gevent.monkey import get_original

from checker.bench.news import REFUSED
from checker.model import Reason

if TYPE_CHECKING:
    from checker.bench.worker.rest import RestTarget

READ, WRITE = 1, 2
READ_BYTES = 65536
_new_socket: Any = get_original("socket", "socket")  # not gevent's: it would wait where this goes on
_OUR_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
_STORM = (429, 503)


class Connection:
    """A plain connection; it belongs to its target, which has it in ``idle`` or in ``busy``."""

    __slots__ = (
        "_addresses",
        "_body",
        "_complete",
        "_head",
        "_keep",
        "_loop",
        "_opened_ns",
        "_parser",
        "_recv",
        "_send",
        "_sock",
        "_step",
        "_target",
        "_tls",
        "_watch",
        "_writing",
        "code",
        "first_ns",
        "intended_ns",
        "key",
        "sent_ns",
        "size",
        "used",
        "user",
    )

    def __init__(self, target: RestTarget) -> None:
        self._target, self._loop = target, gevent.get_hub().loop
        self._parser: Any = None
        self._watch: Any = None
        self._writing: Any = None
        self._sock: Any = None
        self._tls: Any = None
        self._addresses = list(target.addresses)
        self._complete = self.used = False
        self._keep = True
        self._body: list[bytes] = []
        self._head = b""
        self._step = "connect"
        self.key = self.code = self.intended_ns = self.sent_ns = self.first_ns = self.size = self.user = 0

    def open(self) -> None:
        """Connect, and send the request when that is done."""
        self._opened_ns = monotonic_ns()
        self._try_next(None)

    def send(self) -> None:
        """Send the request over the open connection."""
        self._step = "wait"
        try:
            sent = self._send(self._target.request)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._loop.run_callback(self._lost, Reason.CONNECTION_CLOSED.value)
            return
        if sent != len(self._target.request):
            self._step = "send"
            self._send_rest(self._target.request[sent:])

    @property
    def timeout_reason(self) -> Reason:
        """What it is that takes too long."""
        if self._step == "wait":
            return Reason.DEADLINE if self.first_ns else Reason.FIRST_BYTE_TIMEOUT
        return {"connect": Reason.CONNECT_TIMEOUT, "tls": Reason.TLS_HANDSHAKE, "send": Reason.SEND_TIMEOUT}[self._step]

    def close(self) -> None:
        """Close the socket; no callback comes any more."""
        for watcher in (self._watch, self._writing):
            if watcher is not None:
                watcher.close()
        self._watch = self._writing = None
        if self._sock is not None:
            self._sock.close()

    def _try_next(self, failed: str | None) -> None:
        """Begin to connect to the next address of the host."""
        if not self._addresses:
            self._loop.run_callback(self._lost, failed or Reason.DNS.value)
            return
        family, address = self._addresses.pop(0)
        try:
            self._sock = sock = _new_socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            error = sock.connect_ex(address)
        except OSError as failure:
            error = failure.errno or errno.EIO
        if error in (0, errno.EINPROGRESS):
            self._writing = self._loop.io(self._sock.fileno(), WRITE)
            self._writing.start(self._connected)
            return
        self._not_connected(error)

    def _connected(self) -> None:
        self._writing.close()
        self._writing = None
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._not_connected(error)
            return
        self._target.note_phase("connect", self, monotonic_ns() - self._opened_ns)
        self._begin()

    def _not_connected(self, error: int) -> None:
        if self._sock is not None:
            self._sock.close()
        if error in _OUR_OWN_LIMITS:
            reason = f"{Reason.INTERNAL_ERROR.value} {os.strerror(error)}"
        else:
            refused = error == errno.ECONNREFUSED
            reason = (Reason.CONNECT_REFUSED if refused else Reason.CONNECT_FAILED).value
        self._try_next(reason)

    def _begin(self) -> None:
        """The socket is connected: watch it for good, and send."""
        self._recv, self._send = self._sock.recv, self._sock.send
        self._parser = httptools.HttpResponseParser(self)
        self._watch = self._loop.io(self._sock.fileno(), READ)
        self._watch.start(self._readable)
        self.send()

    def _send_rest(self, rest: bytes) -> None:
        """Send what the socket did not take at once."""

        def writable() -> None:
            nonlocal rest
            try:
                rest = rest[self._send(rest) :]
            except BlockingIOError:
                return
            except OSError:
                self._lost(Reason.CONNECTION_CLOSED.value)
                return
            if not rest:
                self._writing.close()
                self._writing = None
                self._step = "wait"

        self._writing = self._loop.io(self._sock.fileno(), WRITE)
        self._writing.start(writable)

    def _readable(self) -> None:
        """Take what has come; a callback of the loop."""
        try:
            data = self._recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self._ended_by_peer()

    def _take(self, data: bytes) -> None:
        if not self.sent_ns:  # idle: nobody has asked for this
            self._lost("")
            return
        if not self.first_ns:
            self.first_ns = monotonic_ns()
            self._head = data
        self.size += len(data)
        if self.size > self._target.most_bytes:
            self._lost(Reason.BODY_TOO_LARGE.value)
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._complete:
                self._lost(Reason.HTTP_MALFORMED.value)
                return
            self._keep = False
        if self._complete:
            self._finish()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()
        if status >= 200 or status == 101:
            self._complete = True
            self._keep = self._parser.should_keep_alive()  # can be asked now only

    def _finish(self) -> None:
        """The reply is whole: a sample, and the connection is free."""
        done_ns = monotonic_ns()
        target = self._target
        status = self._parser.get_status_code()
        self._complete = False
        code = target.codes.get(status)
        if code is None:
            code = target.code_of(status)
        if code or target.looks_inside:
            code = code or target.code_inside(status, self._head, self._body)
            if code and (status in _STORM or b"\nretry-after:" in self._head.lower()):
                code |= REFUSED
        target.samples.extend((
            self.key, code | self.code, self.intended_ns, self.sent_ns, self.first_ns, done_ns, self.size
        ))  # fmt: skip
        self.first_ns = self.size = self.sent_ns = 0
        self.used = True
        target.is_free(self, self._keep)

    def _ended_by_peer(self) -> None:
        """The server has closed: the end of a reply that says no length, or of the connection."""
        reason = Reason.CONNECTION_CLOSED.value
        if self.sent_ns and self.first_ns and not self._says_length():
            self._keep = False
            self._finish()
            return
        self._lost(reason if self.sent_ns else "")

    def _says_length(self) -> bool:
        head = self._head.partition(b"\r\n\r\n")[0].lower()
        return b"\r\n\r\n" not in self._head or b"\ncontent-length:" in head or b"\ntransfer-encoding:" in head

    def _lost(self, reason: str) -> None:
        """The connection cannot be used any more; with a reason, an operation fails for it."""
        self._target.has_lost(self, reason)


class ReadingConnection(Connection):
    """A connection whose replies are looked into: the body is kept until it has been judged."""

    __slots__ = ()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._body.clear()

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._body.append(data)


class HeadConnection(Connection):
    """A connection for HEAD, whose replies are over with their head, whatever length they say."""

    __slots__ = ()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self.on_message_complete()

    def _finish(self) -> None:
        status_of = self._parser
        super()._finish()
        if self._parser is status_of:  # it waits for a body that does not come
            self._parser = httptools.HttpResponseParser(self)
