"""Cache statistics and entries as tables and documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.check_documents import iso
from reports.output_forms import rounded
from reports.run_as_text import spelled_duration
from reports.text_tables import Role, TextColumn, TextTable
from storage.cache import CategoryRow, EntryRow

STATS_COLUMNS = (
    "category",
    "entries",
    "expired",
    "bytes",
    "hits",
    "misses",
    "hit_ratio",
    "stale_hits",
    "evicted",
    "oldest_at",
    "newest_at",
    "ttl_s",
)
ENTRY_COLUMNS = ("category", "key", "value", "created_at", "expires_at", "used_at")
_NUMBERS = {"entries", "expired", "bytes", "hits", "misses", "hit_ratio", "stale_hits", "evicted", "ttl_s"}
_LONGEST_VALUE = 60
_LEAVES = {"evicted": 3, "expired": 2, "stale_hits": 2, "oldest_at": 2, "newest_at": 1}
"""Column -> its rank among those that a narrow terminal leaves out."""


def stats_document(row: CategoryRow) -> dict[str, Any]:
    """A category as a document with the keys `STATS_COLUMNS`."""
    return {
        "category": row.category,
        "entries": row.entries,
        "expired": row.expired,
        "bytes": row.bytes,
        "hits": row.hits,
        "misses": row.misses,
        "hit_ratio": None if row.hit_ratio is None else rounded(row.hit_ratio),
        "stale_hits": row.stale_hits,
        "evicted": row.evicted,
        "oldest_at": iso(row.oldest_at_ms),
        "newest_at": iso(row.newest_at_ms),
        "ttl_s": None if row.ttl_ms is None else row.ttl_ms / 1000,
    }


def stats_table(rows: Sequence[CategoryRow], now_ms: int) -> TextTable:
    """One line per category; ages instead of times."""
    columns = [
        TextColumn(
            name.removesuffix("_at").removesuffix("_s").replace("_", " "),
            Role.FIGURE if place else Role.NAME,
            right=name in _NUMBERS,
            rank=_LEAVES.get(name, 0),
        )
        for place, name in enumerate(STATS_COLUMNS)
    ]
    texts = []
    for row in rows:
        shown = stats_document(row)
        shown["hit_ratio"] = "" if row.hit_ratio is None else f"{100 * row.hits // (row.hits + row.misses)}%"
        shown["oldest_at"], shown["newest_at"] = (_ago(at, now_ms) for at in (row.oldest_at_ms, row.newest_at_ms))
        shown["ttl_s"] = "" if row.ttl_ms is None else spelled_duration(row.ttl_ms / 1000)
        texts.append([str(shown[name]) for name in STATS_COLUMNS])
    return TextTable.of_rows(columns, texts)


def entry_document(row: EntryRow) -> dict[str, Any]:
    """An entry as a document with the keys `ENTRY_COLUMNS`; its value is shortened, and null if it is encrypted."""
    value = row.value
    if value is not None and len(value) > _LONGEST_VALUE:
        value = value[: _LONGEST_VALUE - 1] + "…"
    return {
        "category": row.category,
        "key": row.key,
        "value": value,
        "created_at": iso(row.created_at_ms),
        "expires_at": iso(row.expires_at_ms),
        "used_at": iso(row.used_at_ms),
    }


def entries_table(rows: Sequence[EntryRow], now_ms: int) -> TextTable:
    """One line per entry; ages instead of times."""
    columns = [
        TextColumn("category", Role.NAME),
        TextColumn("key", Role.WORDS),
        TextColumn("created", rank=2),
        TextColumn("expires"),
        TextColumn("last used", rank=1),
        TextColumn("value", Role.REASON),
    ]
    texts = []
    for row in rows:
        shown = entry_document(row)
        left_s = (row.expires_at_ms - now_ms) / 1000
        texts.append(
            (
                row.category,
                row.key,
                _ago(row.created_at_ms, now_ms),
                f"in {spelled_duration(left_s)}" if left_s > 0 else "expired",
                "never" if row.used_at_ms is None else _ago(row.used_at_ms, now_ms),
                "(encrypted)" if row.value is None else str(shown["value"]),
            )
        )
    return TextTable.of_rows(columns, texts)


def _ago(at_ms: int | None, now_ms: int) -> str:
    return "" if at_ms is None else f"{spelled_duration(max(0, now_ms - at_ms) / 1000)} ago"
