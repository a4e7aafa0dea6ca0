"""Opening a TCP connection: name lookup and connect, each timed, each with its own reason when it fails."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address
from time import monotonic
from typing import Any

import gevent.socket

from checker.addresses import AddressPolicy
from checker.model import Reason
from checker.probes.base import ProbeFailure
from checker.worker.transport.dns import Address, DnsCache
from checker.worker.transport.trace import Trace

_OUR_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


def open_socket(
    host: str, port: int, timeout_s: float, trace: Trace, policy: AddressPolicy, dns: DnsCache
) -> socket.socket:
    """A connected TCP socket without a timeout; raises ProbeFailure.

    The addresses of the name are tried one after the other, both families in turn, all of them within ``timeout_s``:
    each has its share of what is left, so that one that swallows everything does not hide the next. The one that
    answered is tried first from then on. What is judged is the address that is connected to, not the name.
    """
    with trace.connecting("dns"):
        addresses = resolve(host, dns)
    with trace.connecting("connect"):
        until = monotonic() + timeout_s
        for place, address in enumerate(addresses):
            family, (ip, _, *rest) = address
            if not policy.allows(ip):
                raise ProbeFailure(Reason.REDIRECT_BLOCKED, policy.refusal(ip), "connect")
            left = len(addresses) - place
            share_s = max(0.001, (until - monotonic()) / left)
            try:
                sock = _connect(family, (ip, port, *rest), share_s)
            except OSError as error:
                if left == 1:
                    raise _failure(error, (ip, port), timeout_s) from None
            else:
                if place:
                    dns.prefer(host, address)
                return sock
    raise ProbeFailure(Reason.DNS, f"{host} has no address", "dns")


def send_all(sock: Any, data: bytes) -> None:
    """Send all of it: in one go where the system takes it, which it does with nearly every request."""
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
    """Wait until a plain socket has something to read: to ask before costs a call and an exception."""
    if type(sock) is gevent.socket.socket:  # one with TLS is another: what it has read already does not wake it
        plain: Any = sock
        plain._wait(plain._read_event)


def resolve(host: str, dns: DnsCache) -> list[Address]:
    """The addresses of the host; raises ProbeFailure."""
    dns.refuse_unlisted(host)
    try:
        literal = ip_address(host)
    except ValueError:
        return dns.addresses(host)
    return [(socket.AF_INET, (host, 0)) if literal.version == 4 else (socket.AF_INET6, (host, 0, 0, 0))]


def _connect(family: socket.AddressFamily, address: tuple[Any, ...], timeout_s: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(timeout_s)
        sock.connect(address)
        sock.settimeout(None)
    except BaseException:  # a deadline or a cancelled run must not leave the socket to the garbage collector
        sock.close()
        raise
    return sock


def _failure(error: OSError, address: tuple[Any, ...], timeout_s: float) -> ProbeFailure:
    where = f"{address[0]} port {address[1]}"
    if isinstance(error, TimeoutError):
        return ProbeFailure(Reason.CONNECT_TIMEOUT, f"no connection to {where} within {timeout_s:g} s", "connect")
    if isinstance(error, ConnectionRefusedError):
        return ProbeFailure(Reason.CONNECT_REFUSED, f"{where} refused the connection", "connect")
    said = os.strerror(error.errno) if error.errno else str(error)
    # A port that no address of this machine has left, and an address that it cannot reach from any, look the same.
    chosen = error.errno == errno.EADDRNOTAVAIL and (":" in address[0] or not address[1])
    if error.errno in _OUR_OWN_LIMITS and not chosen:
        return ProbeFailure(Reason.INTERNAL_ERROR, f"the checker could not open a socket: {said}", "connect")
    return ProbeFailure(Reason.CONNECT_FAILED, f"{where}: {said}", "connect")
