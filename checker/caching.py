"""The caches of a run as the parent sees them: results taken and kept, the configuration, sizes, and what to count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from checker.limits import Caches
from checker.measures import CacheMeasures
from checker.model import Batch, CacheEntry, Server
from checker.reuse import ResultsCache

if TYPE_CHECKING:
    from storage.store import Store

CONFIG = "config"
RESULTS = "results"
_ENTRIES_AT_ONCE = 2000
"""Keys are spread over the whole table: a few at a time touch as many of its pages as many do."""


@dataclass(frozen=True, slots=True)
class ConfigUse:
    """How the run came to its configuration."""

    key: str
    """Its key in the cache category `CONFIG`."""
    seal: Callable[[], str | None] | None
    """Makes the value to keep, or None for a configuration that cannot be kept; absent where it was in the cache."""


class RunCaches:
    """One run's side of the caches that live in the database."""

    def __init__(
        self, servers: Sequence[Server], limits: Caches, max_age_s: float | None, config: ConfigUse | None
    ) -> None:
        self._results = ResultsCache(servers, limits.results)
        self._limits, self._max_age_s = limits, max_age_s
        self._config = config if limits.config.enabled else None
        self._waiting: list[CacheEntry] = []
        self._hits, self._misses = 0, 0

    @property
    def sizes(self) -> Mapping[str, int]:
        """Category -> most entries."""
        limits = self._limits
        return {
            CONFIG: limits.config.size,
            "auth_tokens": limits.auth_tokens.size,
            "dns": limits.dns.size,
            RESULTS: limits.results.size,
        }

    def take(self, store: Store, now_ms: int) -> dict[str, int]:
        """Server -> the run whose result of it is young enough, for the servers that need no check; often none."""
        if self._max_age_s is None or not self._limits.results.enabled:
            return {}
        keys = self._results.keys()
        taken = store.young_results(keys, now_ms - round(self._max_age_s * 1000), now_ms)
        self._hits, self._misses = len(taken), len(keys) - len(taken)
        return taken

    def with_results(self, run_id: int, batch: Batch) -> Batch:
        """The batch, with entries for the results of its checks and of earlier ones once there are many of them."""
        self._waiting += self._results.entries(run_id, batch.checks)
        if len(self._waiting) < _ENTRIES_AT_ONCE:
            return batch
        return replace(batch, cache_entries=(*batch.cache_entries, *self._taken_over()))

    def keep_results(self, store: Store, run_id: int) -> None:
        """Write the entries that still wait."""
        if self._waiting:
            store.write(run_id, Batch(cache_entries=self._taken_over()))

    def _taken_over(self) -> tuple[CacheEntry, ...]:
        entries = tuple(sorted(self._waiting, key=lambda entry: entry.key))
        self._waiting.clear()
        return entries

    def keep_config(self, store: Store, run_id: int, now_ms: int) -> None:
        """Keep the configuration, or note that it was used; takes a while, so let the workers be busy meanwhile."""
        if self._config is None:
            return
        if self._config.seal is None:
            store.note_use(CONFIG, self._config.key, now_ms)
        elif value := self._config.seal():
            until_ms = now_ms + round(self._limits.config.ttl * 1000)
            entry = CacheEntry(
                category=CONFIG, key=self._config.key, value=value, created_at_ms=now_ms, expires_at_ms=until_ms
            )
            store.write(run_id, Batch(cache_entries=(entry,)))

    def measures(self, store: Store, evicted: Mapping[str, int]) -> Iterator[CacheMeasures]:
        """What was counted here: lookups of results and of the configuration, and what had to go by category."""
        if self._config is not None:
            hit = self._config.seal is None
            yield CacheMeasures(category=CONFIG, hits=int(hit), misses=int(not hit), entries=store.cache_size(CONFIG))
        if self._limits.results.enabled:
            yield CacheMeasures(
                category=RESULTS, hits=self._hits, misses=self._misses, entries=store.cache_size(RESULTS)
            )
        for category, number in evicted.items():
            yield CacheMeasures(category=category, evicted=number)
