"""HTTP/1.1 connections driven by the callbacks of the event loop, plain or over TLS, including connecting."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Protocol

import gevent
import httptools
from gevent.monkey import get_original

from checker.loadtest.messages import REFUSED
from checker.model import Reason
from checker.worker.transport.http1 import (
    ends_with_its_connection,
    has_whole_head,
    may_be_mended,
    mended,
    response_parser,
)
from checker.worker.transport.tls import handshake_failure

if TYPE_CHECKING:
    from array import array

    from checker.loadtest.worker.redirects import Hop


WRITE = 2
Place = tuple[socket.AddressFamily, tuple[Any, ...]]
_NEXT_AFTER_S = 0.25
_new_socket: Any = get_original("socket", "socket")  # not gevent's: it would wait where this goes on
_OUR_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


class Dial:
    """One connection attempt: calls ``connected`` with the socket and its address, or ``failed`` with a reason."""

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
        """Socket -> its watcher."""
        self._timer: Any = None
        self._reasons: list[str] = []
        self._next()

    def close(self) -> None:
        """Cancel the attempt; no callback follows."""
        self._stop_timer()
        for sock, watcher in self._trying.items():
            watcher.close()
            sock.close()
        self._trying.clear()

    def _next(self) -> None:
        """Connect to the next address, if there is one."""
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
        """The most informative failure: our own limits before a refusal, and that before errors of the local system."""
        order = {Reason.CONNECT_REFUSED.value: 1, Reason.CONNECT_FAILED.value: 2}
        return min(self._reasons, key=lambda reason: order.get(reason, 0), default=Reason.DNS.value)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None


READ = 1
READ_BYTES = 65536
HEAD_BYTES = 64 * 1024
"""Longest raw reply that is kept; headers are never longer."""
_STORM = (429, 503)


class Owner(Protocol):
    """The target that owns a connection, such as `RestTarget`: the calls that the connection makes on it."""

    addresses: list[Place]
    request: bytes
    tls: tuple[ssl.SSLContext, str] | None
    samples: array[int]
    most_bytes: int
    looks_inside: bool
    codes: dict[int, int]

    def prefer(self, place: Place) -> None:
        """Prefer the address that answered first from now on."""

    def note_phase(self, name: str, connection: Any, nanoseconds: int) -> None:
        """Note the time of a phase of opening the connection."""

    def led_on(self, connection: Any, status: int, received: bytes, keep: bool) -> int | None:
        """The code of a status that is new; None for a redirect that is followed."""

    def code_inside(self, status: int, received: bytes, body: list[bytes], size: int) -> int:
        """The code of a reply by the conditions on its headers and body."""

    def is_free(self, connection: Any, keep: bool) -> None:
        """The connection has received its reply and is free."""

    def has_lost(self, connection: Any, reason: str) -> None:
        """The connection has broken."""


class Connection:
    """A plain connection; its target keeps it in ``idle`` or in ``busy``."""

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
        "phases",
        "sent_ns",
        "size",
        "used",
        "user",
    )

    def __init__(self, target: Owner) -> None:
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
        """The received reply, up to a limit: its headers, and a small body with them."""
        self._step = "connect"
        self.hop: Hop | None = None
        """The last redirect of the operation."""
        self.phases: list[int] = []
        """Rows of the time that opening it took, until the operation is over."""
        self.key = self.code = self.intended_ns = self.sent_ns = self.first_ns = self.size = self.user = 0

    def open(self) -> None:
        """Connect, then send the request."""
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
        """Send the request of a redirect over this connection; the operation continues."""
        self.first_ns = self.size = 0
        self._broken = False
        self.used = True
        self.send()

    @property
    def timeout_reason(self) -> Reason:
        """The reason of a timeout: the phase that takes too long."""
        if self._step == "wait":
            return Reason.DEADLINE if self.first_ns else Reason.FIRST_BYTE_TIMEOUT
        return {"connect": Reason.CONNECT_TIMEOUT, "tls": Reason.TLS_HANDSHAKE, "send": Reason.SEND_TIMEOUT}[self._step]

    def close(self) -> None:
        """Close the socket; no callback follows."""
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
        """Watch the connected socket permanently, and send."""
        self._recv, self._send = self._sock.recv, self._sock.send
        self._parser = response_parser(self)
        self._watch = self._loop.io(self._sock.fileno(), READ)
        self._watch.start(self._readable)
        self.send()

    def _send_rest(self, rest: bytes) -> None:
        """Send the part that the socket did not accept at once."""

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
        """Read the received bytes; a callback of the event loop."""
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
        """True if clients usually tolerate the fault: wait for the headers and parse them with another parser."""
        if self._broken or not may_be_mended(error.__context__ or error):
            return False
        self._broken = True
        try:
            self._mend()
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return self._complete
        return True

    def _mend(self) -> None:
        """Parse the reply so far as lenient clients do, once its headers are complete; raises the parser's errors."""
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
        """Record a sample for the complete reply, and free the connection."""
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
        """Handle a close by the server: the end of a reply without a length, or of the connection."""
        reason = Reason.CONNECTION_CLOSED.value
        if self.sent_ns and self.first_ns and not self._broken and ends_with_its_connection(bytes(self._head)):
            self._keep = False
            self._finish()
            return
        self._lost(reason if self.sent_ns else "")

    def _lost(self, reason: str) -> None:
        """Drop the unusable connection; with a reason, an operation fails for it."""
        self._target.has_lost(self, reason)


class ReadingConnection(Connection):
    """A connection that checks the content of replies: the body is kept until it has been judged."""

    __slots__ = ()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._body.clear()

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._body.append(data)


class HeadConnection(Connection):
    """A connection for HEAD, whose replies end with their headers, whatever length these declare."""

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
    """A connection for a reply that may never end: the operation and the connection end with the headers."""

    __slots__ = ()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        super().on_message_complete()
        self._keep = False

    def on_message_complete(self) -> None:
        """Called by the parser: the headers were enough."""


if TYPE_CHECKING:
    _Base = Connection
else:
    _Base = object


@dataclass(slots=True)
class _TlsEnds:
    """OpenSSL's own state: its session and the two memory buffers on the side of the network."""

    coming: ssl.MemoryBIO
    going: ssl.MemoryBIO
    session: ssl.SSLObject
    since_ns: int


class _Secure(_Base):
    """The TLS layer mixed into a kind of connection."""

    __slots__ = ()

    def _begin(self) -> None:
        context, name = self._target.tls or (None, "")
        assert context is not None  # noqa: S101 # the target chose this class by it
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(coming, going, server_hostname=name)
        self._tls = _TlsEnds(coming, going, session, monotonic_ns())
        self._send = self._encrypt
        self._parser = response_parser(self)
        self._step = "tls"
        self._watch = self._loop.io(self._sock.fileno(), READ)
        self._watch.start(self._readable)
        self._shake_hands()

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._tls.coming.write(data)
        else:
            self._tls.coming.write_eof()
        if self._step == "tls":
            self._shake_hands()
        else:
            self._decrypt()

    def _shake_hands(self) -> None:
        try:
            self._tls.session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, OSError) as error:
            self._flush()
            self._lost(handshake_failure(error, 0).reason.value)
            return
        self._target.note_phase("tls", self, monotonic_ns() - self._tls.since_ns)
        self._flush()
        self.send()

    def _decrypt(self) -> None:
        """Pass all decrypted bytes to the parser."""
        plain, ended = b"", False
        try:
            while piece := self._tls.session.read(READ_BYTES):
                plain += piece
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            ended = True
        if plain:
            self._take(plain)
        if ended and self._watch is not None:
            self._ended_by_peer()

    def _encrypt(self, data: bytes) -> int:
        self._tls.session.write(data)
        self._flush()
        return len(data)

    def _flush(self) -> None:
        """Send the bytes that OpenSSL has produced."""
        pending = self._tls.going.read()
        if not pending:
            return
        try:
            sent = self._sock.send(pending)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the loop tells that it is closed
        if sent < len(pending):
            self._writing = self._loop.io(self._sock.fileno(), WRITE)
            self._writing.start(self._flusher(pending[sent:]))

    def _flusher(self, rest: bytes) -> Callable[[], None]:
        def writable() -> None:
            nonlocal rest
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                return
            except OSError:
                rest = b""
            if not rest:
                writing: Any = self._writing
                self._writing = None
                writing.close()

        return writable


class SecureConnection(_Secure, Connection):
    """A connection over TLS."""

    __slots__ = ()


class SecureHeadConnection(_Secure, HeadConnection):
    """A TLS connection for HEAD."""

    __slots__ = ()


class SecureReadingConnection(_Secure, ReadingConnection):
    """A TLS connection that checks the content of replies."""

    __slots__ = ()


class SecureUnreadConnection(_Secure, UnreadConnection):
    """A TLS connection for replies that may never end."""

    __slots__ = ()
