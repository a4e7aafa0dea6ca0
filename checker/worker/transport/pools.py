"""Connection pools, one set for each probe kind, and the urllib3 connections in them."""

from __future__ import annotations

import _socket
import queue
import socket
import ssl
from collections import OrderedDict
from math import inf
from time import monotonic, perf_counter
from typing import Any

import gevent
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Url
from urllib3.util.ssl_match_hostname import CertificateError

from checker.addresses import CONFIGURED, AddressPolicy, Scope
from checker.limits import PoolLimits
from checker.metrics import PoolMeasures
from checker.probes.options import Tls
from checker.worker.origin_limits import Places, Waits
from checker.worker.transport.dns import DnsCache
from checker.worker.transport.known_heads import KnownHeads
from checker.worker.transport.sockets import SocketWatcher, open_socket, with_greenlets
from checker.worker.transport.tls import Expiry, TlsContexts, certificate_expiry, handshake_failure, keep_session
from checker.worker.transport.trace import Trace

_PORT_KEPT_S = 60.0
"""Time that Linux keeps a port after its connection was closed here (TIME_WAIT)."""


class Recent:
    """Connections opened to each origin in the last minute or so: the kernel keeps the port of each for that time."""

    def __init__(self) -> None:
        self._now: dict[int, int] = {}
        self._before: dict[int, int] = {}
        self._since_s = monotonic()

    def add(self, host: str, port: int) -> None:
        """Count one more to this origin, of which only the hash is kept: a fleet may have one for each server."""
        if monotonic() - self._since_s >= _PORT_KEPT_S:
            self._roll()
        origin = hash((host, port))
        self._now[origin] = self._now.get(origin, 0) + 1

    def most(self) -> int:
        """Number of those to the origin with the most."""
        self._roll()
        return max((number + self._before.get(origin, 0) for origin, number in self._now.items()), default=0)

    def _roll(self) -> None:
        now_s = monotonic()
        if now_s - self._since_s >= _PORT_KEPT_S:
            stale = now_s - self._since_s >= 2 * _PORT_KEPT_S
            self._before = {} if stale else self._now
            self._now, self._since_s = {}, now_s


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
        self.recent.add(host, port)
        self.created += 1
        self.open += 1
        if self.open > self.most_open:
            self.most_open = self.open


class Connected:
    """A TCP connection of a probe that speaks another protocol than HTTP: counted like the others, and never kept."""

    def __init__(self, host: str, port: int, timeout_s: float, trace: Trace, counts: Counts, dns: DnsCache) -> None:
        counts.connecting += 1
        try:
            sock, peer = open_socket(host, port, timeout_s, trace, CONFIGURED, dns)
        finally:
            counts.connecting -= 1
        self.sock = with_greenlets(sock)
        counts.opened(host, port)
        self._counts, self._is_counted = counts, True
        trace.connection(peer=peer, reused=False)

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
    is_tls = False
    begun: Any = None
    """The `checker.worker.transport.http1.IncomingResponse` whose head has come in part."""
    watch: SocketWatcher | None = None
    _counted = False

    def _open(self, connection: HTTPConnection) -> _socket.socket:
        host = connection._dns_host  # the host as it is to be looked up; urllib3 keeps it under this name only
        timeout_s = float(connection.timeout or 0)
        self.counts.connecting += 1
        try:
            sock, self.peer = open_socket(host, connection.port, timeout_s, self.trace, self.policy, self.dns)
        finally:
            self.counts.connecting -= 1
        self._counted = True
        self.counts.opened(host, connection.port)
        return sock

    def _note_closed(self) -> None:
        if self._counted:
            self._counted = False
            self.counts.open -= 1


class TracedHTTPConnection(_Traced, HTTPConnection):
    """A plain connection for `http.client`: its socket is the system's until something needs gevent's."""

    def _new_conn(self) -> socket.socket:
        return self._open(self)  # type: ignore[return-value] # gevent's takes its place at once

    def close(self) -> None:
        """Close the socket, if there is one."""
        self._note_closed()
        super().close()


class BareConnection:
    """A plain connection that is read without `http.client`: only what an exchange needs of one.

    A fleet may need one for each check, or one for each server: urllib3's takes as long to make as to connect it.
    """

    __slots__ = (
        "_counts",
        "_dns",
        "_is_counted",
        "begun",
        "host",
        "idle_since",
        "peer",
        "port",
        "raw",
        "sock",
        "watch",
    )
    is_tls = False
    expiry = None

    def __init__(self, host: str, port: int, counts: Counts, dns: DnsCache) -> None:
        self.host, self.port, self._counts, self._dns = host, port, counts, dns
        self.raw: Any = None
        """The system's socket; None before `connect`."""
        self.sock: Any = None
        """The same until something needs gevent's."""
        self.peer, self.idle_since = Scope.PUBLIC, 0.0
        self.watch: SocketWatcher | None = None
        self.begun: Any = None
        self._is_counted = False

    @property
    def is_closed(self) -> bool:
        """True if there is no open socket."""
        return self.sock is None

    def connect(self, timeout_s: float, trace: Trace, policy: AddressPolicy) -> None:
        """Open the socket; raises ProbeFailure."""
        counts = self._counts
        counts.connecting += 1
        try:
            sock, self.peer = open_socket(self.host, self.port, timeout_s, trace, policy, self._dns)
        finally:
            counts.connecting -= 1
        self.raw = self.sock = sock
        self._is_counted = True
        counts.opened(self.host, self.port)

    def with_greenlets(self) -> Any:
        """The socket as one of gevent: for everything that waits in other ways than `sockets.exchanged`."""
        sock = self.sock
        if type(sock) is _socket.socket:
            self.sock = sock = with_greenlets(sock)
            self.raw = self.sock._sock
        return sock

    def close(self) -> None:
        """Close the socket, if there is one."""
        if self.watch is not None:
            self.watch.close()
            self.watch = None
        if self._is_counted:
            self._is_counted = False
            self._counts.open -= 1
        sock, self.sock, self.raw = self.sock, None, None
        if sock is not None:
            sock.close()


class TracedHTTPSConnection(_Traced, HTTPSConnection):
    """A TLS connection."""

    is_tls = True

    def _new_conn(self) -> socket.socket:
        self._handshake_from = 0.0
        sock = with_greenlets(self._open(self))
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


class _Idle:
    """The idle connections of a urllib3 pool, the latest first; nobody ever waits for one."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.connections: list[Any] = []

    def put(self, connection: Any, block: bool = True, timeout: float | None = None) -> None:
        """Keep a connection; raises queue.Full. The placeholders that urllib3 fills a new pool with are left out."""
        if connection is None:
            return
        if len(self.connections) >= self.maxsize:
            raise queue.Full
        self.connections.append(connection)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The connection that was kept last; raises queue.Empty."""
        if not self.connections:
            raise queue.Empty
        return self.connections.pop()

    def qsize(self) -> int:
        """Their number."""
        return len(self.connections)


class _HttpPool(HTTPConnectionPool):
    """Plain connections, each a `BareConnection`; it makes none by itself."""

    QueueCls = _Idle  # type: ignore[assignment] # what of queue.LifoQueue is used


class _HttpsPool(HTTPSConnectionPool):
    """Connections with TLS."""

    ConnectionCls = TracedHTTPSConnection
    QueueCls = _Idle  # type: ignore[assignment] # what of queue.LifoQueue is used


class OriginConnections:
    """The connections to one origin: the first that is idle, and a urllib3 pool for all others.

    Most servers of a fleet never have two connections, and making a pool takes longer than an exchange.
    """

    __slots__ = ("_idle", "_is_closed", "_most", "_owner", "_pool", "_spare", "_tls", "_url", "open_idle")

    def __init__(self, owner: Pools, url: Url, tls: Tls, most: int) -> None:
        self._owner, self._url, self._tls, self._most = owner, url, tls, most
        self._spare: Any = None
        self._idle: list[Any] | tuple[()] = ()
        """The list of the pool."""
        self._pool: _HttpPool | _HttpsPool | None = None
        if url.scheme == "https":
            self._open_pool()
        self._is_closed = False
        self.open_idle = 0
        """Idle connections that are open: few origins have one when room is looked for."""

    def lease(self) -> Any:
        """An idle connection that the server has not closed, or one that is still to be opened."""
        owner = self._owner
        counts = owner.counts
        counts.in_use += 1
        if counts.in_use > counts.most_in_use:
            counts.most_in_use = counts.in_use
        if self._idle:
            connection = self._idle.pop()
        else:
            connection, self._spare = self._spare, None
            if connection is None:
                return self._new_connection()
        if connection.sock is not None:
            self.open_idle -= 1
            owner.look_at(connection)
        return connection

    def give_back(self, connection: Any) -> None:
        """Keep the connection for the next exchange, or close it if there are too many."""
        owner = self._owner
        owner.counts.in_use -= 1
        if connection.sock is not None:
            is_tight = owner.counts.open > owner.most_open or owner.ceiling.most != inf or owner.keepalive_s <= 0
            if is_tight and not owner.may_keep_one:
                owner.counts.evicted += 1
                connection.close()
            else:
                connection.idle_since = monotonic()
        if self._is_closed:
            connection.close()
        elif self._spare is None and self._url.scheme == "http":
            self._spare = connection
        elif self._most == 1 and self._url.scheme == "http":
            connection.close()
        else:
            pool: Any = self._pool or self._open_pool()
            pool._put_conn(connection)
        if connection.sock is not None:
            self.open_idle += 1

    def close_idle(self, idle_since: float) -> int:
        """Close connections idle since that moment or before; returns their number."""
        if not self.open_idle:
            return 0
        closed = 0
        for connection in (self._spare, *self._idle):
            if connection is not None and connection.sock is not None and connection.idle_since <= idle_since:
                connection.close()
                closed += 1
        self.open_idle -= closed
        return closed

    def close(self) -> int:
        """Close idle connections now, and those in use when they are given back; returns the number of the former."""
        closed = self.close_idle(monotonic())
        self._is_closed, self._idle = True, ()
        if self._pool is not None:
            self._pool.close()
        return closed

    def _new_connection(self) -> Any:
        """One that is still to be opened."""
        url, owner = self._url, self._owner
        if url.scheme == "https":
            pool: Any = self._pool
            connection = pool._new_conn()
            connection.counts, connection.dns = owner.counts, owner.dns
            return connection
        host = (url.host or "").removeprefix("[").removesuffix("]")
        return BareConnection(host, 80 if url.port is None else url.port, owner.counts, owner.dns)

    def _open_pool(self) -> _HttpPool | _HttpsPool:
        url, owner = self._url, self._owner
        pool: Any
        if url.scheme == "https":
            pool = owner.secure(url, self._tls, self._most)
        else:
            pool = _HttpPool(url.host or "", url.port or 80, maxsize=self._most - 1)
        self._pool, self._idle = pool, pool.pool.connections
        return pool  # type: ignore[no-any-return] # one of the two


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
        self.contexts, self.heads = TlsContexts(), KnownHeads()
        self._per_origin = per_origin
        self._origins: OrderedDict[tuple[Any, ...], OriginConnections] = OrderedDict()
        gevent.spawn(self._sweep)

    def origin(self, url: Url, tls: Tls) -> OriginConnections:
        """The connections to the URL's origin under these TLS settings; raises ProbeFailure for unusable TLS files."""
        key = (url.scheme, url.host, url.port, tls) if url.scheme == "https" else (url.scheme, url.host, url.port)
        found = self._origins.get(key)
        if found is None:
            found = self._origins[key] = OriginConnections(self, url, tls, self._per_origin)
            if len(self._origins) > _MOST_ORIGINS:
                self.counts.evicted += self._origins.popitem(last=False)[1].close()
        else:
            self._origins.move_to_end(key)
        return found

    def look_at(self, connection: Any) -> None:
        """Close an open connection that nobody used for a while if it has ended, or for too long."""
        watch = connection.watch  # a connection without one has had no usual exchange
        if _has_ended(connection.sock) if watch is None else watch.has_input():
            self.counts.closed_by_peer += 1
            connection.close()
        elif connection.idle_since + self.keepalive_s < monotonic():
            self.counts.evicted += 1
            connection.close()

    @property
    def may_keep_one(self) -> bool:
        """True if a returned connection may stay open."""
        return self.keepalive_s > 0 and self.counts.open <= self.most_open and not self.ceiling.passed

    def make_room(self) -> None:
        """Close idle connections of the least recently called origin if the limit of open connections is reached."""
        if self.counts.open + self.counts.connecting >= self.most_open:
            self._give_up_idle()
        if self.ceiling.most != inf and self.ceiling.reached:
            any(pools._give_up_idle() for pools in self.ceiling.pools)

    def _give_up_idle(self) -> bool:
        for origin in self._origins.values():
            if closed := origin.close_idle(monotonic()):
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
            for origin in list(self._origins.values()):
                self.counts.evicted += origin.close_idle(monotonic() - self.keepalive_s)

    def secure(self, url: Url, tls: Tls, most: int) -> _HttpsPool:
        """A pool with TLS; raises ProbeFailure for unusable TLS files."""
        names: dict[str, Any] = {}
        if tls.server_name:
            names = {"server_hostname": tls.server_name}  # OpenSSL verifies it; urllib3 would by assert_hostname
        if not tls.verify:
            names["assert_hostname"] = False
        context = self.contexts.get(tls)
        port = 443 if url.port is None else url.port
        return _HttpsPool(url.host or "", port, maxsize=most, ssl_context=context, **names)


def _has_ended(sock: Any) -> bool:
    """True if an idle connection has something to read: its end, or data that no request asked for."""
    try:
        getattr(sock, "_sock", sock).recv(1, _LOOK)  # past gevent, which would wait, and past TLS: a record counts too
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
