"""Addresses of host names: looked up once for all waiters, and cached for a while.

The system's own lookup (getaddrinfo) reports no lifetime, so the configured one applies. It is used nevertheless: it
reads the hosts file and the search domains like every other program on the machine.
"""

from __future__ import annotations

import random
import socket
import time
from collections import OrderedDict
from collections.abc import Collection
from itertools import chain, zip_longest
from typing import Any

import gevent
import orjson
from gevent.event import AsyncResult

from checker.limits import DnsLimits
from checker.metrics import CacheMeasures
from checker.model import CacheEntry, Reason
from checker.probes.base import OwnFault, ProbeFailure

CATEGORY = "dns"
_LOOKUPS_AT_ONCE = 32
_NO_ANSWER = {socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM}
_JITTER = 0.1
"""Entries live a tenth longer or shorter than their time, so that those made together do not end together."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
"""Family, and the socket address with port 0."""


class _Entry:
    __slots__ = ("addresses", "error", "good_until_s", "own", "stale_until_s")

    def __init__(
        self,
        addresses: list[Address],
        error: str | None,
        good_until_s: float,
        stale_until_s: float,
        own: OwnFault | None = None,
    ) -> None:
        self.addresses, self.error, self.own = addresses, error, own
        self.good_until_s, self.stale_until_s = good_until_s, stale_until_s


class DnsCache:
    """The addresses that one worker knows."""

    def __init__(self, limits: DnsLimits) -> None:
        self._limits = limits
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lookups: dict[str, AsyncResult[Any]] = {}
        """Host -> the entry that its lookup will give."""
        self._fresh: list[CacheEntry] = []
        self._hits = self._misses = self._stale_hits = self._evicted = 0
        gevent.get_hub().threadpool.maxsize = _LOOKUPS_AT_ONCE

    def refuse_unlisted(self, host: str) -> None:
        """Raise ProbeFailure for a host that must not be called at all; never raised here (load tests override it)."""

    def addresses(self, host: str) -> list[Address]:
        """Addresses of the host, families interleaved; raises ProbeFailure (dns) if it has no address.

        If the lookup fails, expired addresses stay in use for ``stale`` seconds.
        """
        entry = self._entries.get(host)
        if entry is not None and time.time() < entry.good_until_s:
            self._hits += 1
            self._entries.move_to_end(host)
        else:
            entry = self._looked_up(host)
        if entry.error is not None:
            raise ProbeFailure(Reason.DNS, f"{host}: {entry.error}", "dns", entry.own)
        return entry.addresses

    def prefer(self, host: str, address: Address) -> None:
        """Record the address that answered, so that it is tried first from now on, in later runs too."""
        entry = self._entries.get(host)
        if entry is not None and address in entry.addresses and address != entry.addresses[0]:
            entry.addresses = _first(address, entry.addresses)
            self._fresh += self._to_store(host, entry, time.time())

    def take_stored(self, host: str, value: str) -> None:
        """Take over an earlier run's result, unless something is known already."""
        if not self._limits.enabled or host in self._entries:
            return
        try:
            stored = orjson.loads(value)
            addresses = [(socket.AddressFamily(family), tuple(address)) for family, address in stored["addresses"]]
            good_until_s = float(stored["good_until_s"])
        except (ValueError, TypeError, LookupError):  # written by another version
            return
        self._keep(host, _Entry(addresses, None, good_until_s, good_until_s + self._limits.stale))

    def take_fresh(self) -> list[CacheEntry]:
        """Results of lookups since the last call, to be stored."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def measures(self) -> CacheMeasures:
        """Counts so far."""
        return CacheMeasures(
            category=CATEGORY,
            hits=self._hits,
            misses=self._misses,
            stale_hits=self._stale_hits,
            evicted=self._evicted,
            entries=len(self._entries),
        )

    def _looked_up(self, host: str) -> _Entry:
        waiting: Any = self._lookups.get(host)
        if waiting is None:
            self._misses += 1
            waiting = self._lookups[host] = AsyncResult()
            gevent.spawn(self._look_up, host, waiting)  # on its own: who asked first may be out of time before the rest
        else:
            self._hits += 1
        found: _Entry = waiting.get()
        return found

    def _look_up(self, host: str, waiting: AsyncResult[Any]) -> None:
        """Ask the system, and keep its answer even if nobody still waits for it."""
        addresses, error, own = list[Address](), "not a valid host name", None
        try:
            found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
            addresses = _taking_turns(dict.fromkeys((family, address) for family, _, _, _, address in found))
        except socket.gaierror as failure:
            error = failure.strerror or "not found"
            own = OwnFault.RESOLVER if failure.errno in _NO_ANSWER else None
        except (UnicodeError, OSError):
            pass
        finally:
            del self._lookups[host]
            waiting.set(self._settled(host, addresses, error, own))

    def _settled(self, host: str, addresses: list[Address], error: str, own: OwnFault | None) -> _Entry:
        now_s = time.time()
        before = self._entries.get(host)
        if addresses:
            if before is not None and before.addresses and before.addresses[0] in addresses:
                addresses = _first(before.addresses[0], addresses)  # it answered
            until_s = now_s + self._limits.ttl * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 # nothing secret
            entry = self._keep(host, _Entry(addresses, None, until_s, until_s + self._limits.stale))
            self._fresh += self._to_store(host, entry, now_s)
            return entry
        until_s = now_s + self._limits.negative_ttl
        if before is not None and before.addresses and now_s < before.stale_until_s:
            self._stale_hits += 1
            before.good_until_s = min(until_s, before.stale_until_s)  # a lookup that fails may take long each time
            return before
        return self._keep(host, _Entry([], error, until_s, until_s, own))

    def _keep(self, host: str, entry: _Entry) -> _Entry:
        if self._limits.enabled:
            self._entries[host] = entry
            self._entries.move_to_end(host)
            if len(self._entries) > self._limits.size:
                self._entries.popitem(last=False)
                self._evicted += 1
        return entry

    def _to_store(self, host: str, entry: _Entry, now_s: float) -> list[CacheEntry]:
        if not self._limits.enabled:
            return []
        value = {"good_until_s": round(entry.good_until_s, 3), "addresses": entry.addresses}
        return [
            CacheEntry(
                category=CATEGORY,
                key=host,
                value=orjson.dumps(value).decode(),
                created_at_ms=round(now_s * 1000),
                expires_at_ms=round(entry.stale_until_s * 1000),
            )
        ]


class ListedDns(DnsCache):
    """Addresses of hosts that were approved before, and no others: the hosts that a load test may call."""

    def __init__(self, limits: DnsLimits, listed: Collection[str]) -> None:
        super().__init__(limits)
        self._listed = frozenset(listed)

    def refuse_unlisted(self, host: str) -> None:
        """Raise ProbeFailure for a host that is not on the list, whatever named it."""
        if _plain(host) not in self._listed:
            raise ProbeFailure(
                Reason.REDIRECT_BLOCKED,
                f"{host} is no host that this load test may call; to let load go there, give --allow-public {host}",
                "connect",
            )


def _plain(host: str) -> str:
    return host.removeprefix("[").removesuffix("]").lower().rstrip(".")


def _first(address: Address, addresses: list[Address]) -> list[Address]:
    return [address, *(one for one in addresses if one != address)]


def _taking_turns(addresses: dict[Address, None]) -> list[Address]:
    """The addresses with their families interleaved, the resolver's first one first (RFC 8305 section 4)."""
    by_family: dict[socket.AddressFamily, list[Address]] = {}
    for address in addresses:
        by_family.setdefault(address[0], []).append(address)
    return [one for one in chain.from_iterable(zip_longest(*by_family.values())) if one is not None]
