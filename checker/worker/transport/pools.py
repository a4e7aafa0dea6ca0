"""Connection pools, one set for each probe kind, and the urllib3 connections in them."""

from __future__ import annotations

import queue
import socket
import ssl
from collections import Counter, OrderedDict
from contextlib import suppress
from math import inf
from time import monotonic, perf_counter
from typing import Any

import gevent
import gevent.queue
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ClosedPoolError, FullPoolError
from urllib3.util import Url
from urllib3.util.ssl_match_hostname import CertificateError

from checker.addresses import CONFIGURED, AddressPolicy, Scope, scope
from checker.limits import PoolLimits
from checker.metrics import PoolMeasures
from checker.probes.options import Tls
from checker.worker.origin_limits import Places, Waits
from checker.worker.transport.dns import DnsCache
from checker.worker.transport.sockets import open_socket
from checker.worker.transport.tls import Expiry, TlsContexts, certificate_expiry, handshake_failure, keep_session
from checker.worker.transport.trace import Trace

_PORT_KEPT_S = 60.0
"""Time that Linux keeps a port after its connection was closed here (TIME_WAIT)."""


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
        """Number of those to the origin with the most."""
        self._roll()
        return max((number + self._before[origin] for origin, number in self._now.items()), default=0)

    def _roll(self) -> None:
        now_s = monotonic()
        if now_s - self._since_s >= _PORT_KEPT_S:
            stale = now_s - self._since_s >= 2 * _PORT_KEPT_S
            self._before = Counter() if stale else self._now
            self._now, self._since_s = Counter(), now_s


class Counts:
    """Connection counts of one probe kind in a worker."""

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
        """Count one more open connection."""
        self.recent.add((host, port))
        self.created += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)

    def taken(self) -> None:
        """Count one more connection in use."""
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
    """Common base of both kinds of connection; ``trace`` and ``policy`` are set before each exchange."""

    trace: Trace
    counts: Counts
    dns: DnsCache
    policy: AddressPolicy = CONFIGURED
    peer: Scope = Scope.PUBLIC
    """The scope of the open connection's peer: a kept one is judged by it as a new one is by its address."""
    expiry: Expiry | None = None
    """Expiry of the open connection's certificates."""
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


_MOST_ORIGINS = 1000
"""Origins whose idle connections are kept; the least recently used one is removed first."""
_SHORTEST_SWEEP_S = 0.5
_LOOK = socket.MSG_PEEK | socket.MSG_DONTWAIT


class _Leasing:
    """urllib3's pooling and reuse over a queue made for greenlets."""

    owner: Pools
    open_idle = 0
    """Connections in the queue that are open: few pools have one when room is looked for."""

    def lease(self) -> Any:
        """An idle connection that the server has not closed, or one that is still to be opened."""
        pool: Any = self
        owner = self.owner
        owner.counts.taken()
        try:
            connection = pool.pool.get(block=False)
        except (queue.Empty, AttributeError):  # all are in use, or the pool has gone with its origin
            connection = None
        if connection is None:
            connection = pool._new_conn()
            connection.counts, connection.dns = owner.counts, owner.dns
            return connection
        if connection.sock is not None:
            self.open_idle -= 1
            if _has_ended(connection.sock):
                owner.counts.closed_by_peer += 1
                connection.close()
            elif connection.idle_since + owner.keepalive_s < monotonic():
                owner.counts.evicted += 1
                connection.close()
        return connection

    def give_back(self, connection: Any) -> None:
        """Keep the connection for the next exchange, or close it if there are too many."""
        pool: Any = self
        connection.idle_since = monotonic()
        self.owner.counts.in_use -= 1
        if connection.sock is not None and not self.owner.may_keep_one:
            self.owner.counts.evicted += 1
            connection.close()
        try:
            pool._put_conn(connection)
        except (ClosedPoolError, FullPoolError):  # which has closed it
            return
        self.open_idle += connection.sock is not None

    def close_idle(self, idle_since: float) -> int:
        """Close connections idle since that moment or before; returns their number."""
        if not self.open_idle:
            return 0
        pool: Any = self
        kept, closed = [], 0
        with suppress(queue.Empty, AttributeError):
            while True:
                connection = pool.pool.get(block=False)
                if connection is not None and connection.sock is not None and connection.idle_since <= idle_since:
                    connection.close()
                    closed += 1
                kept.append(connection)
        for connection in reversed(kept):
            with suppress(queue.Full, AttributeError):
                pool.pool.put(connection, block=False)
        self.open_idle -= closed
        return closed


class _HttpPool(_Leasing, HTTPConnectionPool):
    """Plain connections."""

    ConnectionCls = TracedHTTPConnection
    QueueCls = gevent.queue.LifoQueue  # type: ignore[assignment] # same methods as queue.LifoQueue


class _HttpsPool(_Leasing, HTTPSConnectionPool):
    """Connections with TLS."""

    ConnectionCls = TracedHTTPSConnection
    QueueCls = gevent.queue.LifoQueue  # type: ignore[assignment] # same methods as queue.LifoQueue


class Ceiling:
    """The limit on open connections for the pools of all probe kinds together in this worker."""

    def __init__(self, most: float = inf) -> None:
        self.most, self.places = most, Places(most)
        self.pools: list[Pools] = []

    @property
    def reached(self) -> bool:
        """True if the number of open connections, including those being opened, is at the limit."""
        return self.most != inf and sum(one.counts.open + one.counts.connecting for one in self.pools) >= self.most

    @property
    def passed(self) -> bool:
        """True if more are open than allowed."""
        return self.most != inf and sum(one.counts.open for one in self.pools) > self.most


class Pools:
    """The pools of one probe kind; ``limits.max_connections`` is this worker's share."""

    def __init__(self, per_origin: int, limits: PoolLimits, dns: DnsCache, ceiling: Ceiling | None = None) -> None:
        self.counts, self.waits, self.program_waits, self.dns = Counts(), Waits(), Waits(), dns
        self.ceiling = ceiling or Ceiling()
        self.ceiling.pools.append(self)
        self.keepalive_s, self.most_open = limits.keepalive, limits.max_connections
        self.slots = Places(limits.max_connections if limits.when_full == "wait" else inf)
        self.contexts = TlsContexts()
        self._per_origin = per_origin
        self._pools: OrderedDict[tuple[Any, ...], _HttpPool | _HttpsPool] = OrderedDict()
        gevent.spawn(self._sweep)

    def pool(self, url: Url, tls: Tls) -> _HttpPool | _HttpsPool:
        """The pool of the URL's origin under these TLS settings; raises ProbeFailure for unusable TLS files."""
        secure = url.scheme == "https"
        key = (url.scheme, url.host, url.port, tls) if secure else (url.scheme, url.host, url.port)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self._secure(url, tls) if secure else self._plain(url)
            pool.owner = self
            if len(self._pools) > _MOST_ORIGINS:
                oldest = self._pools.popitem(last=False)[1]
                self.counts.evicted += oldest.close_idle(monotonic())
                oldest.close()
        else:
            self._pools.move_to_end(key)
        return pool

    @property
    def may_keep_one(self) -> bool:
        """True if a returned connection may stay open."""
        return self.keepalive_s > 0 and self.counts.open <= self.most_open and not self.ceiling.passed

    def make_room(self) -> None:
        """Close idle connections of the least recently called origin if the limit of open connections is reached."""
        if self.counts.open + self.counts.connecting >= self.most_open:
            self._give_up_idle()
        if self.ceiling.reached:
            any(pools._give_up_idle() for pools in self.ceiling.pools)

    def _give_up_idle(self) -> bool:
        for pool in self._pools.values():
            if closed := pool.close_idle(monotonic()):
                self.counts.evicted += closed
                return True
        return False

    def connect(self, host: str, port: int, timeout_s: float, trace: Trace) -> Connected:
        """A TCP connection that is in no pool; raises ProbeFailure."""
        return Connected(host, port, timeout_s, trace, self.counts, self.dns)

    def measures(self, kind: str) -> PoolMeasures:
        """Counts so far."""
        counts, waits = self.counts, self.waits
        return PoolMeasures(
            kind=kind,
            created=counts.created,
            reused=counts.reused,
            closed_by_peer=counts.closed_by_peer,
            evicted=counts.evicted,
            waits=waits.count,
            wait_us=waits.total_us,
            longest_wait_us=waits.longest_us,
            most_in_use=counts.most_in_use,
            most_open=counts.most_open,
            idle=max(0, counts.open - counts.in_use),
            in_use=counts.in_use,
            tls_handshakes=counts.tls_handshakes,
            tls_resumed=counts.tls_resumed,
            paced=waits.paced,
            paced_us=waits.paced_us,
            program_waits=self.program_waits.count,
            program_wait_us=self.program_waits.total_us,
        )

    def _sweep(self) -> None:
        """Close connections that are idle for too long, also in pools that are not used any more."""
        while True:
            gevent.sleep(max(_SHORTEST_SWEEP_S, self.keepalive_s / 2))
            for pool in list(self._pools.values()):
                self.counts.evicted += pool.close_idle(monotonic() - self.keepalive_s)

    def _plain(self, url: Url) -> _HttpPool:
        return _HttpPool(url.host or "", url.port or 80, maxsize=self._per_origin)

    def _secure(self, url: Url, tls: Tls) -> _HttpsPool:
        names: dict[str, Any] = {}
        if tls.server_name:
            names = {"server_hostname": tls.server_name}  # OpenSSL verifies it; urllib3 would by assert_hostname
        if not tls.verify:
            names["assert_hostname"] = False
        context = self.contexts.get(tls)
        port = url.port or 443
        return _HttpsPool(url.host or "", port, maxsize=self._per_origin, ssl_context=context, **names)


def _has_ended(sock: Any) -> bool:
    """True if an idle connection has something to read: its end, or data that no request asked for."""
    try:
        sock._sock.recv(1, _LOOK)  # past gevent, which would wait, and past TLS: a record is something too
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
