"""Results that may stand in for a new check: the cache entries that say in which run they are, and their keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, get_type_hints

import orjson

from checker.limits import CacheLimits
from checker.model import CacheEntry, CheckResult, Server
from checker.records import constructor
from checker.version import VERSION

CATEGORY = "results"
_entry = constructor(CacheEntry)


def result_key(server: Server) -> str | None:
    """SHA-256 over everything that decides about the server's result: name, options with secrets, and this version.

    None for options that cannot be written as JSON, such as a variable that is not UTF-8: those are always checked.
    """
    options = {kind: _values(given) for kind, given in server.probes.items()}
    try:
        whole = orjson.dumps([VERSION, server.name, options, server.weights, _values(server.combine)])
    except TypeError:
        return None
    return hashlib.sha256(whole).hexdigest()


def _values(record: Any) -> tuple[Any, ...]:
    """All values of a record and of the records in it; dumping the records themselves takes three times as long."""
    kind: Any = type(record)
    return _getter(kind)(record)


@lru_cache(maxsize=16)
def _getter(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*_paths(kind))


def _paths(kind: Any) -> Iterator[str]:
    types = get_type_hints(kind)
    for name in (field.name for field in fields(kind)):
        if is_dataclass(types[name]):
            yield from (f"{name}.{inner}" for inner in _paths(types[name]))
        else:
            yield name


class ResultsCache:
    """The keys of a run's servers, each made once."""

    def __init__(self, servers: Sequence[Server], limits: CacheLimits) -> None:
        self._servers: Mapping[str, Server] = {server.name: server for server in servers}
        self._keys: dict[str, str | None] = {}
        self.enabled = limits.enabled
        self._ttl_ms = round(limits.ttl * 1000)

    def keys(self) -> dict[str, str]:
        """Key -> server, for all servers that have one."""
        return {key: name for name in self._servers if (key := self._key(name)) is not None}

    def entries(self, run_id: int, checks: Iterable[CheckResult]) -> tuple[CacheEntry, ...]:
        """One entry for each check: its run, for as long as the limits say; none where nothing is to be kept."""
        if not self.enabled:
            return ()
        return tuple(
            _entry(
                category=CATEGORY,
                key=key,
                value=str(run_id),
                created_at_ms=check.started_at_ms,
                expires_at_ms=check.started_at_ms + self._ttl_ms,
            )
            for check in checks
            if (key := self._key(check.server)) is not None
        )

    def _key(self, name: str) -> str | None:
        if name not in self._keys:
            self._keys[name] = result_key(self._servers[name])
        return self._keys[name]
