"""Cache entries: stored, looked up, evicted when they expire or their category is full, and listed for users."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    and_,
    cast,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy import Integer as WholeNumber

from checker.cache_keys import DNS
from checker.errors import UsageError
from checker.model import CacheEntry, Reason, Status
from storage.connections import errors_of
from storage.history import reading
from storage.rows import in_statements
from storage.tables import cache_entries, checks, probes, run_caches, runs, servers

RESULTS = "results"
"""Category: SHA-256 of a server and its options -> the run that checked it last."""
CONFIG = "config"
"""Category: path and environment of a configuration -> its settings, encrypted."""

_values = attrgetter("category", "key", "value", "created_at_ms", "expires_at_ms")
_KEEP = """insert into cache_entries (category, key, value, created_at_ms, expires_at_ms) values (?, ?, ?, ?, ?)
    on conflict (category, key) do update set
    value = excluded.value, created_at_ms = excluded.created_at_ms, expires_at_ms = excluded.expires_at_ms"""
"""Literal SQL, because it runs once per check: a Core statement takes four times as long."""
_KEEP_FIRST = _KEEP.partition("on conflict")[0] + "on conflict (category, key) do nothing"
_KEEP_RESULTS = """insert into cache_entries (category, key, value, created_at_ms, expires_at_ms)
    select 'results', column1, '{run_id:d}', column2, column2 + {ttl_ms:d} from (values {places}) where true
    on conflict (category, key) do update set
    value = excluded.value, created_at_ms = excluded.created_at_ms, expires_at_ms = excluded.expires_at_ms"""
_OF_THEIR_OWN = {RESULTS, CONFIG}
"""Categories whose keys are neither endpoints nor hosts."""
_MOST_LETTERS = 64 * 1024
"""Largest size of a key and its value, in characters, for data about a server."""
_FOR_GOOD = {"oauth_issuer"}
"""Categories that are only cleared by name, and whose first entry for a key stays."""
_USE_STEP_MS = 60_000
"""A use is recorded at most once a minute: exact times are not needed, and would rewrite every entry in every run."""
_LAST_USE = func.max(cache_entries.c.used_at_ms, cache_entries.c.created_at_ms)
_CATEGORIES = text(
    """with recursive found(category) as (
        select min(category) from cache_entries
        union all
        select (select min(category) from cache_entries where category > found.category) from found
        where found.category is not null
    ) select category from found where category is not null"""
)
"""Jumps from one category to the next; ``select distinct`` would read the whole table."""


def categories(connection: Connection) -> list[str]:
    """The categories that have entries, sorted."""
    return list(connection.scalars(_CATEGORIES))


def keep(connection: Connection, entries: Iterable[CacheEntry]) -> None:
    """Write entries; a new entry replaces the one under the same key, unless that one is kept forever.

    Entries larger than anything useful to remember about a server are skipped.
    """
    if small := [entry for entry in entries if _is_small(entry)]:
        if rows := [_values(entry) for entry in small if entry.category not in _FOR_GOOD]:
            connection.exec_driver_sql(_KEEP, rows)
        if rows := [_values(entry) for entry in small if entry.category in _FOR_GOOD]:
            connection.exec_driver_sql(_KEEP_FIRST, rows)


def keep_results(connection: Connection, run_id: int, keys: Sequence[tuple[str, int]], ttl_ms: int) -> None:
    """Write an entry of the results cache for each key, with the start of its check; it replaces the one under it.

    In the order of the keys, and many in a statement: there is one for every check of every run.
    """
    for low, rows in in_statements(len(keys), 2):
        places = ", ".join(["(?, ?)"] * rows)
        values = [value for pair in keys[low : low + rows] for value in pair]
        connection.exec_driver_sql(_KEEP_RESULTS.format(places=places, run_id=run_id, ttl_ms=ttl_ms), tuple(values))


def _is_small(entry: CacheEntry) -> bool:
    return entry.category in _OF_THEIR_OWN or len(entry.value) + len(entry.key) <= _MOST_LETTERS


def recall(connection: Connection, keys: Iterable[str], now_ms: int) -> dict[str, dict[str, str]]:
    """The unexpired entries under these keys: key -> category -> value; marks them as used now."""
    recalled: dict[str, dict[str, str]] = {}
    if not (of_endpoints := set(categories(connection)) - _OF_THEIR_OWN):
        return recalled
    these = (
        cache_entries.c.category.in_(of_endpoints),
        _among(sorted(set(keys))),
        cache_entries.c.expires_at_ms > now_ms,
    )
    columns = select(cache_entries.c.key, cache_entries.c.category, cache_entries.c.value)
    for key, category, value in connection.execute(columns.where(*these)).all():
        recalled.setdefault(key, {})[category] = value
    if recalled:
        not_lately = cache_entries.c.used_at_ms < now_ms - _USE_STEP_MS
        connection.execute(update(cache_entries).where(*these, not_lately).values(used_at_ms=now_ms))
    return recalled


def note_use(connection: Connection, category: str, keys: Collection[str], now_ms: int) -> None:
    """Mark these entries as used now."""
    if keys:
        these = cache_entries.c.category == category, _among(sorted(keys))
        connection.execute(update(cache_entries).where(*these).values(used_at_ms=now_ms))


def young_results(connection: Connection, keys: Mapping[str, str], since_ms: int, now_ms: int) -> dict[str, int]:
    """Server -> the run that checked it last, for servers whose check began after ``since_ms``.

    ``keys`` are keys of the category `RESULTS` with the names of their servers. Results that are UNKNOWN, suspect or of
    a probe that was not made are skipped.
    """
    not_made = exists().where(
        probes.c.server_id == checks.c.server_id,
        probes.c.run_id == checks.c.run_id,
        or_(probes.c.status == Status.UNKNOWN, probes.c.reason == Reason.CIRCUIT_OPEN),
    )
    wanted = func.json_each(orjson.dumps(keys).decode()).table_valued("key", "value")
    of_key = cache_entries.c.category == RESULTS, cache_entries.c.key == wanted.c.key
    of_run = checks.c.server_id == servers.c.id, checks.c.run_id == cast(cache_entries.c.value, WholeNumber)
    found = (
        select(servers.c.name, checks.c.run_id)
        .select_from(wanted)
        .join(cache_entries, and_(*of_key))
        .join(servers, servers.c.name == wanted.c.value)
        .join(checks, and_(*of_run))
        .where(
            cache_entries.c.expires_at_ms > now_ms,
            checks.c.started_at_ms > since_ms,
            checks.c.started_at_ms <= now_ms,
            checks.c.status != Status.UNKNOWN,
            ~checks.c.suspect,
            ~not_made,
        )
    )
    return {row.name: row.run_id for row in connection.execute(found)}


def give_up(
    connection: Connection, now_ms: int, sizes: Mapping[str, int], most_in_all: int | None = None
) -> dict[str, int]:
    """Evict expired entries, then in each category the least recently used ones above its size.

    ``most_in_all`` is the size limit of all these categories together. Returns the number of entries evicted for size,
    by category.
    """
    connection.execute(delete(cache_entries).where(cache_entries.c.expires_at_ms <= now_ms))
    gone = {category: number for category, size in sizes.items() if (number := _shrink(connection, category, size))}
    if most_in_all is not None:
        of_these = cache_entries.c.category.in_(sizes)
        kept = select(cache_entries.c.category, cache_entries.c.key).where(of_these)
        oldest = kept.order_by(_LAST_USE.desc(), cache_entries.c.category, cache_entries.c.key)
        above = oldest.limit(-1).offset(most_in_all)
        for category, key in connection.execute(above).all():
            mine = cache_entries.c.category == category, cache_entries.c.key == key
            connection.execute(delete(cache_entries).where(*mine))
            gone[category] = gone.get(category, 0) + 1
    return gone


def count(connection: Connection, category: str) -> int:
    """Number of entries in a category."""
    number = select(func.count()).select_from(cache_entries).where(cache_entries.c.category == category)
    return connection.scalar(number) or 0


def clear(connection: Connection, wanted: Collection[str], key: str | None = None) -> dict[str, int]:
    """Remove all entries of these categories, or only those under the key; returns the number removed by category.

    Without a category: all of them except the pinned authorization servers, which cannot be rediscovered.
    """
    of_key = () if key is None else (cache_entries.c.key == key,)
    removed = {}
    for name in categories(connection):
        if name in wanted or (not wanted and name not in _FOR_GOOD):
            gone = connection.execute(delete(cache_entries).where(cache_entries.c.category == name, *of_key))
            removed[name] = gone.rowcount
    return removed


def _shrink(connection: Connection, category: str, size: int) -> int:
    """Evict entries above the size; returns the number of them."""
    above = count(connection, category) - size
    if above <= 0:
        return 0
    of_it = cache_entries.c.category == category
    oldest = select(cache_entries.c.key).where(of_it).order_by(_LAST_USE, cache_entries.c.key).limit(above)
    connection.execute(delete(cache_entries).where(of_it, cache_entries.c.key.in_(oldest)))
    return above


def _among(keys: list[str]) -> ColumnElement[bool]:
    """Condition that the key is one of these; any number of them is one parameter."""
    listed = func.json_each(orjson.dumps(keys).decode()).table_valued("value")
    return cache_entries.c.key.in_(select(listed.c.value))


AUTH_TOKENS = "auth_tokens"
OURS = (CONFIG, AUTH_TOKENS, DNS, RESULTS)
"""The categories that a configuration has options for, under ``run.caches``."""
_NOT_SHOWN = {CONFIG, AUTH_TOKENS}
"""Categories whose values are encrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryRow:
    """One category: its present content, and the counters of the last runs."""

    category: str
    entries: int = 0
    expired: int = 0
    """Expired entries among these; they are removed at the end of the next run."""
    bytes: int = 0
    """Size of keys and values in bytes."""
    hits: int = 0
    misses: int = 0
    stale_hits: int = 0
    evicted: int = 0
    oldest_at_ms: int | None = None
    newest_at_ms: int | None = None
    ttl_ms: int | None = None
    """Lifetime of the newest entry, from creation to expiry."""

    @property
    def hit_ratio(self) -> float | None:
        """Hits / lookups; None without lookups."""
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
    """Time at which a run last read it; None if never."""


def cache_stats(path: Path, newest_runs: int, now_ms: int) -> list[CategoryRow]:
    """All categories: those with options first, then the others by name; raises StorageError."""
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
    """The entries of a category, or of all for None, most recently used first, at most ``limit``.

    With ``expired_before_ms`` only entries that have expired by then. Raises UsageError for an unknown category, and
    StorageError.
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
    """The existing categories; raises UsageError if a requested one does not exist."""
    with reading(path) as connection, errors_of(path):
        known = [*OURS, *(name for name in categories(connection) if name not in OURS)]
    for name in asked:
        if name not in known:
            raise UsageError(f'no cache category "{name}"; there are: {", ".join(known)}')
    return known
