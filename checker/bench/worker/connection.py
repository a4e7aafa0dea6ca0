"""One HTTP/1.1 connection that the loop's callbacks drive: no greenlet waits for it, no request is built twice."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import gevent
import httptools

from checker.bench.news import REFUSED
from checker.bench.worker.dial import WRITE, Dial, Place
from checker.model import Reason
from checker.worker.transport.heads import ends_with_its_connection, has_whole_head, may_be_mended, mended
from checker.worker.transport.http1 import response_parser

if TYPE_CHECKING:
    from checker.bench.worker.redirects import Hop
    from checker.bench.worker.rest import RestTarget

READ = 1
READ_BYTES = 65536
HEAD_BYTES = 64 * 1024
"""As much of a reply is kept as it came; a head is no longer."""
_STORM = (429, 503)


class Connection:
    """A plain connection; it belongs to its target, which has it in ``idle`` or in ``busy``."""

    __slots__ = (
        "_body",
        "_broken",
        "_complete",
        "_dial",
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
        "has_sent",
        "hop",
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
        self._dial: Dial | None = None
        self._complete = self._broken = self.used = self.has_sent = False
        self._keep = True
        self._body: list[bytes] = []
        self._head: bytes | bytearray = b""
        """The reply as it comes, up to some length: its head, and a small body with it."""
        self._step = "connect"
        self.hop: Hop | None = None
        """Where redirects have led the operation."""
        self.key = self.code = self.intended_ns = self.sent_ns = self.first_ns = self.size = self.user = 0

    def open(self) -> None:
        """Connect, and send the request when that is done."""
        self._opened_ns = monotonic_ns()
        self._dial = Dial(self._target.addresses, self._loop, self._connected, self._lost)

    def send(self) -> None:
        """Send the request over the open connection."""
        self._step, self.has_sent = "wait", True
        request = self._target.request if self.hop is None else self.hop.data
        try:
            sent = self._send(request)
        except BlockingIOError:
            sent = 0
        except OSError:  # it had been closed before
            self.has_sent = False
            self._loop.run_callback(self._lost, Reason.CONNECTION_CLOSED.value)
            return
        if sent != len(request):
            self._step = "send"
            self._send_rest(request[sent:])

    def send_on(self) -> None:
        """Send the request that a redirect asks for, over this connection; the operation goes on."""
        self.first_ns = self.size = 0
        self._broken = False
        self.used = True
        self.send()

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
        if self._dial is not None:
            self._dial.close()
        if self._sock is not None:
            self._sock.close()

    def _connected(self, sock: Any, place: Place) -> None:
        self._dial, self._sock = None, sock
        self._target.prefer(place)
        self._target.note_phase("connect", self, monotonic_ns() - self._opened_ns)
        self._begin()

    def _begin(self) -> None:
        """The socket is connected: watch it for good, and send."""
        self._recv, self._send = self._sock.recv, self._sock.send
        self._parser = response_parser(self)
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
        elif len(self._head) < HEAD_BYTES:  # in several pieces
            self._head = bytearray(self._head) if isinstance(self._head, bytes) else self._head
            self._head += data
        self.size += len(data)
        if self.size > self._target.most_bytes:
            self._lost(Reason.BODY_TOO_LARGE.value)
            return
        try:
            if self._broken:
                self._mend()
            else:
                self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete and not self._may_be_mended(error):
                self._lost(Reason.HTTP_MALFORMED.value)
                return
            self._keep = not self._complete
        if self._complete:
            self._finish()

    def _may_be_mended(self, error: Exception) -> bool:
        """Whether clients may pass over what is wrong: the head is waited for, and read by another parser."""
        if self._broken or not may_be_mended(error.__context__ or error):
            return False
        self._broken = True
        try:
            self._mend()
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return self._complete
        return True

    def _mend(self) -> None:
        """Read the reply so far as clients do, if its head has come whole; raises what the parser raises."""
        received = bytes(self._head)
        if (better := mended(received)) is not None:
            self._broken = False
            self._body.clear()
            self._parser = response_parser(self)
            self._parser.feed_data(better)
        elif len(received) >= HEAD_BYTES or has_whole_head(received):
            raise httptools.HttpParserError("several lengths")

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
            code = target.led_on(self, status, bytes(self._head), self._keep)
            if code is None:
                return
        if code or target.looks_inside or b"Content-Encoding" in self._head or b"content-encoding" in self._head:
            code = code or target.code_inside(status, bytes(self._head), self._body, self.size)
            if code and (status in _STORM or b"\nretry-after:" in self._head.lower()):
                code |= REFUSED
        target.samples.extend((
            self.key, code | self.code, self.intended_ns, self.sent_ns, self.first_ns, done_ns, self.size
        ))  # fmt: skip
        self.first_ns = self.size = self.sent_ns = 0
        self._broken = False
        self.used = True
        target.is_free(self, self._keep)

    def _ended_by_peer(self) -> None:
        """The server has closed: the end of a reply that says no length, or of the connection."""
        reason = Reason.CONNECTION_CLOSED.value
        if self.sent_ns and self.first_ns and not self._broken and ends_with_its_connection(bytes(self._head)):
            self._keep = False
            self._finish()
            return
        self._lost(reason if self.sent_ns else "")

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
            self._parser = response_parser(self)


class UnreadConnection(Connection):
    """A connection for a reply that need not end: it is over with its head, and so is the connection."""

    __slots__ = ()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        super().on_message_complete()
        self._keep = False

    def on_message_complete(self) -> None:
        """Called by the parser: the head was enough."""
