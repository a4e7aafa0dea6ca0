"""Rows of any query as text, while they are read: JSON, NDJSON and CSV; a table when it has them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from checker.errors import QueryError
from reports import render

_LARGEST_TABLE = 64 * 1024**2
"""Characters in all cells together: a table is laid out in memory."""


def lines(columns: Sequence[str], rows: Iterable[Sequence[Any]], fmt: str) -> Iterator[str]:
    """The rows as ``json`` (one array), ``ndjson`` or ``csv``; a BLOB is hexadecimal text."""
    if fmt == "csv":
        return render.csv_lines(columns, map(_plain_row, rows))
    names = distinct(columns)
    records = (dict(zip(names, _plain_row(row), strict=True)) for row in rows)
    return render.ndjson(records) if fmt == "ndjson" else _array(records)


def table_rows(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """All rows, for a table; raises QueryError where they are too much to lay out."""
    kept, size = [], 0
    for row in map(_plain_row, rows):
        kept.append(row)
        size += sum(len(value) if isinstance(value, str) else 8 for value in row)
        if size > _LARGEST_TABLE:
            raise QueryError("too much for a table; ask for fewer columns or rows, or add --format ndjson, or csv")
    return kept


def distinct(columns: Sequence[str]) -> list[str]:
    """The names of the columns with a number behind those that an earlier one has: JSON would lose it."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for column in columns:
        seen[column] += 1
        name = column if seen[column] == 1 else f"{column}_{seen[column]}"
        while name in names:
            seen[column] += 1
            name = f"{column}_{seen[column]}"
        names.append(name)
    return names


def _array(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What `render.json` makes of the list, record by record."""
    before = "[\n"
    for record in records:
        text = render.part_of_json(record)
        yield before + "  " + text.replace("\n", "\n  ")
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _plain_row(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value.hex() if isinstance(value, bytes) else value for value in row)
