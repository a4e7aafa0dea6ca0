"""Cache entries as they are written: kept, recalled, given up when they expire or when their category is full."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter

import orjson
from sqlalchemy import ColumnElement, Connection, and_, cast, delete, exists, func, or_, select, text, update
from sqlalchemy import Integer as WholeNumber

from checker.model import CacheEntry, Reason, Status
from storage.tables import cache_entries, checks, probes, servers

RESULTS = "results"
"""Category: SHA-256 of a server and its options -> the run that checked it last."""
CONFIG = "config"
"""Category: path and environment of a configuration -> its settings, sealed."""

_values = attrgetter("category", "key", "value", "created_at_ms", "expires_at_ms")
_KEEP = """insert into cache_entries (category, key, value, created_at_ms, expires_at_ms) values (?, ?, ?, ?, ?)
    on conflict (category, key) do update set
    value = excluded.value, created_at_ms = excluded.created_at_ms, expires_at_ms = excluded.expires_at_ms"""
"""Written out, because there is one for each check: a Core statement takes four times as long."""
_KEEP_FIRST = _KEEP.partition("on conflict")[0] + "on conflict (category, key) do nothing"
_OF_THEIR_OWN = {RESULTS, CONFIG}
"""Categories whose keys are no endpoints and no hosts."""
_MOST_LETTERS = 64 * 1024
"""Of a key and its value, of what is remembered of a server."""
_FOR_GOOD = {"oauth_issuer"}
"""Categories that are only cleared by name, and of whose entries the first one stays."""
_USE_STEP_MS = 60_000
"""A use is noted once a minute: which entry was used last is not worth writing all of them in every run."""
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
    """Write entries; a newer one takes the place of the one under the same key, but where it is kept for good.

    One that is larger than anything that is worth remembering of a server is left out.
    """
    if small := [entry for entry in entries if _is_small(entry)]:
        if rows := [_values(entry) for entry in small if entry.category not in _FOR_GOOD]:
            connection.exec_driver_sql(_KEEP, rows)
        if rows := [_values(entry) for entry in small if entry.category in _FOR_GOOD]:
            connection.exec_driver_sql(_KEEP_FIRST, rows)


def _is_small(entry: CacheEntry) -> bool:
    return entry.category in _OF_THEIR_OWN or len(entry.value) + len(entry.key) <= _MOST_LETTERS


def recall(connection: Connection, keys: Iterable[str], now_ms: int) -> dict[str, dict[str, str]]:
    """What is remembered under these keys and has not expired: key -> category -> value; noted as used now."""
    recalled: dict[str, dict[str, str]] = {}
    these = (
        cache_entries.c.category.in_(set(categories(connection)) - _OF_THEIR_OWN),
        _among(sorted(keys)),
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
    """Note that these entries were used now."""
    if keys:
        these = cache_entries.c.category == category, _among(sorted(keys))
        connection.execute(update(cache_entries).where(*these).values(used_at_ms=now_ms))


def young_results(connection: Connection, keys: Mapping[str, str], since_ms: int, now_ms: int) -> dict[str, int]:
    """Server -> the run that checked it last, for those whose check then began after ``since_ms``.

    ``keys`` are those of the category `RESULTS` with the names of their servers. Results that are UNKNOWN or suspect
    or that stand for a probe that was not made are left out.
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
    """Remove what has expired, then of each category what is above its size, the longest unused first.

    ``most_in_all`` is the size of all these categories together. Gives how many entries of which category were above
    a size.
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
    """The entries of a category."""
    number = select(func.count()).select_from(cache_entries).where(cache_entries.c.category == category)
    return connection.scalar(number) or 0


def clear(connection: Connection, wanted: Collection[str], key: str | None = None) -> dict[str, int]:
    """Remove all entries of these categories, or those under the key; how many they were, by category.

    Where no category is named it is all of them but the pinned authorization servers, which cannot be found out anew.
    """
    of_key = () if key is None else (cache_entries.c.key == key,)
    removed = {}
    for name in categories(connection):
        if name in wanted or (not wanted and name not in _FOR_GOOD):
            gone = connection.execute(delete(cache_entries).where(cache_entries.c.category == name, *of_key))
            removed[name] = gone.rowcount
    return removed


def _shrink(connection: Connection, category: str, size: int) -> int:
    """Remove what is above the size; how many entries that were."""
    above = count(connection, category) - size
    if above <= 0:
        return 0
    of_it = cache_entries.c.category == category
    oldest = select(cache_entries.c.key).where(of_it).order_by(_LAST_USE, cache_entries.c.key).limit(above)
    connection.execute(delete(cache_entries).where(of_it, cache_entries.c.key.in_(oldest)))
    return above


def _among(keys: list[str]) -> ColumnElement[bool]:
    """Whether the key is one of these, however many: they are one parameter."""
    listed = func.json_each(orjson.dumps(keys).decode()).table_valued("value")
    return cache_entries.c.key.in_(select(listed.c.value))
