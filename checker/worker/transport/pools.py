"""Connection pools, one set for each probe kind, so that neither kind can starve the other."""

from __future__ import annotations

import gevent.queue
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.util import Url

from checker.probes.options import Tls
from checker.worker.transport.connection import TracedHTTPConnection, TracedHTTPSConnection
from checker.worker.transport.tls import TlsContexts

_MOST_ORIGINS = 1000
"""Origins whose idle connections are kept; the least recently used one goes first."""


class _HttpPool(HTTPConnectionPool):
    """Pooling and reuse as urllib3 has it, over a queue made for greenlets."""

    ConnectionCls = TracedHTTPConnection
    QueueCls = gevent.queue.LifoQueue  # type: ignore[assignment] # same methods as queue.LifoQueue

    def lease(self) -> TracedHTTPConnection:
        """An idle connection, or one that is still to be opened."""
        return self._get_conn()  # type: ignore[return-value] # made by ConnectionCls

    def give_back(self, connection: TracedHTTPConnection | TracedHTTPSConnection) -> None:
        """Keep the connection for the next exchange, or close it if the pool is full."""
        self._put_conn(connection)


class _HttpsPool(HTTPSConnectionPool):
    """The same with TLS."""

    ConnectionCls = TracedHTTPSConnection
    QueueCls = gevent.queue.LifoQueue  # type: ignore[assignment] # same methods as queue.LifoQueue

    def lease(self) -> TracedHTTPSConnection:
        """An idle connection, or one that is still to be opened."""
        return self._get_conn()  # type: ignore[return-value] # made by ConnectionCls

    def give_back(self, connection: TracedHTTPConnection | TracedHTTPSConnection) -> None:
        """Keep the connection for the next exchange, or close it if the pool is full."""
        self._put_conn(connection)


class Pools:
    """The pools of one probe kind."""

    def __init__(self, per_origin: int) -> None:
        self._contexts = TlsContexts()
        self._pools = PoolManager(num_pools=_MOST_ORIGINS, maxsize=per_origin, block=False)
        self._pools.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def pool(self, url: Url, tls: Tls) -> _HttpPool | _HttpsPool:
        """The pool of the URL's origin under these TLS settings; raises ProbeFailure for unusable TLS files."""
        settings: dict[str, object] = {}
        if url.scheme == "https":
            settings = {"ssl_context": self._contexts.get(tls)}
            if tls.server_name:
                settings |= {"server_hostname": tls.server_name, "assert_hostname": tls.server_name}
            if not tls.verify:
                settings["assert_hostname"] = False
        return self._pools.connection_from_host(  # type: ignore[return-value] # made by pool_classes_by_scheme
            url.host, port=url.port, scheme=url.scheme, pool_kwargs=settings
        )
