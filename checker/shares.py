"""How many workers a run has, and what its limits are that they share (`checker.limits.Limits`); pure."""

from __future__ import annotations

from os import cpu_count
from typing import TYPE_CHECKING

from msgspec.structs import replace

from checker.kinds import KINDS
from checker.limits import Caches, Limits, PoolLimits

if TYPE_CHECKING:
    from checker.run import RunRequest

_SERVERS_PER_WORKER = 50


def limits_of(request: RunRequest, workers: int) -> Limits:
    """What so many workers may do together."""
    return Limits(
        concurrency=request.concurrency,
        per_origin=request.per_origin,
        max_connections=request.max_connections,
        processes=request.processes,
        log_level=request.log_level,
        token_key=request.token_key,
        workers=workers,
        pools={kind: request.pools.get(kind, PoolLimits()) for kind in KINDS},
        caches=_within(request.caches),
        pace=request.pace,
        lag=request.limits.lag,
    )


def _within(caches: Caches) -> Caches:
    """The caches, of which none may have more entries than all together."""
    most = caches.size
    if most is None:
        return caches
    tokens, dns = caches.auth_tokens, caches.dns
    return replace(
        caches,
        auth_tokens=replace(tokens, size=min(most, tokens.size)),
        dns=replace(dns, size=min(most, dns.size)),
    )


def workers_of(request: RunRequest) -> int:
    """How many workers: no more than can have a part of every limit of the run that is shared out over all of them."""
    if not request.servers:
        return 0
    wanted = request.workers or _workers_for(len(request.servers))
    kinds = {kind for server in request.servers for kind in server.probes}
    most = [request.concurrency, *([] if request.max_connections is None else [request.max_connections])]
    most += [pool.max_connections for kind, pool in request.pools.items() if kind in kinds and pool.when_full == "wait"]
    return min(wanted, *most)


def _workers_for(servers: int) -> int:
    """One worker per core, but none for fewer than 50 servers: starting one takes longer than checking those."""
    return max(1, min(cpu_count() or 1, servers // _SERVERS_PER_WORKER))
