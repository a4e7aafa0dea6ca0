"""Rows as text: a table for people, JSON, NDJSON or CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from checker import plain_text


def ndjson(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One JSON object a line."""
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
    """The text of an answer as ``json``, which is the document, ``ndjson``, a line a record, or ``csv``, one a row."""
    if fmt == "json":
        return iter((json(document),))
    return ndjson(records) if fmt == "ndjson" else csv_lines(columns, rows)


def part_of_json(record: Any) -> str:
    """A value as `json` has it, without a line end: to be put into an array that is written as it is read."""
    return _dumped(record, orjson.OPT_INDENT_2)


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
        return plain_text.csv_cell(_dumped(value, 0))
    return plain_text.csv_cell(value) if isinstance(value, str) else value


def _dumped(value: Any, option: int) -> str:
    """JSON that is safe to print; broken Unicode, which JSON cannot hold, is replaced."""
    try:
        text = orjson.dumps(value, option=option, default=str)
    except TypeError:
        text = orjson.dumps(_storable(value), option=option, default=str)
    return plain_text.json_text(text.decode())


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return plain_text.storable(value, len(value))
    if isinstance(value, Mapping):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list | tuple) else value
