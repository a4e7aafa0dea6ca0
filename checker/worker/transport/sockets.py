"""Opening a TCP connection: name lookup and connect, each timed, each with its own reason when it fails."""

from __future__ import annotations

import _socket
import errno
import os
import socket
from collections.abc import Sequence
from functools import lru_cache
from http.client import RemoteDisconnected
from ipaddress import ip_address
from select import POLLIN
from time import monotonic, perf_counter
from typing import Any

import gevent
import gevent.queue
import gevent.socket
from gevent.monkey import get_original

from checker.addresses import CONFIGURED, AddressPolicy, Scope, scope
from checker.model import Reason
from checker.probes.base import OwnFault, ProbeFailure
from checker.worker.transport.dns import Address, DnsCache
from checker.worker.transport.trace import Trace

_NEXT_AFTER_S = 0.25
"""The connection attempt delay that RFC 8305 section 5 recommends."""
_TELLING = {Reason.REDIRECT_BLOCKED: 0, Reason.CONNECT_REFUSED: 1, Reason.CONNECT_TIMEOUT: 2, Reason.CONNECT_FAILED: 3}
"""Failures, the most revealing about the server first: a refusal is an answer, silence is not."""
_MOST_TOLD = 3
_NO_WAY = {errno.ENETUNREACH, errno.ENETDOWN}
"""Errors of the system if it has no route; a router far away may report the former too."""
_OUR_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


_NONBLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)
"""With this flag of Linux a socket needs no further call."""
_STREAM, _TCP, _NODELAY = int(socket.SOCK_STREAM) | _NONBLOCKING, socket.IPPROTO_TCP, socket.TCP_NODELAY
READ, WRITE = 1, 2
"""Events of libev."""
poll = get_original("select", "poll")
"""The system's: that of gevent lets other greenlets run."""
FIRST_READ_BYTES = 16384
"""At least this much of every reply is processed at once, and many may arrive at the same time."""


class SocketWatcher:
    """The watcher of one connection, started once for as long as it is open.

    gevent starts and stops one for each wait, by way of five Python calls; here a wait is two switches.
    """

    __slots__ = ("_fileno", "_hub", "_io", "_on", "_poll", "_reader")

    def __init__(self, sock: Any) -> None:
        self._fileno = sock.fileno()
        self._poll: Any = None
        self._hub: Any = gevent.get_hub()
        self._io: Any = self._hub.loop.io(self._fileno, READ)
        self._on = False
        self._reader: Any = None

    def wait(self) -> None:
        """Return when there is something to read, or the end; raises what is thrown into the greenlet meanwhile."""
        self._reader = gevent.getcurrent()
        if not self._on:
            self._on = True
            self._io.start(self._ready)
        try:
            self._hub.switch()
        finally:
            self._reader = None

    def has_input(self) -> bool:
        """True if there is something to read right now, or the end."""
        if self._poll is None:
            self._poll = poll()
            self._poll.register(self._fileno, POLLIN)
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Stop watching: to be called before the socket is closed."""
        self._io.close()

    def _ready(self) -> None:
        """Called in the hub."""
        if self._reader is not None:
            self._reader.switch()
        else:  # an idle connection has ended, or somebody reads in another way
            self._on = False
            self._io.stop()


def exchanged(connection: Any, request: bytes, trace: Trace) -> bytes:
    """Send a request over a plain connection, and return the first bytes that arrive.

    ``trace.step`` tells how far it came when an exception is raised: OSError, RemoteDisconnected if the connection ends
    without a byte, and whatever is thrown into the greenlet.
    """
    raw, trace.step = connection.raw, "send"
    try:
        sent = raw.send(request)
    except BlockingIOError:
        sent = 0
    if sent != len(request):
        connection.with_greenlets().sendall(request[sent:])
    trace.step, sent_at = "wait", perf_counter()
    if (watch := connection.watch) is None:
        watch = connection.watch = SocketWatcher(raw)
    while True:
        watch.wait()
        try:
            received: bytes = raw.recv(FIRST_READ_BYTES)
            break
        except BlockingIOError:  # the system woke it for nothing
            continue
    trace.answered_at = perf_counter()
    trace.spent("wait", trace.answered_at - sent_at)
    if not received:
        raise RemoteDisconnected("closed without an answer")
    trace.step = "transfer"
    return received


def with_greenlets(raw: _socket.socket) -> socket.socket:
    """A socket of gevent for the same descriptor, which the raw one gives up."""
    return gevent.socket.socket(raw.family, raw.type, raw.proto, fileno=raw.detach())


def open_socket(
    host: str, port: int, timeout_s: float, trace: Trace, policy: AddressPolicy, dns: DnsCache
) -> tuple[_socket.socket, Scope]:
    """A connected, non-blocking TCP socket of the system, and the scope of its peer; raises ProbeFailure.

    The addresses of the name are tried as in RFC 8305 ("happy eyeballs"): both families in turn, the next one as soon
    as the one before has failed or has been silent for 250 ms, all of them within ``timeout_s``. The first that answers
    is used, and tried first from then on. The address that is connected to is judged, not the name. If none answers,
    the failure that reveals most about the server is reported.
    """
    trace.step, start = "dns", perf_counter()
    try:
        addresses = resolve(host, dns)
    except BaseException:
        trace.connecting_took("dns", perf_counter() - start)
        raise
    trace.step, looked_up = "connect", perf_counter()
    try:
        if len(addresses) != 1:
            return _Race(host, port, timeout_s, policy, dns).first_of(addresses)
        family, (ip, _, *rest) = addresses[0]
        if policy is not CONFIGURED and not policy.allows(ip):
            raise ProbeFailure(Reason.REDIRECT_BLOCKED, policy.refusal(ip), "connect")
        address = (ip, port, *rest) if rest else (ip, port)
        try:
            return _connect(family, address, timeout_s), scope(ip)
        except OSError as error:
            raise _failure(error, address, timeout_s) from None
    finally:
        trace.connected(looked_up - start, perf_counter() - looked_up)


class _Race:
    """Connections to several addresses of a host; the first that is established is kept."""

    def __init__(self, host: str, port: int, timeout_s: float, policy: AddressPolicy, dns: DnsCache) -> None:
        self._host, self._port, self._timeout_s, self._policy, self._dns = host, port, timeout_s, policy, dns
        self._news: gevent.queue.SimpleQueue[tuple[Address, _socket.socket | ProbeFailure]] = gevent.queue.SimpleQueue()
        self._until = monotonic() + timeout_s
        self._running: list[gevent.Greenlet[..., None]] = []

    def first_of(self, addresses: Sequence[Address]) -> tuple[_socket.socket, Scope]:
        """The connection to the first address that answers, and its scope; raises ProbeFailure if none does."""
        failures: list[ProbeFailure] = []
        waiting = list(addresses)
        try:
            while waiting or len(failures) < len(addresses):
                if waiting:
                    self._running.append(gevent.spawn(self._try, waiting.pop(0)))
                try:
                    address, result = self._news.get(timeout=_NEXT_AFTER_S if waiting else None)
                except gevent.queue.Empty:  # silent: the next one runs beside it
                    continue
                if isinstance(result, ProbeFailure):
                    failures.append(result)
                    continue
                if address != addresses[0]:
                    self._dns.prefer(self._host, address)
                return result, scope(address[1][0])
        finally:  # also where a deadline or a cancelled run ends the wait
            gevent.killall(self._running, block=False)
            gevent.spawn(self._close_late_ones, tuple(self._running))
        raise _most_telling(failures) if failures else ProbeFailure(Reason.DNS, f"{self._host} has no address", "dns")

    def _try(self, address: Address) -> None:
        family, (ip, _, *rest) = address
        result: _socket.socket | ProbeFailure
        if not self._policy.allows(ip):
            result = ProbeFailure(Reason.REDIRECT_BLOCKED, self._policy.refusal(ip), "connect")
        else:
            try:
                result = _connect(family, (ip, self._port, *rest), max(0.001, self._until - monotonic()))
            except OSError as error:
                result = _failure(error, (ip, self._port), self._timeout_s)
        self._news.put((address, result))

    def _close_late_ones(self, running: Sequence[gevent.Greenlet[..., None]]) -> None:
        gevent.joinall(running)
        while not self._news.empty():
            _, result = self._news.get()
            if not isinstance(result, ProbeFailure):
                result.close()


def _most_telling(failures: Sequence[ProbeFailure]) -> ProbeFailure:
    """The failure that reveals most about the server, of those at several addresses, with the other failures."""
    first, *others = sorted(failures, key=lambda one: _TELLING.get(one.reason, 0) + 10 * (one.own is not None))
    told = "; ".join(dict.fromkeys(one.detail for one in others[:_MOST_TOLD] if one.detail != first.detail))
    told_first = f"{first.detail} ({told})" if told else first.detail
    failure = ProbeFailure(first.reason, told_first, first.stage)
    failure.own = None if any(one.own is None for one in failures) else first.own
    return failure


def send_all(sock: Any, data: bytes) -> None:
    """Send all of it: in one call if the system accepts it, which it does for nearly every request."""
    if type(sock) is gevent.socket.socket:  # one with TLS is another: what it has read already does not wake it
        plain: Any = sock
        try:
            sent = plain._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    sock.sendall(data)


def wait_readable(sock: Any) -> None:
    """Wait until a plain socket has something to read: reading first would cost a call and an exception."""
    if type(sock) is gevent.socket.socket:  # one with TLS is another: what it has read already does not wake it
        plain: Any = sock
        plain._wait(plain._read_event)


def resolve(host: str, dns: DnsCache) -> list[Address]:
    """The addresses of the host; raises ProbeFailure."""
    dns.refuse_unlisted(host)
    numeric = _numeric(host)
    return dns.addresses(host) if numeric is None else [numeric]


@lru_cache(maxsize=4096)
def _numeric(host: str) -> Address | None:
    """The socket address of a host that is an address; None for a name."""
    try:
        if (
            socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, host)) == host
        ):  # as nearly all are written
            return socket.AF_INET, (host, 0)
    except (OSError, ValueError):
        pass
    try:
        literal = ip_address(host)
    except ValueError:
        return None
    return (socket.AF_INET, (host, 0)) if literal.version == 4 else (socket.AF_INET6, (host, 0, 0, 0))


def _connect(family: socket.AddressFamily, address: tuple[Any, ...], timeout_s: float) -> _socket.socket:
    sock = _socket.socket(family, _STREAM)
    try:
        if not _NONBLOCKING:
            sock.setblocking(False)
        sock.setsockopt(_TCP, _NODELAY, 1)
        if (error := sock.connect_ex(address)) == errno.EINPROGRESS:
            try:
                sock.getpeername()
                return sock  # to this machine a connection is established by now
            except OSError:  # still under way, or refused
                _wait_writable(sock, timeout_s)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:  # a deadline or a cancelled run must not leave the socket to the garbage collector
        sock.close()
        raise
    return sock


def _wait_writable(sock: _socket.socket, timeout_s: float) -> None:
    """Wait until a connection is established or refused; raises TimeoutError."""
    hub: Any = gevent.get_hub()
    greenlet: Any = gevent.getcurrent()
    io, timer = hub.loop.io(sock.fileno(), WRITE), hub.loop.timer(timeout_s)
    try:
        io.start(greenlet.switch)
        timer.start(greenlet.throw, TimeoutError("timed out"))
        hub.switch()
    finally:  # no callback is left that could wake it later
        io.close()
        timer.close()


def _failure(error: OSError, address: tuple[Any, ...], timeout_s: float) -> ProbeFailure:
    where = f"{address[0]} port {address[1]}"
    if error.errno in _NO_WAY:
        said = f"{where}: {os.strerror(error.errno or 0)} from here"
        return ProbeFailure(Reason.CONNECT_FAILED, said, "connect", OwnFault.ROUTE)
    if isinstance(error, TimeoutError):
        return ProbeFailure(Reason.CONNECT_TIMEOUT, f"no connection to {where} within {timeout_s:g} s", "connect")
    if isinstance(error, ConnectionRefusedError):
        return ProbeFailure(Reason.CONNECT_REFUSED, f"{where} refused the connection", "connect")
    said = os.strerror(error.errno) if error.errno else str(error)
    # A port that no address of this machine has left, and an address that it cannot reach from any, look the same.
    chosen = error.errno == errno.EADDRNOTAVAIL and (":" in address[0] or not address[1])
    if error.errno in _OUR_OWN_LIMITS and not chosen:
        return ProbeFailure(Reason.INTERNAL_ERROR, f"the checker could not open a socket: {said}", "connect")
    own = OwnFault.ROUTE if chosen or error.errno == errno.EAFNOSUPPORT else None
    return ProbeFailure(Reason.CONNECT_FAILED, f"{where}: {said}", "connect", own)
