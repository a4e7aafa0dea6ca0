"""The connection to the database: text for the driver and statements of SQLAlchemy are of one transaction."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from checker.errors import StorageError
from storage.connections import DatabaseConnection, errors_of, reading_connection
from storage.schema import NEWEST
from storage.schema_sql import defined, schema_sql
from storage.sqlite_driver import driver
from storage.store import open_store
from storage.tables import urls

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "history.db"
    with open_store(path):
        pass
    return path


def kept(path: Path) -> list[Any]:
    # by the library that has the file open: another one in this process would take its locks away
    with closing(driver().connect(path)) as connection:
        return [row[0] for row in connection.execute("select url from urls order by url")]


def write_both_ways(connection: DatabaseConnection, more: Any = "") -> None:
    connection.exec_driver_sql("insert into urls (url) values (?)", ("as text",))
    connection.execute(insert(urls).values(url="by SQLAlchemy"))
    assert len(more) == 0


def test_both_ways_write_to_one_transaction(path: Path) -> None:
    with open_store(path) as store:
        with store.transaction() as connection:
            write_both_ways(connection)
            assert connection.exec_driver_sql("select url from urls").scalars() == ["as text", "by SQLAlchemy"]
            assert connection.scalars(select(urls.c.url).order_by(urls.c.url)).all() == ["as text", "by SQLAlchemy"]
            assert connection.of_driver.in_transaction
            assert kept(path) == []  # loading SQLAlchemy in the middle ended nothing
        assert kept(path) == ["as text", "by SQLAlchemy"]


def test_failed_transaction_keeps_nothing_and_the_next_one_works(path: Path) -> None:
    with open_store(path) as store:
        with pytest.raises(TypeError), store.transaction() as connection:
            write_both_ways(connection, None)
        assert kept(path) == []
        with store.transaction() as connection:
            write_both_ways(connection)
        assert kept(path) == ["as text", "by SQLAlchemy"]


def test_connection_for_reading_writes_in_neither_way(path: Path) -> None:
    connection = DatabaseConnection(reading_connection(path))
    with closing(connection):
        with pytest.raises(StorageError, match="cannot be written"), errors_of(path):
            connection.exec_driver_sql("insert into urls (url) values ('x')")
        with pytest.raises(StorageError, match="cannot be written"), errors_of(path):
            connection.execute(insert(urls).values(url="x"))
    assert kept(path) == []


def test_statement_for_many_rows_and_its_results(path: Path) -> None:
    with open_store(path) as store, store.transaction() as connection:
        rows = [("a",), ("b",), ("c",)]
        assert connection.exec_driver_sql("insert into urls (url) values (?)", rows).rowcount == 3
        found = "select id, url from urls order by url"
        assert connection.exec_driver_sql(found).first() == (1, "a")
        assert connection.exec_driver_sql(found).mappings()[2] == {"id": 3, "url": "c"}
        assert list(connection.exec_driver_sql(f"{found} limit 2")) == [(1, "a"), (2, "b")]
        nothing = connection.exec_driver_sql("select id from urls where url = 'd'")
        assert nothing.scalar() is None
        with pytest.raises(LookupError):
            connection.exec_driver_sql("select id from urls where url = 'd'").one()


def test_schema_that_is_written_down_is_that_of_the_definitions() -> None:
    assert schema_sql(NEWEST) == defined()


def test_schema_that_was_written_for_other_stages_is_not_taken(tmp_path: Path) -> None:
    """In a program of its own, whose kinds of probes have one more stage."""
    code = """
import sys
from pathlib import Path
from checker import probe_kinds
probe_kinds.STAGES = {**probe_kinds.STAGES, "greeting": "connected to greeting"}
from storage.store import open_store
with open_store(Path(sys.argv[1])) as store, store.transaction() as connection:
    print(connection.exec_driver_sql("select greeting_us from probes").all())
"""
    command = [sys.executable, "-c", code, str(tmp_path / "h.db")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
