"""Rows into tables, as fast as the driver takes them: only what has a value is bound, rows of one shape together.

A probe has some forty columns, most of them null, and binding a null takes as long as binding a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table


def insert_new(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> int:
    """Insert the rows whose key is not there yet, and give their number."""
    shapes: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in rows:
        given = {name: value for name, value in row.items() if value is not None}
        shapes.setdefault(tuple(given), []).append(tuple(map(_plain, given.values())))
    if not shapes:
        return 0
    before = _changes(connection)
    for names, values in shapes.items():
        connection.exec_driver_sql(_statement(table.name, names), values)
    return _changes(connection) - before


def insert_rows(connection: Connection, table: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows of these columns, of values that the driver binds as they are."""
    if rows:
        places = ", ".join("?" * len(names))
        statement = f"insert into {table.name} ({', '.join(names)}) values ({places})"  # noqa: S608 # our names
        connection.exec_driver_sql(statement, list(rows))


def _plain(value: Any) -> Any:
    """What the driver binds without looking for an adapter."""
    if isinstance(value, Enum):
        return value.value
    return int(value) if value is True or value is False else value


@lru_cache(maxsize=1024)
def _statement(table: str, names: tuple[str, ...]) -> str:
    places = ", ".join("?" * len(names))
    return f"insert into {table} ({', '.join(names)}) values ({places}) on conflict do nothing"  # noqa: S608 # our names


def _changes(connection: Connection) -> int:
    return int(connection.exec_driver_sql("select total_changes()").scalar() or 0)
