"""Servers into shards: which go first, which stay together; pure."""

from __future__ import annotations

from collections.abc import Sequence

from checker.model import Priority, Server
from checker.probes import KINDS

_ORDER = {priority: place for place, priority in enumerate(Priority)}
_LARGEST = 50
_SHARDS_PER_WORKER = 8


def shards(servers: Sequence[Server], workers: int) -> list[tuple[Server, ...]]:
    """All servers in shards of up to 50, critical ones first, those of one origin next to each other.

    A small fleet makes small shards, so that every worker gets some. Each server is in exactly one shard.
    """
    if not servers:
        return []
    most = max(1, min(_LARGEST, -(-len(servers) // (workers * _SHARDS_PER_WORKER))))
    ordered = sorted(servers, key=lambda server: (_ORDER[server.priority], _origin(server)))
    return [tuple(ordered[start : start + most]) for start in range(0, len(ordered), most)]


def _origin(server: Server) -> tuple[str, ...]:
    """What to sort by: the same for servers that share an origin."""
    return min(tuple(map(str, KINDS[kind].address(options).lane)) for kind, options in server.probes.items())
