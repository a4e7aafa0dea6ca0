"""Cache entries: stored, looked up, evicted when they expire or their category is full, and listed for users."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

import orjson
from msgspec import Struct

from checker.cache_keys import DNS
from checker.errors import UsageError
from checker.model import CacheEntry
from storage import result_entries
from storage.connections import DatabaseConnection, errors_of
from storage.history import reading
from storage.result_entries import LISTED, RESULTS

CONFIG = "config"
"""Category: path and environment of a configuration -> its settings, encrypted."""

_values = attrgetter("category", "key", "value", "created_at_ms", "expires_at_ms")
_KEEP = """insert into cache_entries (category, key, value, created_at_ms, expires_at_ms) values (?, ?, ?, ?, ?)
    on conflict (category, key) do update set
    value = excluded.value, created_at_ms = excluded.created_at_ms, expires_at_ms = excluded.expires_at_ms"""
"""It runs in every transaction of a run."""
_KEEP_FIRST = _KEEP.partition("on conflict")[0] + "on conflict (category, key) do nothing"
_OF_THEIR_OWN = {RESULTS, CONFIG}
"""Categories whose keys are neither endpoints nor hosts."""
_MOST_LETTERS = 64 * 1024
"""Largest size of a key and its value, in characters, for data about a server."""
_FOR_GOOD = {"oauth_issuer"}
"""Categories that are only cleared by name, and whose first entry for a key stays."""
_USE_STEP_MS = 60_000
"""A use is recorded at most once a minute: exact times are not needed, and would rewrite every entry in every run."""
_LAST_USE = "max(used_at_ms, created_at_ms)"
_CATEGORIES = """with recursive found(category) as (
        select min(category) from cache_entries
        union all
        select (select min(category) from cache_entries where category > found.category) from found
        where found.category is not null
    ) select category from found where category is not null"""
"""Jumps from one category to the next; ``select distinct`` would read the whole table."""
_THESE = """category in (select value from json_each(:categories)) and key in (select value from json_each(:keys))
    and expires_at_ms > :now_ms"""
_RECALL = f"select key, category, value from cache_entries where {_THESE}"  # noqa: S608 # our words
_NOTE_RECALL = f"update cache_entries set used_at_ms = :now_ms where {_THESE} and used_at_ms < :before_ms"  # noqa: S608
_NOTE_USE = """update cache_entries set used_at_ms = :now_ms
    where category = :category and key in (select value from json_each(:keys))"""
_ABOVE = f"""select category, key from {LISTED} where category in (select value from json_each(?))
    order by {_LAST_USE} desc, category, key limit -1 offset ?"""  # noqa: S608 # our words
_COUNT = "select count(*) from cache_entries where category = ?"
_SHOWN = f"select count(*) from {LISTED} where category = ? and key = coalesce(?, key)"  # noqa: S608 # our words
_SHRINK = f"""delete from cache_entries where category = :category and key in (
    select key from {LISTED} where category = :category order by {_LAST_USE}, key limit :above)"""  # noqa: S608


def categories(connection: DatabaseConnection) -> list[str]:
    """The categories that have entries, sorted."""
    return connection.exec_driver_sql(_CATEGORIES).scalars()


def keep(connection: DatabaseConnection, entries: Iterable[CacheEntry]) -> None:
    """Write entries; a new entry replaces the one under the same key, unless that one is kept forever.

    Entries larger than anything useful to remember about a server are skipped.
    """
    if small := [entry for entry in entries if _is_small(entry)]:
        if rows := [_values(entry) for entry in small if entry.category not in _FOR_GOOD]:
            connection.exec_driver_sql(_KEEP, rows)
        if rows := [_values(entry) for entry in small if entry.category in _FOR_GOOD]:
            connection.exec_driver_sql(_KEEP_FIRST, rows)


def _is_small(entry: CacheEntry) -> bool:
    return entry.category in _OF_THEIR_OWN or len(entry.value) + len(entry.key) <= _MOST_LETTERS


def recall(connection: DatabaseConnection, keys: Iterable[str], now_ms: int) -> dict[str, dict[str, str]]:
    """The unexpired entries under these keys: key -> category -> value; marks them as used now."""
    recalled: dict[str, dict[str, str]] = {}
    if not (of_endpoints := set(categories(connection)) - _OF_THEIR_OWN):
        return recalled
    these = {"categories": _listed(of_endpoints), "keys": _listed(set(keys)), "now_ms": now_ms}
    for key, category, value in connection.exec_driver_sql(_RECALL, these):
        recalled.setdefault(key, {})[category] = value
    if recalled:
        connection.exec_driver_sql(_NOTE_RECALL, {**these, "before_ms": now_ms - _USE_STEP_MS})
    return recalled


def note_use(connection: DatabaseConnection, category: str, keys: Collection[str], now_ms: int) -> None:
    """Mark these entries as used now."""
    if keys:
        connection.exec_driver_sql(_NOTE_USE, {"now_ms": now_ms, "category": category, "keys": _listed(keys)})


def give_up(
    connection: DatabaseConnection, now_ms: int, sizes: Mapping[str, int], most_in_all: int | None = None
) -> dict[str, int]:
    """Evict expired entries, then in each category the least recently used ones above its size.

    ``most_in_all`` is the size limit of all these categories together. Returns the number of entries evicted for size,
    by category.
    """
    connection.exec_driver_sql("delete from cache_entries where expires_at_ms <= ?", (now_ms,))
    gone = {category: number for category, size in sizes.items() if (number := _shrink(connection, category, size))}
    if most_in_all is not None:
        for category, key in connection.exec_driver_sql(_ABOVE, (_listed(sizes), most_in_all)).all():
            connection.exec_driver_sql("delete from cache_entries where category = ? and key = ?", (category, key))
            gone[category] = gone.get(category, 0) + 1
    return gone


def count(connection: DatabaseConnection, category: str) -> int:
    """Number of entries in a category."""
    if category == RESULTS:
        return result_entries.count(connection)
    return int(connection.exec_driver_sql(_COUNT, (category,)).scalar())


def clear(connection: DatabaseConnection, wanted: Collection[str], key: str | None = None) -> dict[str, int]:
    """Remove all entries of these categories, or only those under the key; returns the number removed by category.

    Without a category: all of them except the pinned authorization servers, which cannot be rediscovered.
    """
    removed = {}
    for name in categories(connection):
        if name in wanted or (not wanted and name not in _FOR_GOOD):
            shown = int(connection.exec_driver_sql(_SHOWN, (name, key)).scalar())
            gone = "delete from cache_entries where category = ? and key = coalesce(?, key)"
            if not connection.exec_driver_sql(gone, (name, key)).rowcount or shown:
                removed[name] = shown
    return removed


def _shrink(connection: DatabaseConnection, category: str, size: int) -> int:
    """Evict entries above the size; returns the number of them."""
    if category == RESULTS and result_entries.most(connection) <= size:
        return 0
    above = count(connection, category) - size
    if above <= 0:
        return 0
    connection.exec_driver_sql(_SHRINK, {"category": category, "above": above})
    return above


def _listed(keys: Iterable[str]) -> str:
    """Any number of keys as one parameter."""
    return orjson.dumps(sorted(keys)).decode()


AUTH_TOKENS = "auth_tokens"
OURS = (CONFIG, AUTH_TOKENS, DNS, RESULTS)
"""The categories that a configuration has options for, under ``run.caches``."""
_NOT_SHOWN = {CONFIG, AUTH_TOKENS}
"""Categories whose values are encrypted."""
# beside max(), SQLite takes a column without an aggregate from the row that has the largest
_HELD = f"""select category, count(*) as entries, count(*) filter (where expires_at_ms <= ?) as expired,
    sum(length(cast(key as blob)) + length(cast(value as blob))) as bytes,
    min(created_at_ms) as oldest_at_ms, max(created_at_ms) as newest_at_ms, expires_at_ms - created_at_ms as ttl_ms
    from {LISTED} group by category"""  # noqa: S608 # our words
_USED = """select category, sum(hits) as hits, sum(misses) as misses, sum(stale_hits) as stale_hits,
    sum(evicted) as evicted from run_caches
    where run_id in (select id from runs order by id desc limit ?) group by category"""
_LISTED = f"""select category, key, value, created_at_ms, expires_at_ms, used_at_ms from {LISTED}
    where (:category is null or category = :category) and (:before_ms is null or expires_at_ms <= :before_ms)
    order by category, {_LAST_USE} desc, key limit :limit"""  # noqa: S608 # our words


class CategoryRow(Struct, frozen=True, kw_only=True):
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


class EntryRow(Struct, frozen=True):
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
    with reading(path) as connection, errors_of(path):
        found = {row["category"]: row for row in connection.exec_driver_sql(_HELD, (now_ms,)).mappings()}
        for row in connection.exec_driver_sql(_USED, (newest_runs,)).mappings():
            found.setdefault(row["category"], {}).update(row)
    others = sorted(set(found) - set(OURS))
    return [CategoryRow(**found.get(category, {"category": category})) for category in (*OURS, *others)]


def cache_list(path: Path, category: str | None, limit: int, *, expired_before_ms: int | None = None) -> list[EntryRow]:
    """The entries of a category, or of all for None, most recently used first, at most ``limit``.

    With ``expired_before_ms`` only entries that have expired by then. Raises UsageError for an unknown category, and
    StorageError.
    """
    if category is not None:
        known_categories(path, [category])
    wanted = {"category": category, "before_ms": expired_before_ms, "limit": limit}
    with reading(path) as connection, errors_of(path):
        return [
            EntryRow(of, key, None if of in _NOT_SHOWN else value, created_at_ms, expires_at_ms, used_at_ms or None)
            for of, key, value, created_at_ms, expires_at_ms, used_at_ms in connection.exec_driver_sql(_LISTED, wanted)
        ]


def known_categories(path: Path, asked: Sequence[str] = ()) -> list[str]:
    """The existing categories; raises UsageError if a requested one does not exist."""
    with reading(path) as connection, errors_of(path):
        known = [*OURS, *(name for name in categories(connection) if name not in OURS)]
    for name in asked:
        if name not in known:
            raise UsageError(f'no cache category "{name}"; there are: {", ".join(known)}')
    return known
