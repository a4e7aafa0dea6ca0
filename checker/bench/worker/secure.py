"""Connections over TLS: OpenSSL works in memory, the socket stays with the loop's callbacks."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from checker.bench.worker.connection import (
    READ,
    READ_BYTES,
    Connection,
    HeadConnection,
    ReadingConnection,
    UnreadConnection,
)
from checker.bench.worker.dial import WRITE
from checker.worker.transport.http1 import response_parser
from checker.worker.transport.tls import handshake_failure

if TYPE_CHECKING:
    _Base = Connection
else:
    _Base = object


@dataclass(slots=True)
class _TlsEnds:
    """The two ends of OpenSSL that are not the connection's."""

    coming: ssl.MemoryBIO
    going: ssl.MemoryBIO
    session: ssl.SSLObject
    since_ns: int


class _Secure(_Base):
    """What is put before a kind of connection."""

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
        """Give the parser all that could be decrypted."""
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
        """Send what OpenSSL has made."""
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
    """The same for HEAD."""

    __slots__ = ()


class SecureReadingConnection(_Secure, ReadingConnection):
    """The same with replies that are looked into."""

    __slots__ = ()


class SecureUnreadConnection(_Secure, UnreadConnection):
    """The same with replies that need not end."""

    __slots__ = ()
