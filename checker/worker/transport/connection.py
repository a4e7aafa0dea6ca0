"""urllib3 connections that tell the clock what they are doing, and count themselves."""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from time import monotonic, perf_counter

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_match_hostname import CertificateError

from checker.addresses import CONFIGURED, AddressPolicy, Scope, scope
from checker.worker.transport.dns import DnsCache
from checker.worker.transport.sockets import open_socket
from checker.worker.transport.tls import Expiry, certificate_expiry, handshake_failure, keep_session
from checker.worker.transport.trace import Trace

_PORT_KEPT_S = 60.0
"""How long Linux keeps a port after its connection was closed here (TIME_WAIT)."""


class Recent:
    """Connections opened to each origin in the last minute or so: the kernel keeps the port of each for that time."""

    def __init__(self) -> None:
        self._now: Counter[tuple[str, int]] = Counter()
        self._before: Counter[tuple[str, int]] = Counter()
        self._since_s = monotonic()

    def add(self, origin: tuple[str, int]) -> None:
        """Count one more."""
        self._roll()
        self._now[origin] += 1

    def most(self) -> int:
        """Those to the origin with the most."""
        self._roll()
        return max((number + self._before[origin] for origin, number in self._now.items()), default=0)

    def _roll(self) -> None:
        now_s = monotonic()
        if now_s - self._since_s >= _PORT_KEPT_S:
            stale = now_s - self._since_s >= 2 * _PORT_KEPT_S
            self._before = Counter() if stale else self._now
            self._now, self._since_s = Counter(), now_s


class Counts:
    """The connections of one probe kind in a worker."""

    __slots__ = (
        "closed_by_peer",
        "connecting",
        "created",
        "evicted",
        "in_use",
        "most_in_use",
        "most_open",
        "open",
        "recent",
        "reused",
        "tls_handshakes",
        "tls_resumed",
    )

    def __init__(self) -> None:
        self.open = self.connecting = self.in_use = self.most_in_use = self.most_open = 0
        self.recent = Recent()
        self.created = self.reused = self.closed_by_peer = self.evicted = self.tls_handshakes = self.tls_resumed = 0

    def opened(self, host: str, port: int) -> None:
        """One more is open."""
        self.recent.add((host, port))
        self.created += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)

    def taken(self) -> None:
        """One more is in use."""
        self.in_use += 1
        self.most_in_use = max(self.most_in_use, self.in_use)


class Connected:
    """A TCP connection of a probe that speaks another protocol than HTTP: counted like the others, and never kept."""

    def __init__(self, host: str, port: int, timeout_s: float, trace: Trace, counts: Counts, dns: DnsCache) -> None:
        counts.connecting += 1
        try:
            self.sock = open_socket(host, port, timeout_s, trace, CONFIGURED, dns)
        finally:
            counts.connecting -= 1
        counts.opened(host, port)
        self._counts, self._is_counted = counts, True
        trace.connection(peer=scope(self.sock.getpeername()[0]), reused=False)

    def close(self) -> None:
        """Close it; it counts as open until then."""
        if self._is_counted:
            self._is_counted = False
            self._counts.open -= 1
        self.sock.close()


class _Traced:
    """What both kinds of connection share; ``trace`` and ``policy`` are set before each exchange."""

    trace: Trace
    counts: Counts
    dns: DnsCache
    policy: AddressPolicy = CONFIGURED
    peer: Scope = Scope.PUBLIC
    """What the open connection leads to: one that is kept is judged by it as a new one is by its address."""
    expiry: Expiry | None = None
    """Of the certificates of the open connection."""
    idle_since = 0.0
    _counted = False

    def _open(self, connection: HTTPConnection) -> socket.socket:
        host = connection._dns_host  # the host as it is to be looked up; urllib3 keeps it under this name only
        timeout_s = float(connection.timeout or 0)
        self.counts.connecting += 1
        try:
            sock = open_socket(host, connection.port, timeout_s, self.trace, self.policy, self.dns)
        finally:
            self.counts.connecting -= 1
        self.peer = scope(sock.getpeername()[0])
        self._counted = True
        self.counts.opened(host, connection.port)
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
        except (ssl.SSLError, OSError, CertificateError) as error:
            raise handshake_failure(error, timeout_s) from None
        finally:
            if self._handshake_from:
                self.trace.connecting_took("tls", perf_counter() - self._handshake_from)
        self.counts.tls_handshakes += 1
        self.counts.tls_resumed += bool(getattr(self.sock, "session_reused", False))
        self.expiry = certificate_expiry(self.sock)

    def close(self) -> None:
        """Close the socket, if there is one, and keep its TLS session."""
        self._note_closed()
        keep_session(self.sock)
        super().close()
