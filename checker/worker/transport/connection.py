"""urllib3 connections that tell the clock what they are doing: lookup, connect, handshake."""

from __future__ import annotations

import socket
import ssl
from time import perf_counter

from urllib3.connection import HTTPConnection, HTTPSConnection

from checker.worker.transport.sockets import is_public, open_socket
from checker.worker.transport.tls import certificate_expiry_ms, handshake_failure
from checker.worker.transport.trace import Trace


class _Traced:
    """What both kinds of connection share; ``trace`` is set before each exchange."""

    trace: Trace
    public_only = False
    public_peer = False
    certificate_expires_at_ms: int | None = None

    def _open(self, connection: HTTPConnection) -> socket.socket:
        host = connection._dns_host  # the host as it is to be looked up; urllib3 keeps it under this name only
        sock = open_socket(host, connection.port, float(connection.timeout or 0), self.trace, self.public_only)
        self.public_peer = is_public(sock.getpeername()[0])
        return sock


class TracedHTTPConnection(_Traced, HTTPConnection):
    """A plain connection."""

    def _new_conn(self) -> socket.socket:
        return self._open(self)


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
        self.certificate_expires_at_ms = certificate_expiry_ms(self.sock)
