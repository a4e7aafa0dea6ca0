"""Exchanges through unmodified urllib3: for cases the fast path does not cover, above all proxies."""

from __future__ import annotations

import _socket
import http.client
import io
from collections.abc import Mapping
from time import perf_counter
from typing import Any
from urllib.parse import unquote

import gevent.local
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError, LocationParseError, ProxyError
from urllib3.util import make_headers, parse_url

from checker.addresses import CONFIGURED, AddressPolicy, in_numbers, is_metadata_name, named_by, scope
from checker.model import Reason
from checker.probes.base import ProbeFailure, Request
from checker.probes.http import origin
from checker.probes.options import Endpoint, Tls
from checker.secrets.excerpts import excerpt
from checker.worker.greenlets import breathe
from checker.worker.transport.dns import DnsCache
from checker.worker.transport.failures import exchange_failure, never_answered
from checker.worker.transport.pools import Pools, TracedHTTPConnection, TracedHTTPSConnection
from checker.worker.transport.reply import HttpReply
from checker.worker.transport.sockets import with_greenlets
from checker.worker.transport.tls import tls_for
from checker.worker.transport.trace import Trace

_MOST_ORIGINS = 1000
_MOST_HEAD_BYTES = 256 * 1024
"""Bytes of one head, all interim replies before it included; http.client limits its lines and headers only."""
_READ_BYTES = 65536
_BUFFERED_BYTES = 4096
"""Bytes that http.client processes without yielding: as many as eight hundred chunks."""
_now: Any = gevent.local.local()
"""The exchange that this greenlet makes: urllib3 hands connections out and opens them by itself."""


class _Watched(io.RawIOBase):
    """The input of http.client: counts bytes, and lets others run if the server never makes it wait."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._head_bytes = 0
        self.trace: Trace | None = None
        """The exchange it reads for; None until it is known."""
        self.has_head = False

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read available bytes; raises ProbeFailure past the probe's limit, HTTPException for an endless head."""
        breathe()
        count: int | None = self._raw.readinto(buffer)
        if self.trace is not None:
            self.trace.budget.take(count or 0)
        if not self.has_head:
            self._head_bytes += count or 0
            if self._head_bytes > _MOST_HEAD_BYTES:
                raise http.client.HTTPException("the head of the response does not end")
        return count

    def close(self) -> None:
        """Close the underlying reader."""
        self._raw.close()
        super().close()


class _WatchedResponse(http.client.HTTPResponse):
    """A response of http.client that is read through `_Watched`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        source: Any = self.fp
        self.watched = _Watched(source.detach())
        self.watched.trace = getattr(_now, "trace", None)
        self.fp = io.BufferedReader(self.watched, _BUFFERED_BYTES)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self.watched.has_head = True


class _Timed:
    """Common base of both kinds of connection: the clock of the current exchange."""

    _used = False
    response_class: Any = _WatchedResponse

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Send the request; the socket is opened on the way if needed."""
        connection: Any = self
        if connection.sock is not None and connection.peer > connection.policy.inmost:
            refusal = connection.policy.refusal(connection.sock.getpeername()[0])
            raise ProbeFailure(Reason.REDIRECT_BLOCKED, refusal, "connect")
        connection.trace.step, _now.reused = "send", self._used
        connection.counts.reused += self._used
        super().request(*args, **kwargs)  # type: ignore[misc] # urllib3's
        connection.trace.step, self._sent = "wait", perf_counter()

    def getresponse(self) -> Any:
        """The response with its head."""
        connection: Any = self
        connection.trace.connection(peer=connection.peer, reused=self._used)
        if connection.expiry is not None:
            connection.trace.note_certificate(connection.expiry, connection.host)
        self._used = True
        response = super().getresponse()  # type: ignore[misc] # urllib3's
        connection.trace.answered_at = perf_counter()
        connection.trace.spent("wait", connection.trace.answered_at - self._sent)
        connection.trace.step = "transfer"
        return response

    def close(self) -> None:
        """Close the socket; the next exchange opens another."""
        self._used = False
        super().close()  # type: ignore[misc] # urllib3's

    def _new_conn(self) -> Any:
        connection: Any = self
        try:
            sock = super()._new_conn()  # type: ignore[misc] # ours
            return with_greenlets(sock) if type(sock) is _socket.socket else sock
        except ProbeFailure as failure:
            if connection.proxy is not None:
                raise ProbeFailure(failure.reason, f"proxy: {failure.detail}", failure.stage) from None
            raise

    def _tunnel(self) -> Any:
        connection: Any = self
        try:
            return super()._tunnel()  # type: ignore[misc] # urllib3's
        except (OSError, http.client.HTTPException) as error:
            said = f"proxy {connection.host} port {connection.port}: {excerpt(str(error))}"
            raise ProbeFailure(Reason.CONNECT_FAILED, said, "connect") from None


class _PlainConnection(_Timed, TracedHTTPConnection):
    """A connection used by http.client."""


class _TlsConnection(_Timed, TracedHTTPSConnection):
    """The same with TLS."""


class _Handing:
    """Hands out connections with the data they need about the exchange."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)  # type: ignore[misc] # urllib3's
        connection.trace, connection.policy = _now.trace, _now.policy
        connection.counts, connection.dns = _now.pools.counts, _now.pools.dns
        return connection


class _PlainPool(_Handing, HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(_Handing, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class PlainHttp:
    """urllib3's pool managers of one probe kind: one for each proxy and TLS setting."""

    def __init__(self, pools: Pools, per_origin: int) -> None:
        self._pools, self._per_origin = pools, per_origin
        self._managers: dict[tuple[str | None, Tls], PoolManager] = {}

    def exchange(
        self, request: Request, headers: Mapping[str, str], options: Endpoint, trace: Trace, policy: AddressPolicy
    ) -> HttpReply:
        """Send the request and read the reply's head; raises ProbeFailure."""
        if options.proxy is not None:
            self._judge_behind_proxy(request, options)
            policy = CONFIGURED  # the connection itself leads to the proxy
        manager = self._manager(options.proxy, tls_for(request.url, options))
        _now.trace, _now.pools = trace, self._pools
        _now.policy = policy
        timeout = Timeout(connect=options.connect_timeout, read=None)  # the attempt's deadline is the limit
        sent = {"Accept-Encoding": "identity", **headers} if "Accept-Encoding" not in headers else dict(headers)
        for last_try in (False, True):
            _now.reused = False
            try:
                response = manager.urlopen(
                    request.method,
                    request.url,
                    body=request.body,
                    headers=sent,
                    timeout=timeout,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                    assert_same_host=False,
                )
            except (LocationParseError, UnicodeError) as error:
                raise ProbeFailure(Reason.DNS, f"not a valid address: {error}", "dns") from None
            except ValueError as error:  # a header that http.client does not send
                raise ProbeFailure(Reason.HTTP_MALFORMED, excerpt(str(error)), "send") from None
            except (HTTPError, http.client.HTTPException, OSError) as error:
                if not last_try and _now.reused and never_answered(_cause(error)):
                    self._pools.counts.reused -= 1
                    trace.resent += trace.step != "send"  # else it had been closed before
                    continue
                raise _failure(error, trace) from None
            body = _Body(response)
            return HttpReply(body, body, _let_go, trace, options.max_body)
        raise AssertionError("the second try returns or raises")

    def _judge_behind_proxy(self, request: Request, options: Endpoint) -> None:
        """Refuse hosts that must not be named to the proxy: it looks names up and connects out of our sight."""
        dns = self._pools.dns
        host = origin(request.url)[1]
        dns.refuse_unlisted(host)
        own = origin(options.url)[1]
        if not request.redirected or host == own:
            return
        policy = named_by(min((scope(ip) for ip in _known(own, dns)), default=None), request.private_allowed)
        for ip in _known(host, dns):
            if not policy.allows(ip):
                raise ProbeFailure(Reason.REDIRECT_BLOCKED, policy.refusal(ip), "connect")
        if is_metadata_name(host):
            raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"a server named {host}, a metadata service", "connect")

    def _manager(self, proxy: str | None, tls: Tls) -> PoolManager:
        key = (proxy, tls)
        manager = self._managers.get(key)
        if manager is None:
            names: dict[str, Any] = {}
            if tls.server_name:
                names = {"server_hostname": tls.server_name}
            if not tls.verify:
                names["assert_hostname"] = False
            names |= {"maxsize": self._per_origin, "ssl_context": self._pools.contexts.get(tls)}
            manager = PoolManager(_MOST_ORIGINS, **names) if proxy is None else self._through(proxy, names)
            manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
            self._managers[key] = manager
        return manager

    def _through(self, proxy: str, names: dict[str, Any]) -> ProxyManager:
        parts = parse_url(proxy)
        headers = make_headers(proxy_basic_auth=unquote(parts.auth)) if parts.auth else None
        bare = f"{parts.scheme}://{parts.netloc}"
        context = self._pools.contexts.get(Tls())
        return ProxyManager(bare, _MOST_ORIGINS, proxy_headers=headers, proxy_ssl_context=context, **names)


class _Body:
    """A urllib3 response in the form `HttpReply` reads, and its connection."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        self.complete = False
        self.reusable = True
        """urllib3 looks after that itself."""

    def next_piece(self) -> bytes:
        """The next piece of the body as it arrived; empty at its end; raises the errors of http.client and urllib3."""
        breathe()
        piece: bytes | None = self._response.read1(_READ_BYTES, decode_content=False)
        if not piece:
            self.complete = True
        return piece or b""

    def rest(self) -> bytes:
        """Nothing: everything that arrived was read."""
        return b""

    def close(self) -> None:
        """Close the connection, if the body was not read to its end."""
        if not self.complete:
            self._response.close()

    def release(self) -> None:
        """Give the connection back to its pool."""
        self._response.release_conn()


def _known(host: str, dns: DnsCache) -> list[str]:
    """The addresses of a host known here; none if only the proxy can look it up."""
    if (numbers := in_numbers(host)) is not None:
        return [numbers]
    try:
        return [address[0] for _, address in dns.addresses(host)]
    except ProbeFailure:
        return []


def _let_go(body: Any) -> None:
    body.release()


def _cause(error: Exception) -> Exception:
    inner = error.args[1] if isinstance(error, HTTPError) and len(error.args) > 1 else error
    return inner if isinstance(inner, Exception) else error


def _failure(error: Exception, trace: Trace) -> ProbeFailure:
    if isinstance(error, ProxyError):
        return ProbeFailure(Reason.CONNECT_FAILED, f"proxy: {excerpt(str(error))}", "connect")
    return exchange_failure(error, trace.step)
