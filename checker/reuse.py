"""Results that may stand in for a new check: the cache entries that say in which run they are, and their keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from checker.limits import CacheLimits
from checker.model import CacheEntry, CheckResult, Server
from checker.version import VERSION
from checker.wire import packed

CATEGORY = "results"


def result_key(server: Server) -> str | None:
    """SHA-256 over everything that decides about the server's result: name, options with secrets, and this version.

    None for options that are no text, such as a variable that is not UTF-8: those are always checked.
    """
    try:
        whole = packed([VERSION, server.name, server.probes, server.weights, server.combine])
    except (TypeError, UnicodeEncodeError):
        return None
    return hashlib.sha256(whole).hexdigest()


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
            CacheEntry(
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
