"""Opening a TCP connection: name lookup and connect, each timed, each with its own reason when it fails."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv6Address, ip_address
from time import monotonic
from typing import Any

import gevent.socket

from checker.model import Reason
from checker.probes.base import ProbeFailure
from checker.worker.transport.trace import Trace

_OUR_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
_Address = tuple[socket.AddressFamily, tuple[Any, ...]]


def open_socket(host: str, port: int, timeout_s: float, trace: Trace, public_only: bool) -> socket.socket:
    """A connected TCP socket without a timeout; raises ProbeFailure.

    The addresses of the name are tried in the resolver's order, all of them within ``timeout_s``. With
    ``public_only`` an address that is not public is refused: a redirect must not lead inside.
    """
    with trace.connecting("dns"):
        addresses = resolve(host, port)
    with trace.connecting("connect"):
        until = monotonic() + timeout_s
        for index, (family, address) in enumerate(addresses):
            if public_only and not is_public(address[0]):
                raise ProbeFailure(Reason.REDIRECT_BLOCKED, f"redirect from a public host to {address[0]}", "connect")
            try:
                sock = _connect(family, address, max(0.001, until - monotonic()))
            except OSError as error:
                if index + 1 == len(addresses) or isinstance(error, TimeoutError):
                    raise _failure(error, address, timeout_s) from None
            else:
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


def is_public(address: str) -> bool:
    """Whether an IP address is reachable from everywhere, as opposed to loopback, private and link-local ones."""
    ip = ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return (mapped or ip).is_global


def resolve(host: str, port: int) -> list[_Address]:
    """Address family and socket address of every address of the host; raises ProbeFailure."""
    try:
        literal = ip_address(host)
    except ValueError:
        pass
    else:
        return [(socket.AF_INET, (host, port)) if literal.version == 4 else (socket.AF_INET6, (host, port, 0, 0))]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        said = error.strerror if isinstance(error, socket.gaierror) else "not a valid host name"
        raise ProbeFailure(Reason.DNS, f"{host}: {said}", "dns") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


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
    if error.errno in _OUR_OWN_LIMITS:
        return ProbeFailure(Reason.INTERNAL_ERROR, f"the checker could not open a socket: {said}", "connect")
    return ProbeFailure(Reason.CONNECT_FAILED, f"{where}: {said}", "connect")
