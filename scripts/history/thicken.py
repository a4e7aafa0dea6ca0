"""A history with more runs than were made up, so that a large file takes minutes."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Table

from storage.tables import runs, sorted_checks, sorted_probes

_MADE_UP = """create temp table n as
with recursive n(value) as (select 0 union all select value + 1 from n where value + 1 < :times) select value from n"""
_SHIFTED = {
    "run_id": "(run_id - :first) * :times + :first + n.value",
    "started_at_ms": "started_at_ms + n.value * :step_ms",
}


def thicken(path: Path, times: int, interval_ms: int) -> None:
    """Put so many runs with their raw rows in place of each: itself, and others with the same results after it.

    ``interval_ms`` is what lies between the runs that are there. The buckets stay as they are: they count the runs that
    were made up, so nothing that compares buckets with raw rows can be asked of this history. The raw rows are written
    in the order of their key, as moving them would leave them.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # no journal: it would be as large as the history, and a file that was cut short is made again
        for pragma in ("journal_mode = off", "synchronous = off", "cache_size = -500000", "foreign_keys = off"):
            connection.execute(f"pragma {pragma}")
        (first,) = connection.execute("select min(run_id) from sorted_checks").fetchone()
        values = {"first": first, "times": times, "step_ms": interval_ms // times}
        connection.execute(_MADE_UP, values)
        indexes = connection.execute("select name, sql from sqlite_master where tbl_name = 'sorted_checks'").fetchall()
        indexes = [(name, sql) for name, sql in indexes if sql and sql.lower().startswith("create index")]
        connection.execute("begin")
        for name, _ in indexes:  # made anew they are written in order
            connection.execute(f"drop index {name}")
        for table in (sorted_checks, sorted_probes):
            _repeat(connection, table, values)
        _repeat(connection, runs, values, "where id >= :first")
        connection.execute(
            "update rollup_marks set first_run_id = (first_run_id - :first) * :times + :first,"
            " sorted_before_run_id = (sorted_before_run_id - :first) * :times + :first",
            values,
        )
        for _, sql in indexes:
            connection.execute(sql)
        connection.execute("commit")
        connection.execute("pragma journal_mode = wal")


def _repeat(connection: sqlite3.Connection, table: Table, values: dict[str, int], where: str = "") -> None:
    """Put so many rows in place of each of a table's, in the order of its key."""
    names = [column.name for column in table.columns]
    run = "id" if table is runs else "run_id"
    shifted = {**_SHIFTED, run: _SHIFTED["run_id"].replace("run_id", run)}
    if table is runs:
        shifted["finished_at_ms"] = _SHIFTED["started_at_ms"].replace("started", "finished")
    columns, all_of = ", ".join(names), ", ".join(shifted.get(name, name) for name in names)
    for statement in (
        f"create temp table made as select {columns} from {table.name} {where} order by {_key(table)}",
        f"delete from {table.name} {where}",
        f"insert into {table.name} ({columns}) select {all_of} from made cross join n",
        "drop table made",
    ):
        connection.execute(statement, values if ":" in statement else {})


def _key(table: Table) -> str:
    return ", ".join(column.name for column in table.primary_key)
