"""Connection pools, one set for each probe kind, so that neither kind can starve the other."""

from __future__ import annotations

import queue
import socket
from collections import OrderedDict
from contextlib import suppress
from typing import Any

import gevent.queue
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ClosedPoolError, FullPoolError
from urllib3.util import Url

from checker.measures import PoolMeasures
from checker.probes.options import Tls
from checker.worker.transport.connection import TracedHTTPConnection, TracedHTTPSConnection
from checker.worker.transport.tls import TlsContexts

_MOST_ORIGINS = 1000
"""Origins whose idle connections are kept; the least recently used one goes first."""
_LOOK = socket.MSG_PEEK | socket.MSG_DONTWAIT


class _Leasing:
    """Pooling and reuse as urllib3 has it, over a queue made for greenlets."""

    def lease(self) -> Any:
        """An idle connection that the server has not closed, or one that is still to be opened."""
        pool: Any = self
        try:
            connection = pool.pool.get(block=False)
        except (queue.Empty, AttributeError):  # all are in use, or the pool has gone with its origin
            connection = None
        if connection is None:
            return pool._new_conn()
        if connection.sock is not None and _has_ended(connection.sock):
            connection.close()
        return connection

    def give_back(self, connection: Any) -> None:
        """Keep the connection for the next exchange, or close it if the pool is full."""
        pool: Any = self
        with suppress(ClosedPoolError, FullPoolError):
            pool._put_conn(connection)


class _HttpPool(_Leasing, HTTPConnectionPool):
    """Plain connections."""

    ConnectionCls = TracedHTTPConnection
    QueueCls = gevent.queue.LifoQueue  # type: ignore[assignment] # same methods as queue.LifoQueue


class _HttpsPool(_Leasing, HTTPSConnectionPool):
    """Connections with TLS."""

    ConnectionCls = TracedHTTPSConnection
    QueueCls = gevent.queue.LifoQueue  # type: ignore[assignment] # same methods as queue.LifoQueue


class Pools:
    """The pools of one probe kind."""

    def __init__(self, per_origin: int) -> None:
        self._contexts = TlsContexts()
        self._per_origin = per_origin
        self._pools: OrderedDict[tuple[Any, ...], _HttpPool | _HttpsPool] = OrderedDict()

    def pool(self, url: Url, tls: Tls) -> _HttpPool | _HttpsPool:
        """The pool of the URL's origin under these TLS settings; raises ProbeFailure for unusable TLS files."""
        secure = url.scheme == "https"
        key = (url.scheme, url.host, url.port, tls) if secure else (url.scheme, url.host, url.port)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self._secure(url, tls) if secure else self._plain(url)
            if len(self._pools) > _MOST_ORIGINS:
                self._pools.popitem(last=False)[1].close()
        else:
            self._pools.move_to_end(key)
        return pool

    def measures(self, kind: str) -> PoolMeasures:
        """What was counted until now."""
        return PoolMeasures(kind=kind)

    def _plain(self, url: Url) -> _HttpPool:
        return _HttpPool(url.host or "", url.port or 80, maxsize=self._per_origin)

    def _secure(self, url: Url, tls: Tls) -> _HttpsPool:
        names: dict[str, Any] = {}
        if tls.server_name:
            names = {"server_hostname": tls.server_name, "assert_hostname": tls.server_name}
        if not tls.verify:
            names["assert_hostname"] = False
        context = self._contexts.get(tls)
        port = url.port or 443
        return _HttpsPool(url.host or "", port, maxsize=self._per_origin, ssl_context=context, **names)


def _has_ended(sock: Any) -> bool:
    """Whether an idle connection has something to read: its end, or what no request asked for."""
    try:
        sock._sock.recv(1, _LOOK)  # past gevent, which would wait, and past TLS: a record is something too
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
