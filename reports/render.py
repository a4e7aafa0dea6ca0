"""Rows as text: a table for people, JSON, NDJSON or CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def ndjson(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One JSON object a line."""
    for record in records:
        yield orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE, default=str).decode()


def json(document: Any) -> str:
    """One indented JSON document."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str).decode()


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A header line and a line a row (RFC 4180); text that a spreadsheet would run is quoted with an apostrophe."""
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
        return orjson.dumps(value, default=str).decode()
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
