"""What the cache holds and how much it helped, read for people; reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import LargeBinary, cast, func, select

from checker.errors import UsageError
from checker.memory import DNS
from storage.cache import CONFIG, RESULTS, categories
from storage.queries import reading
from storage.sqlite import errors_of
from storage.tables import cache_entries, run_caches, runs

AUTH_TOKENS = "auth_tokens"
OURS = (CONFIG, AUTH_TOKENS, DNS, RESULTS)
"""The categories that a configuration has options for, under ``run.caches``."""
_NOT_SHOWN = {CONFIG, AUTH_TOKENS}
"""Categories whose values are encrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryRow:
    """One category: what it holds now, and what the last runs counted."""

    category: str
    entries: int = 0
    expired: int = 0
    """Of these past their end; they go at the end of the next run."""
    bytes: int = 0
    """Keys and values."""
    hits: int = 0
    misses: int = 0
    stale_hits: int = 0
    evicted: int = 0
    oldest_at_ms: int | None = None
    newest_at_ms: int | None = None
    ttl_ms: int | None = None
    """How long the newest entry is good, from its beginning to its end."""

    @property
    def hit_ratio(self) -> float | None:
        """Hits among all lookups; None where nothing was looked up."""
        looked_up = self.hits + self.misses
        return self.hits / looked_up if looked_up else None


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One entry."""

    category: str
    key: str
    value: str | None
    """None for a category whose values are encrypted."""
    created_at_ms: int
    expires_at_ms: int
    used_at_ms: int | None
    """When a run last read it; None for never."""


def cache_stats(path: Path, newest_runs: int, now_ms: int) -> list[CategoryRow]:
    """Every category: those with options first, then the others by name; raises StorageError."""
    size = func.length(cast(cache_entries.c.key, LargeBinary)) + func.length(cast(cache_entries.c.value, LargeBinary))
    held = select(
        cache_entries.c.category,
        func.count().label("entries"),
        func.count().filter(cache_entries.c.expires_at_ms <= now_ms).label("expired"),
        func.sum(size).label("bytes"),
        func.min(cache_entries.c.created_at_ms).label("oldest_at_ms"),
        func.max(cache_entries.c.created_at_ms).label("newest_at_ms"),
        # beside max(), SQLite takes a column without an aggregate from the row that has the largest
        (cache_entries.c.expires_at_ms - cache_entries.c.created_at_ms).label("ttl_ms"),
    ).group_by(cache_entries.c.category)
    counted = ("hits", "misses", "stale_hits", "evicted")
    newest = select(runs.c.id).order_by(runs.c.id.desc()).limit(newest_runs)
    sums = (
        select(run_caches.c.category, *(func.sum(run_caches.c[name]).label(name) for name in counted))
        .where(run_caches.c.run_id.in_(newest))
        .group_by(run_caches.c.category)
    )
    with reading(path) as connection, errors_of(path):
        found = {row.category: dict(row._mapping) for row in connection.execute(held)}
        for row in connection.execute(sums):
            found.setdefault(row.category, {"category": row.category}).update(row._mapping)
    others = sorted(set(found) - set(OURS))
    return [CategoryRow(**found.get(category, {"category": category})) for category in (*OURS, *others)]


def cache_list(path: Path, category: str | None, limit: int, *, expired_before_ms: int | None = None) -> list[EntryRow]:
    """The entries of a category, of all where None is given: the one used last first, at most ``limit``.

    With ``expired_before_ms`` only those that have expired by then. Raises UsageError for a category that there is
    not, and StorageError.
    """
    last_use = func.max(cache_entries.c.used_at_ms, cache_entries.c.created_at_ms)
    wanted = select(
        cache_entries.c.category,
        cache_entries.c.key,
        cache_entries.c.value,
        cache_entries.c.created_at_ms,
        cache_entries.c.expires_at_ms,
        cache_entries.c.used_at_ms,
    )
    if category is not None:
        known_categories(path, [category])
        wanted = wanted.where(cache_entries.c.category == category)
    if expired_before_ms is not None:
        wanted = wanted.where(cache_entries.c.expires_at_ms <= expired_before_ms)
    wanted = wanted.order_by(cache_entries.c.category, last_use.desc(), cache_entries.c.key).limit(limit)
    with reading(path) as connection, errors_of(path):
        return [
            EntryRow(
                row.category,
                row.key,
                None if row.category in _NOT_SHOWN else row.value,
                row.created_at_ms,
                row.expires_at_ms,
                row.used_at_ms or None,
            )
            for row in connection.execute(wanted)
        ]


def known_categories(path: Path, asked: Sequence[str] = ()) -> list[str]:
    """The categories that there are; raises UsageError where one that is asked for is none of them."""
    with reading(path) as connection, errors_of(path):
        known = [*OURS, *(name for name in categories(connection) if name not in OURS)]
    for name in asked:
        if name not in known:
            raise UsageError(f'no cache category "{name}"; there are: {", ".join(known)}')
    return known
