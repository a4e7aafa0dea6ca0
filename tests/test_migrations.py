"""Schema versions: older databases are brought up to date whole or not at all, and those not known are refused."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from builders import AT_MS, batch, check, run_info, server
from checker.errors import StorageError
from storage.connections import DatabaseConnection, writing_connection
from storage.history import open_history
from storage.schema import MIGRATIONS, NEWEST, migrate
from storage.store import open_store

ROOT = Path(__file__).resolve().parent.parent
VERSION_1 = (ROOT / "tests" / "data" / "schema_1.sql").read_text()
APPLICATION_ID = "pragma application_id = 1296257107;"


def next_step(connection: DatabaseConnection) -> None:
    """The step to a version that nobody made yet, of what steps do: a new column, filled, a new table."""
    connection.exec_driver_sql("alter table recent_checks add column region text")
    connection.exec_driver_sql("update recent_checks set region = 'north'")
    connection.exec_driver_sql("create table regions (name text not null primary key)")


def killed_step(connection: DatabaseConnection) -> None:
    """The same, whose process is killed before it is over."""
    next_step(connection)
    os.kill(os.getpid(), signal.SIGKILL)


def migrated(path: Path, *steps: Any) -> None:
    with writing_connection(path, 10.0) as connection, connection.begin():
        migrate(connection, str(path), (*MIGRATIONS, *steps))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of the newest version, with one check in it."""
    path = tmp_path / "history.db"
    with open_store(path) as store:
        store.write(store.begin_run(run_info(), [server()]), batch(check()))
    return path


def asked(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def shape(path: Path) -> dict[str, Any]:
    """Every table, view and index with its columns, in the order of their names, without their defaults."""
    names = asked(path, "select name from sqlite_master where type in ('table', 'view', 'index')")
    columns = {name: asked(path, f"pragma table_xinfo({name})") for (name,) in names}
    return {
        name: sorted((row[1], row[2].lower(), row[3], *row[5:]) for row in found) for name, found in columns.items()
    }


def test_oldest_schema_is_brought_up_to_date(tmp_path: Path, path: Path) -> None:
    """A column in storage/tables.py that no step adds to databases of version 1 fails here."""
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(VERSION_1)
    with open_store(old) as store:
        store.write(store.begin_run(run_info(), [server()]), batch(check()))
    assert shape(old) == shape(path)
    with open_history(old) as history:
        assert [row.server for row in history.checks_of_run(1)] == ["search"]


def test_history_of_the_first_schema_goes_on(tmp_path: Path) -> None:
    """Its raw rows stay where they are, in the order of servers; a result of before is not stored again."""
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(VERSION_1)
        connection.execute("insert into servers (id, name, group_name, tags) values (1, 'search', '', '[]')")
        connection.execute("insert into rollup_state (server_id, rolled_until_ms) values (1, 0)")
        for run_id in (1, 2):
            at_ms = AT_MS + run_id * 60_000
            connection.execute(
                "insert into runs (id, state, started_at_ms, servers_expected, workers, concurrency, checker_version, "
                "host, pid) values (?, 'finished', ?, 1, 1, 1, '0', 'h', 1)",
                (run_id, at_ms),
            )
            connection.execute(
                "insert into checks (server_id, run_id, started_at_ms, duration_us, status, tries) "
                "values (1, ?, ?, 1000, 'HEALTHY', 1)",
                (run_id, at_ms),
            )
            connection.execute(
                "insert into probes (server_id, run_id, kind, position, started_at_ms, duration_us, status, attempts) "
                "values (1, ?, 'rest', 0, ?, 1000, 'HEALTHY', 1)",
                (run_id, at_ms),
            )
        connection.commit()
    with open_history(old) as history:
        assert [row.run_id for row in history.checks_of_server("search", 0, 9)] == [2, 1]
    with open_store(old) as store:
        newest = store.begin_run(run_info(started_at_ms=AT_MS + 3 * 60_000), [server()])
        assert store.write(newest, batch(check(started_at_ms=AT_MS + 3 * 60_000))) == 1
        assert store.write(2, batch(check(started_at_ms=AT_MS + 2 * 60_000))) == 0
    assert asked(old, "select run_id from sorted_checks") == [(1,), (2,)]
    assert asked(old, "select run_id from recent_checks") == [(newest,)]
    assert asked(old, "select run_id, kind from probe_history where server = 'search' and run_id < 3") == [
        (1, "rest"),
        (2, "rest"),
    ]
    assert asked(old, "pragma integrity_check") == [("ok",)]


def test_step_is_taken_once_and_keeps_what_is_there(path: Path) -> None:
    before = asked(path, "select server_id, run_id, status from checks")
    for _ in range(2):
        migrated(path, next_step)
    assert asked(path, "select region, server_id, run_id, status from recent_checks") == [("north", *before[0])]
    assert asked(path, "select version from schema_migrations") == [(NEWEST,), (NEWEST + 1,)]
    assert asked(path, "select server from latest_status") == [("search",)]


def test_new_database_takes_no_steps(tmp_path: Path) -> None:
    path = tmp_path / "new.db"

    def impossible(_connection: DatabaseConnection) -> None:
        raise AssertionError("the tables of a new database are those of the newest version")

    migrated(path, impossible)
    assert asked(path, "select version from schema_migrations") == [(NEWEST + 1,)]


def test_process_killed_half_way_leaves_the_version_before(path: Path) -> None:
    before = shape(path)
    code = f"""
import sys
from pathlib import Path
sys.path[:0] = ["tests", "tests/support"]
from test_migrations import {killed_step.__name__}, migrated
migrated(Path({str(path)!r}), {killed_step.__name__})
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert shape(path) == before
    with open_store(path) as store:
        store.begin_run(run_info(), [server()])
    migrated(path, next_step)
    assert asked(path, "select region from recent_checks") == [("north",)]


def test_step_that_fails_leaves_the_version_before(path: Path) -> None:
    before = shape(path)

    def failing(connection: DatabaseConnection) -> None:
        next_step(connection)
        raise StorageError("no")

    with pytest.raises(StorageError, match="no"):
        migrated(path, failing)
    assert shape(path) == before
    assert asked(path, "select version from schema_migrations") == [(NEWEST,)]


def test_newer_database_is_refused_with_the_remedy(path: Path) -> None:
    migrated(path, next_step)
    said = rf"newer version of mcp-status-check \(schema {NEWEST + 1}, .* {NEWEST}\); upgrade the program"
    with pytest.raises(StorageError, match=said), open_store(path):
        pass
    with pytest.raises(StorageError, match=said), open_history(path):
        pass
    assert asked(path, "select count(*) from checks") == [(1,)]


def test_database_from_before_the_first_release_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """Whatever version it says it has: those numbers were of other schemas."""
    for version in (1, 7):
        path = tmp_path / f"{version}.db"
        with closing(sqlite3.connect(path)) as connection:
            assert APPLICATION_ID in VERSION_1
            connection.executescript(VERSION_1.replace(APPLICATION_ID, ""))
            connection.execute("update schema_migrations set version = ?", (version,))
            connection.commit()
        said = rf"{version}\.db: made by mcp-status-check before its first release.* move the file away"
        with pytest.raises(StorageError, match=said), open_store(path):
            pass
        with pytest.raises(StorageError, match=said), open_history(path):
            pass
        assert asked(path, "select version from schema_migrations") == [(version,)]
