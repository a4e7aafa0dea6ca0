"""urllib3 connections that tell the clock what they are doing, and count themselves."""

from __future__ import annotations

import socket
import ssl
from time import perf_counter

from urllib3.connection import HTTPConnection, HTTPSConnection

from checker.worker.transport.dns import DnsCache
from checker.worker.transport.sockets import is_public, open_socket
from checker.worker.transport.tls import certificate_expiry_ms, handshake_failure, keep_session
from checker.worker.transport.trace import Trace


class Counts:
    """The connections of one probe kind in a worker."""

    __slots__ = (
        "closed_by_peer",
        "created",
        "evicted",
        "in_use",
        "most_in_use",
        "most_open",
        "open",
        "reused",
        "tls_handshakes",
        "tls_resumed",
    )

    def __init__(self) -> None:
        self.open = self.in_use = self.most_in_use = self.most_open = 0
        self.created = self.reused = self.closed_by_peer = self.evicted = self.tls_handshakes = self.tls_resumed = 0

    def opened(self) -> None:
        """One more is open."""
        self.created += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)

    def taken(self) -> None:
        """One more is in use."""
        self.in_use += 1
        self.most_in_use = max(self.most_in_use, self.in_use)


class _Traced:
    """What both kinds of connection share; ``trace`` is set before each exchange."""

    trace: Trace
    counts: Counts
    dns: DnsCache
    public_only = False
    public_peer = False
    certificate_expires_at_ms: int | None = None
    idle_since = 0.0
    _counted = False

    def _open(self, connection: HTTPConnection) -> socket.socket:
        host = connection._dns_host  # the host as it is to be looked up; urllib3 keeps it under this name only
        timeout_s = float(connection.timeout or 0)
        sock = open_socket(host, connection.port, timeout_s, self.trace, self.public_only, self.dns)
        self.public_peer = is_public(sock.getpeername()[0])
        self._counted = True
        self.counts.opened()
        return sock

    def _note_closed(self) -> None:
        if self._counted:
            self._counted = False
            self.counts.open -= 1


class TracedHTTPConnection(_Traced, HTTPConnection):
    """A plain connection."""

    def _new_conn(self) -> socket.socket:
        return self._open(self)

    def close(self) -> None:
        """Close the socket, if there is one."""
        self._note_closed()
        super().close()


class TracedHTTPSConnection(_Traced, HTTPSConnection):
    """A TLS connection."""

    def _new_conn(self) -> socket.socket:
        self._handshake_from = 0.0
        sock = self._open(self)
        self._handshake_from = perf_counter()
        self.trace.step = "tls"
        return sock

    def connect(self) -> None:
        """Open the socket and make the handshake; each may take the connection's timeout. Raises ProbeFailure."""
        timeout_s = float(self.timeout or 0)
        try:
            super().connect()
        except (ssl.SSLError, OSError) as error:
            raise handshake_failure(error, timeout_s) from None
        finally:
            if self._handshake_from:
                self.trace.connecting_took("tls", perf_counter() - self._handshake_from)
        self.counts.tls_handshakes += 1
        self.counts.tls_resumed += bool(getattr(self.sock, "session_reused", False))
        self.certificate_expires_at_ms = certificate_expiry_ms(self.sock)

    def close(self) -> None:
        """Close the socket, if there is one, and keep its TLS session."""
        self._note_closed()
        keep_session(self.sock)
        super().close()
