"""Rows as text for programs: JSON, NDJSON or CSV, all at once or streamed. Those for people: `reports.text_tables`."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from checker import untrusted_text
from checker.errors import QueryError


def ndjson(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One JSON object per line."""
    for record in records:
        yield _dumped(record, orjson.OPT_APPEND_NEWLINE)


def json(document: Any) -> str:
    """One indented JSON document."""
    return _dumped(document, orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def answer(
    fmt: str,
    document: Any,
    records: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> Iterator[str]:
    """The output as ``json`` (the document), ``ndjson`` (one record per line) or ``csv`` (one row per line)."""
    if fmt == "json":
        return iter((json(document),))
    return ndjson(records) if fmt == "ndjson" else csv_lines(columns, rows)


def part_of_json(record: Any) -> str:
    """A value formatted as in `json`, without a line end: an item of an array that is written as it is read."""
    return _dumped(record, orjson.OPT_INDENT_2)


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A header line and a line per row (RFC 4180); text that a spreadsheet would run is prefixed with an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for row in (columns, *rows) if isinstance(rows, Sequence) else _chain(columns, rows):
        writer.writerow([_cell(value) for value in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _chain(first: Sequence[Any], rest: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    yield first
    yield from rest


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list | tuple):
        return untrusted_text.csv_cell(_dumped(value, 0))
    return untrusted_text.csv_cell(value) if isinstance(value, str) else value


def _dumped(value: Any, option: int) -> str:
    """JSON that is safe to print; invalid Unicode, which JSON cannot represent, is replaced."""
    try:
        text = orjson.dumps(value, option=option, default=str)
    except TypeError:
        text = orjson.dumps(_storable(value), option=option, default=str)
    return untrusted_text.json_text(text.decode())


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return untrusted_text.storable(value, len(value))
    if isinstance(value, Mapping):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list | tuple) else value


_LARGEST_TABLE = 64 * 1024**2
"""Largest number of characters in all cells together: a table is laid out in memory."""


def lines(columns: Sequence[str], rows: Iterable[Sequence[Any]], fmt: str) -> Iterator[str]:
    """The rows as ``json`` (one array), ``ndjson`` or ``csv``; a BLOB is hexadecimal text."""
    if fmt == "csv":
        return csv_lines(columns, map(_plain_row, rows))
    names = distinct(columns)
    records = (dict(zip(names, _plain_row(row), strict=True)) for row in rows)
    return ndjson(records) if fmt == "ndjson" else _array(records)


def table_rows(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """All rows, for a table; raises QueryError if there are too many to lay out."""
    kept, size = [], 0
    for row in map(_plain_row, rows):
        kept.append(row)
        size += sum(len(value) if isinstance(value, str) else 8 for value in row)
        if size > _LARGEST_TABLE:
            raise QueryError("too much for a table; ask for fewer columns or rows, or add --format ndjson, or csv")
    return kept


def distinct(columns: Sequence[str]) -> list[str]:
    """Column names made unique with a number: JSON would lose duplicates."""
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
    """The same text as `json` makes of the list, record by record."""
    before = "[\n"
    for record in records:
        text = part_of_json(record)
        yield before + "  " + text.replace("\n", "\n  ")
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _plain_row(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value.hex() if isinstance(value, bytes) else value for value in row)
