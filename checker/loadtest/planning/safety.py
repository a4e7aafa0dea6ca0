"""Safety of a plan: load goes to this machine and to private addresses, and to others only if the user allows it.

Allowed are loopback (127.0.0.0/8, ::1), the private networks of RFC 1918 and RFC 4193, and 198.18.0.0/15, which RFC
2544 reserves for benchmarks. Everything else counts as public and needs the host's name in `Plan.public_hosts`,
including

- link-local addresses (169.254.0.0/16, fe80::/10): clouds keep their metadata services there;
- 100.64.0.0/10 (RFC 6598): it may be the user's own overlay, or the provider's, shared with neighbours;
- addresses that embed another one for a gateway (6to4, Teredo, NAT64): the gateway belongs to somebody else;
- cloud metadata services at any address (`checker.addresses`), also among private ones.

An IPv6 address that maps an IPv4 one (::ffff:0:0/96) is judged as the IPv4 one. An address that is not of a single host
(0.0.0.0, ::, multicast, broadcast) is always refused. Every address of a name is judged, and the workers connect only
to the judged addresses: a name that changes its address during the run, a redirect to another host, and an
authorization server that a third party names cannot lead to a new target.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import MappingProxyType
from urllib.parse import urlsplit

from checker.addresses import Scope, scope
from checker.errors import UsageError
from checker.loadtest.plan import Operation, Plan, host_of, options_of, plain_host, targets
from checker.loadtest.planning.plan_validation import all_faults
from checker.model import Server
from checker.probe_kinds import KIND_OF, KINDS, OPERATIONS
from checker.probes.oauth.options import OAuth

Lookup = Callable[[str], Sequence[str]]
"""Host -> all its numeric addresses; raises OSError if it has none."""
Pins = Mapping[str, tuple[str, ...]]
"""Host, in lower case and without a trailing dot -> the addresses that may be connected to."""

_OWN = tuple(
    ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "::1/128", "fc00::/7")
)
_MOST_TOLD = 10


def looked_up(host: str) -> tuple[str, ...]:
    """All addresses of a host as the system resolves them, without duplicates; raises OSError if there is none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of more than 63 characters
        raise OSError(str(error)) from None
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def approved(plan: Plan, lookup: Lookup = looked_up) -> Pins:
    """The addresses that the workers of this plan may connect to.

    Raises UsageError, before anything is sent, for a plan that contradicts itself or exceeds its limits, and for a host
    that must not be put under load.
    """
    faults = [f"{'.'.join(map(str, keys)) or 'the plan'}: {text}" for keys, text in all_faults(plan)]
    if faults:
        raise UsageError("\n".join(faults[:_MOST_TOLD]))
    allowed = {plain_host(host) for host in plan.public_hosts}
    pins: dict[str, tuple[str, ...]] = {}
    refused: dict[str, str] = {}
    for server, operation in _played(plan):
        if why := _unnamed_authorization_server(server, operation):
            refused[f"oauth of {server.name}"] = f"{server.name}: {why}"
        for host, proxied in _connected_to(server, operation):
            if host in pins or host in refused:
                continue
            found, why = _judged(host, lookup, host in allowed, proxied)
            if why:
                refused[host] = f"{server.name}: {why}"
            else:
                pins[host] = found
        if why := _hidden_by_proxy(server, operation, allowed):
            refused[f"proxy of {server.name}"] = f"{server.name}: {why}"
    led = {host for server, operation in _played(plan) for host in _led_to(server, operation, allowed)}
    for host in sorted(led - {*pins, *refused}):
        pins[host], _ = _judged(host, lookup, True, False)
    if refused:
        more = [f"and {len(refused) - _MOST_TOLD} more"] if len(refused) > _MOST_TOLD else []
        raise UsageError("\n".join([*list(refused.values())[:_MOST_TOLD], *more]))
    return MappingProxyType(pins)


def address_fault(address: str) -> tuple[str, bool]:
    """The reason why load on an address needs permission, and if the user may give it; ("", True) if it needs none.

    Raises ValueError for text that is not a numeric address.
    """
    judged = plain_address(address)
    if judged.is_unspecified:
        return "stands for every address of this machine; write 127.0.0.1 or ::1", False
    if judged.is_multicast or judged == IPv4Address("255.255.255.255"):
        return "is no address of a single host", False
    if scope(address) is Scope.GUARDED:
        return "is link-local or a metadata address, where clouds keep their metadata services", True
    if any(judged in network for network in _OWN if network.version == judged.version):
        return "", True
    return "is not a private address", True


def plain_address(address: str) -> IPv4Address | IPv6Address:
    """The address without its zone (``%eth0``), or the IPv4 one that IPv6 maps; raises ValueError if not numeric."""
    parsed = ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


def _played(plan: Plan) -> Iterator[tuple[Server, Operation]]:
    """Every server with each operation that the plan sends to it."""
    for scenario in plan.scenarios.values():
        yield from ((one, scenario.operation) for one in targets(plan.servers, scenario.operation, scenario.servers))
    if plan.suite is not None:
        some = targets(plan.servers, plan.suite.operation)[: max(plan.suite.server_counts)]
        yield from ((one, plan.suite.operation) for one in some)
    if plan.stress is not None:
        some = targets(plan.servers, plan.stress.operation, plan.stress.servers)
        yield from ((one, plan.stress.operation) for one in some)


def _connected_to(server: Server, operation: Operation) -> Iterator[tuple[str, bool]]:
    """The hosts connected to, including the authorization server's, each with True if it is a proxy."""
    proxy = _proxy_host(server, operation)
    if proxy is not None:
        yield proxy, True
    else:
        yield from ((host, False) for host in _hosts(server, operation))


def _hosts(server: Server, operation: Operation) -> tuple[str, ...]:
    """The host of the server and the hosts that issue its access tokens."""
    oauth = _oauth(server, operation)
    named = () if oauth is None else (oauth.issuer, oauth.token_url)
    return host_of(server, operation), *(plain_host(urlsplit(url).hostname or "") for url in named if url)


def _led_to(server: Server, operation: Operation, allowed: set[str]) -> set[str]:
    """Allowed hosts that are not targets: token endpoints of an authorization server or destinations of a proxy.

    A host without an address here may still be passed to a proxy.
    """
    proxied = set() if _proxy_host(server, operation) is None else set(_hosts(server, operation))
    return proxied if _oauth(server, operation) is None else proxied | allowed


def _oauth(server: Server, operation: Operation) -> OAuth | None:
    oauth: OAuth | None = getattr(options_of(server, operation), "oauth", None)
    return oauth


def _unnamed_authorization_server(server: Server, operation: Operation) -> str:
    """A fault if only the server itself names its authorization server: the load could hit any third party."""
    oauth = _oauth(server, operation)
    if oauth is None or oauth.issuer or oauth.token_url:
        return ""
    return "its oauth: names no authorization server, and a load test follows no other; add issuer: or token_url:"


def _proxy_host(server: Server, operation: Operation) -> str | None:
    options = options_of(server, operation)
    if options is None or options.proxy is None:
        return None
    return plain_host(urlsplit(options.proxy).hostname or "")


def _hidden_by_proxy(server: Server, operation: Operation, allowed: set[str]) -> str:
    """A fault of a host behind a proxy: the proxy resolves names itself, so both need the user's permission."""
    proxy = _proxy_host(server, operation)
    if proxy is None:
        return ""
    if not OPERATIONS[operation].goes_through_proxy:
        label = KINDS[KIND_OF[operation]].label
        return f"goes through a proxy, and load by {label} requests does not; leave proxy: out of the plan"
    needed = [host for host in dict.fromkeys((proxy, *_hosts(server, operation))) if host not in allowed]
    if not needed:
        return ""
    options = " ".join(f"--allow-public {host}" for host in needed)
    return f"goes through a proxy, behind which the target is not seen; reach it directly, or give {options}"


def _judged(host: str, lookup: Lookup, is_allowed: bool, is_proxy: bool) -> tuple[tuple[str, ...], str]:
    """The host's addresses, or the reason why it must not be put under load."""
    what = f"its proxy {host}" if is_proxy else host
    try:
        addresses = tuple(dict.fromkeys(lookup(host)))
    except OSError as error:
        return (), f"{what} has no address: {error.strerror or error}; check its name"
    if not addresses:
        return (), f"{what} has no address; check its name"
    for address in addresses:
        fault, can_be_allowed = address_fault(address)
        if not fault:
            continue
        named = what if host == address else f"{what} ({address})"
        if not can_be_allowed:
            return (), f"{named} {fault}"
        if not is_allowed:
            return (), f"{named} {fault}; if you may put it under load, give --allow-public {host}"
    return addresses, ""
