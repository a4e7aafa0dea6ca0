"""The caches of a run: results reused instead of new checks, the configuration, sizes and hit counts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from checker.limits import CacheLimits, Caches
from checker.metrics import CacheMeasures
from checker.model import Batch, CacheEntry, CheckResult, Server
from checker.version import VERSION
from checker.wire import packed

if TYPE_CHECKING:
    from storage.store import Store


CATEGORY = "results"


def result_key(server: Server) -> str | None:
    """SHA-256 over everything that determines the server's result: name, options with secrets, and this version.

    None for options that are not valid text, such as a variable that is not UTF-8: those servers are always checked.
    """
    try:
        whole = packed([VERSION, server.name, server.probes, server.weights, server.combine])
    except (TypeError, UnicodeEncodeError):
        return None
    return hashlib.sha256(whole).hexdigest()


class ResultsCache:
    """The cache keys of a run's servers, made where they are needed: kept they would be a tenth of the memory."""

    def __init__(self, servers: Sequence[Server], limits: CacheLimits) -> None:
        self._servers = servers
        self.enabled = limits.enabled
        self.ttl_ms = round(limits.ttl * 1000)

    def keys(self) -> dict[str, str]:
        """Key -> server, for all servers that have a key."""
        return {key: server.name for server in self._servers if (key := result_key(server)) is not None}

    def entries(self, run_id: int, checks: Iterable[CheckResult]) -> tuple[CacheEntry, ...]:
        """An entry for each check that names its run alone; none if nothing is to be cached."""
        if not self.enabled:
            return ()
        keys = {name: key for key, name in self.keys().items()}
        return tuple(
            CacheEntry(
                category=CATEGORY,
                key=keys[check.server],
                value=str(run_id),
                created_at_ms=check.started_at_ms,
                expires_at_ms=check.started_at_ms + self.ttl_ms,
            )
            for check in checks
            if check.server in keys
        )


CONFIG = "config"
RESULTS = "results"


class ConfigUse(Struct, frozen=True):
    """The source of the run's configuration: read anew or cached."""

    key: str
    """Its key in the cache category `CONFIG`."""
    encode_settings: Callable[[], str | None] | None
    """Makes the value to store, or None for a configuration that cannot be cached; absent if it came from the cache."""


class RunCaches:
    """One run's side of the caches that live in the database."""

    def __init__(
        self, servers: Sequence[Server], limits: Caches, max_age_s: float | None, config: ConfigUse | None
    ) -> None:
        self._results = ResultsCache(servers, limits.results)
        self._limits, self._max_age_s = limits, max_age_s
        self._config = config if limits.config.enabled else None
        self._hits, self._misses = 0, 0
        self._began_at_ms = 0

    @property
    def sizes(self) -> Mapping[str, int]:
        """Category -> maximum number of entries."""
        limits = self._limits
        return {
            CONFIG: limits.config.size,
            "auth_tokens": limits.auth_tokens.size,
            "dns": limits.dns.size,
            RESULTS: limits.results.size,
        }

    def take(self, store: Store, now_ms: int) -> dict[str, int]:
        """Server -> the run with a recent enough result, for the servers that need no check; often empty."""
        if self._max_age_s is None or not self._limits.results.enabled:
            return {}
        keys = self._results.keys()
        taken = store.young_results(keys, now_ms - round(self._max_age_s * 1000), now_ms)
        self._hits, self._misses = len(taken), len(keys) - len(taken)
        return taken

    def keep_keys(self, store: Store, run_id: int, at_ms: int, fresh: Sequence[Server], whole: bool) -> None:
        """Note with which options the run checks these servers: their results are the entries of the cache.

        ``whole`` says that these are all of the run.
        """
        enabled, self._began_at_ms = self._results.enabled, at_ms

        def keys() -> Iterator[tuple[str, str | None]]:
            for server in fresh:
                yield server.name, result_key(server) if enabled else None

        store.keep_result_keys(run_id, at_ms, keys, self._results.ttl_ms if enabled else 0, whole)

    def keep_config(self, store: Store, run_id: int, now_ms: int) -> None:
        """Store the configuration, or record its use; slow, so call it while the workers are busy."""
        if self._config is None:
            return
        if self._config.encode_settings is None:
            store.note_use(CONFIG, self._config.key, now_ms)
        elif value := self._config.encode_settings():
            until_ms = now_ms + round(self._limits.config.ttl * 1000)
            entry = CacheEntry(
                category=CONFIG, key=self._config.key, value=value, created_at_ms=now_ms, expires_at_ms=until_ms
            )
            store.write(run_id, Batch(cache_entries=(entry,)))

    def measures(self, store: Store, evicted: Mapping[str, int], answered: int, now_ms: int) -> Iterator[CacheMeasures]:
        """Counts made here: lookups of results and of the configuration, and evictions by category.

        ``answered`` is the number of checks that the run stored.
        """
        if self._config is not None:
            hit = self._config.encode_settings is None
            yield CacheMeasures(category=CONFIG, hits=int(hit), misses=int(not hit), entries=store.cache_size(CONFIG))
        if self._limits.results.enabled:
            entries = store.cached_results(answered, self._began_at_ms, now_ms, self._results.ttl_ms)
            yield CacheMeasures(category=RESULTS, hits=self._hits, misses=self._misses, entries=entries)
        for category, number in evicted.items():
            yield CacheMeasures(category=category, evicted=number)
