"""The caches of a run: results reused instead of new checks, the configuration, sizes and hit counts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checker.limits import CacheLimits, Caches
from checker.metrics import CacheMeasures
from checker.model import Batch, CacheEntry, CheckResult, Server
from checker.result_rows import SERVER, ResultRows, rows_of
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
        self._servers: Mapping[str, Server] = {server.name: server for server in servers}
        self.enabled = limits.enabled
        self.ttl_ms = round(limits.ttl * 1000)

    def keys(self) -> dict[str, str]:
        """Key -> server, for all servers that have a key."""
        return {key: name for name, server in self._servers.items() if (key := result_key(server)) is not None}

    def entries(self, run_id: int, checks: Iterable[CheckResult]) -> tuple[CacheEntry, ...]:
        """One entry for each check: its run, valid for as long as the limits say; none if nothing is to be cached."""
        return tuple(
            CacheEntry(
                category=CATEGORY,
                key=key,
                value=str(run_id),
                created_at_ms=at_ms,
                expires_at_ms=at_ms + self.ttl_ms,
            )
            for key, at_ms in self.kept(rows_of(checks))
        )

    def kept(self, results: ResultRows) -> list[tuple[str, int]]:
        """The keys of these results, each with the start of the check; none if nothing is to be cached."""
        if not self.enabled:
            return []
        servers = self._servers
        started = zip(results.of_checks(SERVER), results.of_checks("started_at_ms"), strict=True)
        return [(key, at_ms) for name, at_ms in started if (key := result_key(servers[name])) is not None]


CONFIG = "config"
RESULTS = "results"
_ENTRIES_AT_ONCE = 20_000
"""Keys are spread over the whole table: a few at a time touch as many of its pages as many do."""


@dataclass(frozen=True, slots=True)
class ConfigUse:
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
        self._waiting: list[tuple[str, int]] = []
        self._hits, self._misses = 0, 0

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

    def note(self, store: Store, run_id: int, results: ResultRows) -> None:
        """Remember the results for entries, which are written once enough have accumulated."""
        self._waiting += self._results.kept(results)
        if len(self._waiting) >= _ENTRIES_AT_ONCE:
            self.keep_results(store, run_id)

    def keep_results(self, store: Store, run_id: int) -> None:
        """Write the entries that are still pending."""
        if self._waiting:
            store.keep_results(run_id, sorted(self._waiting), self._results.ttl_ms)
            self._waiting.clear()

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

    def measures(self, store: Store, evicted: Mapping[str, int]) -> Iterator[CacheMeasures]:
        """Counts made here: lookups of results and of the configuration, and evictions by category."""
        if self._config is not None:
            hit = self._config.encode_settings is None
            yield CacheMeasures(category=CONFIG, hits=int(hit), misses=int(not hit), entries=store.cache_size(CONFIG))
        if self._limits.results.enabled:
            yield CacheMeasures(
                category=RESULTS, hits=self._hits, misses=self._misses, entries=store.cache_size(RESULTS)
            )
        for category, number in evicted.items():
            yield CacheMeasures(category=category, evicted=number)
