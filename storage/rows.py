"""Rows into tables, as fast as the driver takes them: only what has a value is bound, rows of one shape together.

A probe has some forty columns, most of them null. The driver looks for an adapter of whatever is not exactly a number,
text or bytes: for the nulls of a row that takes it longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table

_BOUND_AS_THEY_ARE = {int, float, str, bytes}


def insert_new(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> int:
    """Insert the rows whose key is not there yet, and give their number."""
    shapes: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in rows:
        given = {name: value for name, value in row.items() if value is not None}
        values = tuple(given.values())
        if not _BOUND_AS_THEY_ARE.issuperset(map(type, values)):
            values = tuple(map(_plain, values))
        shapes.setdefault(tuple(given), []).append(values)
    return sum(
        connection.exec_driver_sql(_statement(table.name, names), values).rowcount for names, values in shapes.items()
    )


def _plain(value: Any) -> Any:
    """What the driver binds without looking for an adapter."""
    if isinstance(value, Enum):
        return value.value
    return int(value) if value is True or value is False else value


@lru_cache(maxsize=1024)
def _statement(table: str, names: tuple[str, ...]) -> str:
    places = ", ".join("?" * len(names))
    return f"insert into {table} ({', '.join(names)}) values ({places}) on conflict do nothing"  # noqa: S608 # our names
