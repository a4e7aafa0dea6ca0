"""The policy on which IP addresses may be connected to, shared by probes, OAuth, imports and load tests; pure.

An address is classified by where packets to it end. One that carries another address for a gateway (IPv4-mapped, NAT64,
6to4, Teredo, ISATAP) is classified as whichever of the two is farther inside. The tables are IANA's registries of
special-purpose addresses (RFC 6890 and later additions), and the addresses of cloud metadata services.

The rule for an address that a server names (a redirect, an authorization server, a token endpoint): it may lead no
farther inside than the server itself is, and never to link-local or metadata addresses. Addresses named in the
configuration are not judged.
"""

from __future__ import annotations

import _socket  # the part in C alone: a parent seldom needs more
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from enum import IntEnum
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from msgspec import Struct

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Scope(IntEnum):
    """The distance of an address inside private networks; a larger value is farther inside."""

    PUBLIC = 0
    """Reachable from everywhere, or meant to be."""
    PRIVATE = 1
    """Specific to some network: private, shared, reserved, for documentation or benchmarks."""
    LOOPBACK = 2
    """This machine; 0.0.0.0 and :: lead to it too."""
    GUARDED = 3
    """Link-local (clouds keep their metadata services there), other metadata addresses, multicast, broadcast."""


class AddressPolicy(Struct, frozen=True):
    """The addresses that one request may be connected to, over a new connection or a kept one."""

    inmost: Scope
    """The innermost scope allowed; anything farther inside is refused."""

    def allows(self, address: str) -> bool:
        """True if the numeric address may be connected to; raises ValueError if it is not an address."""
        return scope(address) <= self.inmost

    def refusal(self, address: str) -> str:
        """The reason for the refusal, for use in a detail."""
        if scope(address) is Scope.GUARDED:
            return f"a server named {address}, a link-local or metadata address, which is never called for a server"
        return f"redirect from a public host to {address}, or from a private one to this machine"


CONFIGURED = AddressPolicy(Scope.GUARDED)
"""The policy for addresses named in the configuration: everything is allowed."""
_FROM = {
    Scope.PUBLIC: AddressPolicy(Scope.PUBLIC),
    Scope.PRIVATE: AddressPolicy(Scope.PRIVATE),
    Scope.LOOPBACK: AddressPolicy(Scope.LOOPBACK),
    Scope.GUARDED: AddressPolicy(Scope.PRIVATE),  # a neighbour on the link is no part of this machine
}
_PRIVATE_ALLOWED = AddressPolicy(Scope.LOOPBACK)


def named_by(server: Scope | None, private_allowed: bool = False) -> AddressPolicy:
    """The policy for addresses that a server names, by the scope of the server's own address; None if unknown.

    ``private_allowed``: the configuration lets the server name private addresses, so it may lead to everything except
    link-local and metadata addresses.
    """
    if private_allowed:
        return _PRIVATE_ALLOWED
    return _FROM[Scope.PUBLIC if server is None else server]


METADATA_NAMES = frozenset({
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
})  # fmt: skip
"""Host names of metadata services, for cases where a proxy looks the name up."""


def _networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


_TABLE: tuple[tuple[Scope, tuple[IPv4Network | IPv6Network, ...]], ...] = (
    (
        Scope.GUARDED,
        _networks(
            "169.254.0.0/16",  # link-local (RFC 3927); metadata services of nearly all clouds
            "100.100.100.200/32",  # metadata service of Alibaba Cloud, among shared addresses
            "168.63.129.16/32",  # the platform's own services of Azure, among public addresses
            "192.0.0.192/32",  # metadata service of Oracle Cloud's older machines
            "224.0.0.0/4",  # multicast
            "255.255.255.255/32",  # broadcast
            "fe80::/10",  # link-local
            "fd00:ec2::/32",  # metadata service, name server and clock of AWS, among unique local addresses
            "fd20:ce::254/128",  # metadata service of Google Cloud
            "fd00:42::42/128",  # metadata service of Scaleway
            "ff00::/8",  # multicast
        ),
    ),
    (Scope.LOOPBACK, _networks("127.0.0.0/8", "0.0.0.0/32", "::1/128", "::/128")),
    (
        Scope.PUBLIC,  # globally reachable parts of blocks that are not
        _networks(
            "192.0.0.9/32",  # Port Control Protocol anycast (RFC 7723)
            "192.0.0.10/32",  # TURN anycast (RFC 8155)
            "2001:1::1/128",  # the same for IPv6
            "2001:1::2/128",
            "2001:1::3/128",  # DNS-SD service registration anycast (RFC 9665)
            "2001:3::/32",  # AMT (RFC 7450)
            "2001:4:112::/48",  # AS112 (RFC 7535)
            "2001:20::/28",  # ORCHIDv2 (RFC 7343)
            "2001:30::/28",  # drone remote identification (RFC 9374)
        ),
    ),
    (
        Scope.PRIVATE,
        _networks(
            "0.0.0.0/8",  # this network (RFC 791)
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared with a provider (RFC 6598)
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments (RFC 6890)
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4, given up (RFC 7526)
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks (RFC 2544)
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "240.0.0.0/4",  # reserved
            "64:ff9b:1::/48",  # NAT64 of one's own network (RFC 8215)
            "100::/64",  # discarded (RFC 6666)
            "100:0:0:1::/64",  # dummy (RFC 9780)
            "2001::/23",  # protocol assignments; Teredo is looked into first
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation (RFC 9637)
            "5f00::/16",  # segment routing (RFC 9602)
            "fc00::/7",  # unique local (RFC 4193)
            "fec0::/10",  # site-local, given up (RFC 3879)
        ),
    ),
    (Scope.PUBLIC, _networks("0.0.0.0/0", "2000::/3", "64:ff9b::/96")),
)
"""The first network that contains an address applies; unassigned IPv6 space (outside 2000::/3) is private."""

_NAT64 = IPv6Network("64:ff9b::/96")
_OWN_NAT64 = IPv6Network("64:ff9b:1::/48")
_TEREDO = IPv6Network("2001::/32")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_MAPPED = IPv6Network("::ffff:0:0/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_CARRIERS = (_MAPPED, _TRANSLATED, _COMPATIBLE, _NAT64, _TEREDO, _SIX_TO_FOUR)
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_MULTICAST = 224
_UNCARRIED = (IPv6Address("::"), IPv6Address("::1"))


@lru_cache(maxsize=8192)
def scope(address: str) -> Scope:
    """The scope of a numeric address, ignoring a zone (``%eth0``); raises ValueError if it is not an address."""
    if (number := _ipv4_number(address)) is not None:
        starts, scopes = _ipv4_ranges()
        return scopes[bisect_right(starts, number) - 1]
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv4Address):
        return _own_scope(parsed)
    carried = [_own_scope(inner) for inner in carried_addresses(parsed)]
    if carried and any(parsed in network for network in _CARRIERS):
        return max(carried)  # nothing but another way to write it, or a way there that begins everywhere
    return max((_own_scope(parsed), *carried))


def _ipv4_number(address: str) -> int | None:
    """The number of an IPv4 address in its usual form; None for any other text."""
    try:
        packed = _socket.inet_pton(_socket.AF_INET, address)
    except (OSError, ValueError):
        return None
    return int.from_bytes(packed, "big") if _socket.inet_ntop(_socket.AF_INET, packed) == address else None


@cache
def _ipv4_ranges() -> tuple[Sequence[int], Sequence[Scope]]:
    """The first address of each range of one scope, and that scope: the networks of the table, laid out in a row."""
    networks = [one for _, some in _TABLE for one in some if isinstance(one, IPv4Network)]
    ends = {int(one.broadcast_address) + 1 for one in networks} - {1 << 32}
    starts = sorted({int(one.network_address) for one in networks} | ends)
    return starts, [_own_scope(IPv4Address(start)) for start in starts]


def carried_addresses(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses a gateway may extract from an IPv6 one; for Teredo both the server's and the client's."""
    number = int(address)
    low = number & 0xFFFF_FFFF
    if address in _UNCARRIED:
        return ()
    if any(address in network for network in (_MAPPED, _TRANSLATED, _COMPATIBLE, _NAT64)):
        return (IPv4Address(low),)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(number >> 80 & 0xFFFF_FFFF),)
    if address in _TEREDO:
        return IPv4Address(number >> 64 & 0xFFFF_FFFF), IPv4Address(low ^ 0xFFFF_FFFF)
    if address in _OWN_NAT64:
        return tuple(IPv4Address(one) for one in _behind_prefix(number) if 0 < one >> 24 < _MULTICAST)
    if (number >> 32 & 0xFFFF_FFFF) in _ISATAP:
        return (IPv4Address(low),)
    return ()


def _behind_prefix(number: int) -> tuple[int, ...]:
    """The IPv4 address where RFC 6052 section 2.2 puts it behind prefixes of 48, 56, 64 and 96 bits; byte 8 is skipped.

    The prefix length that the network uses is not known here.
    """
    raw = number.to_bytes(16, "big")
    without = raw[:8] + raw[9:]
    return tuple(int.from_bytes(part, "big") for part in (without[6:10], without[7:11], without[8:12], raw[12:]))


def _own_scope(address: IPv4Address | IPv6Address) -> Scope:
    for found, networks in _TABLE:
        if any(address in network for network in networks):
            return found
    return Scope.PRIVATE


def in_numbers(host: str) -> str | None:
    """The numeric address in a URL's host, in any notation that resolvers understand; None for a name.

    Decimal, octal, hexadecimal and shortened IPv4 (``2130706433``, ``0x7f.1``), brackets, a zone, a trailing dot, and
    digits of other scripts, which IDNA maps to the usual ones.
    """
    text = unicodedata.normalize("NFKC", host).strip().removeprefix("[").removesuffix("]").replace("\u3002", ".")
    text = text.partition("%")[0].rstrip(".").lower()
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    if not text or not all(part[:1].isdigit() for part in text.split(".")):
        return None
    try:
        return _socket.inet_ntoa(_socket.inet_aton(text))
    except (OSError, UnicodeError):
        return None


def names_guarded(host: str) -> bool:
    """True if a host, by its number or name alone, is never called because a server named it."""
    number = in_numbers(host)
    return is_metadata_name(host) if number is None else scope(number) is Scope.GUARDED


def is_metadata_name(host: str) -> bool:
    """True if a host has the name of a cloud metadata service."""
    return host.strip().lower().rstrip(".") in METADATA_NAMES


def canary(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or of an http or https address; raises ValueError for anything else."""
    parts = urlsplit(text if "://" in text else f"tcp://{text}")
    port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    if not parts.hostname or not port or parts.scheme not in ("tcp", *_DEFAULT_PORTS):
        raise ValueError("write host:port or an http or https address")
    return parts.hostname, port
