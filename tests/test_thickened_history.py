"""A history whose runs are repeated is one that the product itself could have written, only larger."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise

import pytest

from conftest import ROOT
from storage.store import open_store

sys.path.append(str(ROOT / "scripts"))

from history.thicken import thicken
from history.write import Plan, write

SERVERS, RUNS, INTERVAL_S, TIMES = 5, 6, 1200, 4
STEP_MS = INTERVAL_S * 1000 // TIMES


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """As it was made up, and thickened."""
    folder = tmp_path_factory.mktemp("histories")
    plan = Plan(servers=SERVERS, days=1, rows=2 * SERVERS * RUNS, interval_s=INTERVAL_S, older_interval_s=7200, seed=3)
    write(folder / "thick.db", plan)
    with (
        closing(sqlite3.connect(folder / "thick.db")) as thin,
        closing(sqlite3.connect(folder / "thin.db")) as copy,
    ):
        thin.backup(copy)
    thicken(folder / "thick.db", TIMES, INTERVAL_S * 1000)
    with open_store(folder / "thick.db"):
        pass
    with (
        closing(sqlite3.connect(folder / "thin.db")) as made_up,
        closing(sqlite3.connect(folder / "thick.db")) as thick,
    ):
        yield made_up, thick


@pytest.mark.parametrize("part", ["sorted_checks", "sorted_probes"])
def test_each_row_stands_for_so_many_that_differ_in_run_and_time(
    histories: tuple[sqlite3.Connection, sqlite3.Connection], part: str
) -> None:
    thin, thick = ([dict(zip(_columns(one, part), row, strict=True)) for row in _rows(one, part)] for one in histories)
    first = min(row["run_id"] for row in thin)
    expected = [
        row
        | {
            "run_id": (row["run_id"] - first) * TIMES + first + number,
            "started_at_ms": row["started_at_ms"] + number * STEP_MS,
        }
        for row in thin
        for number in range(TIMES)
    ]
    assert _in_order(thick) == _in_order(expected)


def test_each_check_has_its_run_and_runs_are_in_order_of_time(
    histories: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    _, thick = histories
    assert thick.execute("pragma foreign_key_check").fetchall() == []
    assert thick.execute("pragma integrity_check").fetchall() == [("ok",)]
    runs = thick.execute("select id, started_at_ms, finished_at_ms from runs order by id").fetchall()
    assert len(runs) == 1 + RUNS * TIMES
    assert [later[1] - one[1] for one, later in pairwise(runs[1:])] == [STEP_MS] * (len(runs) - 2)
    assert len({finished - started for _, started, finished in runs[1:]}) == 1


def test_tables_and_indexes_are_those_of_any_history(
    histories: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    thin, thick = (set(one.execute("select type, name, sql from sqlite_master").fetchall()) for one in histories)
    assert thin == thick


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"pragma table_info({table})")]


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    return connection.execute(f"select * from {table}").fetchall()


def _in_order(rows: list[dict[str, object]]) -> list[list[tuple[str, object]]]:
    return sorted((sorted(row.items()) for row in rows), key=repr)
