"""HTTP of imports over connections whose addresses are judged: requests, with `checker.addresses` where it connects."""

from __future__ import annotations

import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from checker.addresses import CONFIGURED, AddressPolicy, Scope, in_numbers, is_metadata_name, named_by, scope


class AddressRefused(Exception):
    """A server named an address that it may not lead to; the text says which."""


class Guard:
    """Where the next request may lead: anywhere what the user named, and from there no farther inside."""

    def __init__(self) -> None:
        self._policy: AddressPolicy = CONFIGURED
        self._reached: Scope | None = None

    def follow(self) -> None:
        """From now on it is servers that name addresses."""
        self._policy = named_by(self._reached)

    def judge_behind_proxy(self, host: str) -> None:
        """Judge a host that only a proxy connects to, by what it is here; raises AddressRefused."""
        known = [number] if (number := in_numbers(host)) is not None else _looked_up(host)
        for address in known:
            self._judge(address)
        if self._policy is not CONFIGURED and is_metadata_name(host):
            raise AddressRefused(f"a server named {host}, a metadata service")
        self._note(min(map(scope, known), default=Scope.PUBLIC))

    def open(self, connection: Any, connect: Any) -> socket.socket:
        """Connect to the first address that answers; each is judged before. Raises AddressRefused, else as urllib3."""
        host = connection._dns_host  # what urllib3 looks up, under this name only; the certificate is for another
        addresses = _looked_up(host.strip("[]"))
        try:
            for place, address in enumerate(addresses):
                self._judge(address)
                connection._dns_host = address
                try:
                    sock: socket.socket = connect()
                except Exception:
                    if place + 1 == len(addresses):
                        raise
                else:
                    self._note(scope(sock.getpeername()[0]))
                    return sock
        finally:
            connection._dns_host = host
        unknown: socket.socket = connect()  # which says that there is no such host
        return unknown

    def _judge(self, address: str) -> None:
        if not self._policy.allows(address):
            raise AddressRefused(self._policy.refusal(address))

    def _note(self, found: Scope) -> None:
        self._reached = found if self._reached is None else min(self._reached, found)


class JudgingAdapter(HTTPAdapter):
    """What a session of requests is given to connect; one for each chain of redirects."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools, of connections that the guard opens."""
        super().init_poolmanager(*args, **kwargs)
        guard = self._guard

        class GuardedConnection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return guard.open(self, super()._new_conn)

        class GuardedSecureConnection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return guard.open(self, super()._new_conn)

        class GuardedPool(HTTPConnectionPool):
            ConnectionCls = GuardedConnection

        class GuardedSecurePool(HTTPSConnectionPool):
            ConnectionCls = GuardedSecureConnection

        self.poolmanager.pool_classes_by_scheme = {"http": GuardedPool, "https": GuardedSecurePool}


def _looked_up(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
