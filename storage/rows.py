"""Fast reading and writing of table rows through the driver.

Only values that are not null are bound, and rows with the same columns go together. A probe has some forty columns,
most of them null. The driver looks for an adapter for everything that is not exactly a number, text or bytes: for the
nulls of a row that takes longer than all the rest.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from itertools import compress, repeat
from operator import is_not
from typing import TYPE_CHECKING, Any

from storage.connections import DatabaseConnection
from storage.sqlite_driver import driver

if TYPE_CHECKING:
    from sqlalchemy import Executable

_AT_ONCE = (100, 25, 5, 1)
"""Rows in a statement."""
_MOST_BOUND = 32_766 if driver().sqlite_version_info >= (3, 32) else 999
"""Values that SQLite binds in a statement (SQLITE_MAX_VARIABLE_NUMBER)."""
_BOUND_AS_THEY_ARE = {int, float, str, bytes}
_BOUND_OR_NULL = {*_BOUND_AS_THEY_ARE, type(None)}


def insert_new(connection: DatabaseConnection, table: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Insert the rows whose key does not exist yet, and return their number."""
    shapes: dict[tuple[tuple[str, ...], tuple[bool, ...]], list[tuple[Any, ...]]] = {}
    for row in rows:
        values = row.values()
        is_there = tuple(map(is_not, values, repeat(None)))
        given = tuple(compress(values, is_there))
        if not _BOUND_AS_THEY_ARE.issuperset(map(type, given)):
            given = tuple(map(_plain, given))
        shapes.setdefault((tuple(row), is_there), []).append(given)
    return sum(
        connection.exec_driver_sql(_statement(table, tuple(compress(names, is_there))), given).rowcount
        for (names, is_there), given in shapes.items()
    )


def insert_columns(
    connection: DatabaseConnection, table: str, columns: tuple[str, ...], values: Sequence[Any], run_id: int
) -> int:
    """Insert rows of a run whose key does not exist yet, and return their number.

    ``values`` are those of one row after another, and the driver must be able to bind them unchanged. A statement takes
    many rows, because each one costs more than a row; there are four sizes of it, so that all stay prepared.
    """
    width, added = len(columns), 0
    for low, rows in in_statements(len(values) // width, width):
        statement = _statement_of_run(table, columns, run_id, rows)
        bound = tuple(values[low * width : (low + rows) * width])
        added += connection.exec_driver_sql(statement, bound).rowcount
    return added


def in_statements(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """The number of rows of each of the statements that insert so many, after the place of its first one."""
    low = 0
    for at_once in _AT_ONCE:
        while rows - low >= at_once and (at_once == 1 or at_once * columns <= _MOST_BOUND):
            yield low, at_once
            low += at_once


def insert_or_update(
    connection: DatabaseConnection, table: str, key: str, names: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Insert rows of these columns; an existing row with the same key is overwritten, also by what is null."""
    shapes: dict[tuple[bool, ...], list[Any]] = {}
    for row in rows:
        is_there = tuple(map(is_not, row, repeat(None)))
        given: Iterator[Any] = compress(row, is_there)
        if not _BOUND_OR_NULL.issuperset(map(type, row)):
            given = map(_plain, given)
        if (into := shapes.get(is_there)) is None:
            into = shapes[is_there] = []
        into += given
    newest = ", ".join(f"{name} = excluded.{name}" for name in names if name != key)
    for is_there, values in shapes.items():
        columns = tuple(compress(names, is_there))
        place, width = f"({', '.join('?' * len(columns))})", len(columns)
        for low, number in in_statements(len(values) // width, width):
            statement = (
                f"insert into {table} ({', '.join(columns)}) values {', '.join([place] * number)} "  # noqa: S608 # our names
                f"on conflict ({key}) do update set {newest}"
            )
            connection.exec_driver_sql(statement, tuple(values[low * width : (low + number) * width]))


def insert_rows(
    connection: DatabaseConnection, table: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows of these columns; the driver must be able to bind their values unchanged."""
    if rows:
        places = ", ".join("?" * len(names))
        statement = f"insert into {table} ({', '.join(names)}) values ({places})"  # noqa: S608 # our names
        connection.exec_driver_sql(statement, list(rows))


def insert_one(connection: DatabaseConnection, table: str, row: Mapping[str, Any]) -> int:
    """Insert this row, and return its id."""
    places = ", ".join("?" * len(row))
    statement = f"insert into {table} ({', '.join(row)}) values ({places})"  # noqa: S608 # our names
    return connection.exec_driver_sql(statement, tuple(map(_plain, row.values()))).lastrowid


def _plain(value: Any) -> Any:
    """The value in a type that the driver binds without looking for an adapter."""
    if isinstance(value, Enum):
        return value.value
    return int(value) if value is True or value is False else value


@lru_cache(maxsize=1024)
def _statement(table: str, names: tuple[str, ...]) -> str:
    places = ", ".join("?" * len(names))
    return f"insert into {table} ({', '.join(names)}) values ({places}) on conflict do nothing"  # noqa: S608 # our names


@lru_cache(maxsize=1024)
def _statement_of_run(table: str, names: tuple[str, ...], run_id: int, rows: int) -> str:
    row = f"({run_id:d}, {', '.join('?' * len(names))})"
    return (
        f"insert into {table} (run_id, {', '.join(names)}) "  # noqa: S608 # our names
        f"values {', '.join([row] * rows)} on conflict do nothing"
    )


def of_ids(ids: Iterable[int]) -> str:
    """These ids as what follows IN: a list that is as long as it may be."""
    return f"(select value from json_each('[{','.join(map(str, map(int, ids)))}]'))"  # noqa: S608 # numbers


def of_names(names: Iterable[str]) -> str:
    """These names as what follows IN: few, so that SQLite knows how many."""
    quoted = ("'" + one.replace("'", "''") + "'" for one in sorted(names))
    return f"({', '.join(quoted)})"


def batches_of(connection: DatabaseConnection, found: str, rows: int) -> Iterator[list[Any]]:
    """Like `columns_of`, so many rows at a time: a result that is too large for memory."""
    result = connection.exec_driver_sql(found)
    while batch := result.some(rows):
        yield list(zip(*batch, strict=True))


def columns_of(
    connection: DatabaseConnection, found: Executable | str, number: int, values: Mapping[str, Any] | None = None
) -> list[Any]:
    """The selected columns, as the driver returns them."""
    rows = rows_of(connection, found, values)
    return list(zip(*rows, strict=True)) if rows else [()] * number


def rows_of(
    connection: DatabaseConnection, found: Executable | str, values: Mapping[str, Any] | None = None
) -> Sequence[Any]:
    """The selected rows, as the driver returns them: SQLAlchemy's own would take a third longer.

    Text is for the driver. Rows of numbers contain no cycles, but the garbage collector would scan all of them again
    and again.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        if isinstance(found, str):
            return connection.exec_driver_sql(found, values or {}).all()
        with connection.execute(found, values or {}) as result:
            return result.cursor.fetchall() if result.cursor is not None else ()
    finally:
        if collecting:
            gc.enable()
