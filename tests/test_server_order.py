"""Raw rows in two parts: new ones by run, the others by server, moved in bulk; whoever reads sees one history."""

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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pasts import HOUR_MS, MINUTE_MS, past_of, write_past

from builders import AT_MS, batch, check, facts, probe, run_info, server
from checker.limits import Keep
from checker.model import Remark, RemarkName, RunState
from reports import availability, incidents
from storage import server_order
from storage.database_file import database_info
from storage.history import open_history
from storage.servers import forget, rename
from storage.store import open_store
from storage.views import VIEWS

ROOT = Path(__file__).resolve().parent.parent
WORDS = {"a": "HHUUUHH?SHMHHDDH", "b": "H" * 16, "c": "HU" * 8, "d": "...H...H...U...H"}
READ = ("checks", "probes", *(view.name for view in VIEWS if not view.name.startswith("bench")))
RAW_ROWS = ("recent_checks", "recent_probes", "sorted_checks", "sorted_probes")


def asked(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def numbers(path: Path) -> dict[str, int]:
    return {name: asked(path, f"select count(*) from {name}")[0][0] for name in RAW_ROWS}


def moved(path: Path, slices: int | None = None) -> None:
    """Move all rolled rows, or only the first slices, of one server each."""
    with open_store(path) as store:
        with store.transaction() as connection:
            planned = server_order.plan(connection, 0, rows_of_a_page=0, checks_at_once=1)
        for one in planned[:slices]:
            with store.transaction() as connection:
                server_order.move(connection, one)


def all_that_is_read(path: Path, now_ms: int) -> dict[str, Any]:
    """Every view, every run and server of the history, and two reports that read raw rows."""
    found: dict[str, Any] = {name: sorted(asked(path, f"select * from {name}"), key=repr) for name in READ}
    with open_history(path) as history:
        for (run_id,) in asked(path, "select id from runs"):
            found[f"run {run_id}"] = history.checks_of_run(run_id), history.statuses_of_run(run_id)
        for (name,) in asked(path, "select name from servers"):
            found[name] = history.checks_of_server(name, 0, 7), history.checks_of_server(name, AT_MS + HOUR_MS, 100)
    with past_of(path, now_ms) as (past, period):
        for report in (availability, incidents):
            found[report.__name__] = repr(report.build(past, period))
    info = database_info(path)
    return found | {name: info[name] for name in ("rows_checks", "rows_probes", "checks_since")}


def test_rows_move_when_there_is_a_page_of_each_server(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    enough = server_order.ROWS_OF_A_PAGE
    now_ms = write_past(path, {"a": "H" * (enough - 1), "b": "H" * (enough - 1)})
    with open_store(path) as store:
        store.roll(now_ms + HOUR_MS)
    assert numbers(path)["sorted_checks"] == 0
    write_past(path, {"a": "HH", "b": "HH"}, at_ms=now_ms, roll=False)
    with open_store(path) as store:
        store.roll(now_ms + 2 * HOUR_MS)
    moved_rows = 2 * (enough + 1)
    assert numbers(path) == dict(zip(RAW_ROWS, (0, 0, moved_rows, moved_rows), strict=True))


def test_servers_with_few_rows_wait_and_a_roll_is_followed_by_a_bounded_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.db"
    words = {"a": "H" * 20, "b": "HHH" + "." * 17, "c": "H" * 20, "d": "H" * 20}
    write_past(path, words, every_ms=13 * MINUTE_MS)
    monkeypatch.setattr(server_order, "CHECKS_AFTER_A_ROLL", 30)
    for rolled, servers in ((0, [[1], [3]]), (30, [[1], [3], [4]])):
        with open_store(path) as store, store.transaction() as connection:
            planned = server_order.plan(connection, rolled, rows_of_a_page=10, checks_at_once=15)
        assert [one.servers for one in planned] == servers


def test_rows_that_are_not_rolled_stay_with_the_recent(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    write_past(path, {"a": "H" * 90}, at_ms=AT_MS // HOUR_MS * HOUR_MS)
    assert (numbers(path)["sorted_checks"], numbers(path)["recent_checks"]) == (60, 30)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.dictionaries(st.sampled_from("abcd"), st.text("HDU?MS.", min_size=1, max_size=5), min_size=1),
    slices=st.integers(0, 4),
)
def test_a_move_changes_nothing_that_is_read(
    tmp_path_factory: pytest.TempPathFactory, words: dict[str, str], slices: int
) -> None:
    path = tmp_path_factory.mktemp("moved") / "h.db"
    now_ms = write_past(path, words, every_ms=13 * MINUTE_MS)
    before = all_that_is_read(path, now_ms)
    moved(path, slices)
    assert all_that_is_read(path, now_ms) == before
    moved(path)
    assert all_that_is_read(path, now_ms) == before
    rolled = asked(path, "select count(*) from recent_checks where run_id < (select first_run_id from rollup_marks)")
    assert rolled == [(0,)]


def test_texts_facts_and_remarks_move_too(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    told = (Remark(name=next(iter(RemarkName)), detail="odd"),)
    mcp = probe("mcp", mcp=facts(), remarks=told, stages_us={"wait": 7, "list": 9}, stderr_tail="words")
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server()])
        store.write(run_id, batch(check(probes=(probe(), mcp))))
        store.finish_run(run_id, RunState.FINISHED, AT_MS + 1000)
        store.roll(AT_MS + 2 * HOUR_MS)
    before = all_that_is_read(path, AT_MS + 2 * HOUR_MS)
    moved(path)
    assert numbers(path) == dict(zip(RAW_ROWS, (0, 0, 1, 2), strict=True))
    assert all_that_is_read(path, AT_MS + 2 * HOUR_MS) == before


def test_a_row_that_was_moved_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server("a"), server("b")])
        store.write(run_id, batch(check("a")))
        store.finish_run(run_id, RunState.FINISHED, AT_MS + 1000)
        store.roll(AT_MS + 2 * HOUR_MS)
    moved(path)
    with open_store(path) as store:
        store.begin_run(run_info(started_at_ms=AT_MS + 2 * HOUR_MS), [server("a"), server("b")])
        assert store.write(run_id, batch(check("a"), check("b"))) == 1
        assert store.write(run_id, batch(check("a"), check("b"))) == 0
        store.roll(AT_MS + 4 * HOUR_MS)
    assert numbers(path) == dict(zip(RAW_ROWS, (1, 2, 1, 2), strict=True))
    moved(path)
    assert numbers(path) == dict(zip(RAW_ROWS, (0, 0, 2, 4), strict=True))
    assert asked(path, "select server, healthy from hourly_outcomes where kind = 'check'") == [("a", 1), ("b", 1)]


def test_a_move_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    now_ms = write_past(path, WORDS, every_ms=13 * MINUTE_MS)
    before = all_that_is_read(path, now_ms)
    code = f"""
import os, signal
from pathlib import Path
from storage import server_order
from storage.store import open_store
with open_store(Path({str(path)!r})) as store:
    with store.transaction() as connection:
        planned = server_order.plan(connection, 0, rows_of_a_page=0, checks_at_once=1)
    with store.transaction() as connection:
        server_order.move(connection, planned[0])
    with store.transaction() as connection:
        server_order.move(connection, planned[1])
        os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert asked(path, "select distinct server_id from sorted_checks") == [(1,)]
    assert all_that_is_read(path, now_ms) == before
    moved(path)
    assert len(asked(path, "select distinct server_id from sorted_checks")) == len(WORDS)
    assert all_that_is_read(path, now_ms) == before


def test_a_program_of_the_users_may_write_to_checks_and_probes_as_to_tables(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    write_past(path, WORDS, every_ms=13 * MINUTE_MS)
    moved(path, 2)
    assert all(numbers(path).values()), "rows are in both parts"
    before = {name: sorted(asked(path, f"select * from {name}"), key=repr) for name in ("checks", "probes")}
    with closing(sqlite3.connect(path)) as connection, connection:
        for part in ("sorted_checks", "recent_checks"):
            with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed"):
                connection.execute(
                    f"insert into checks select * from checks where (server_id, run_id) in "
                    f"(select server_id, run_id from {part} limit 1)"
                )
        connection.execute("update checks set detail = 'changed' where server_id = 1")
        for name, rows in before.items():
            connection.execute(f"delete from {name}")
            places = ", ".join("?" * len(rows[0]))
            connection.executemany(f"insert into {name} values ({places})", rows)
            assert sorted(connection.execute(f"select * from {name}"), key=repr) == rows
    assert numbers(path)["sorted_checks"] == 0


@pytest.mark.parametrize("slices", [0, 2, None])
def test_forgetting_renaming_and_pruning_reach_both_parts(tmp_path: Path, slices: int | None) -> None:
    path = tmp_path / "h.db"
    now_ms = write_past(path, WORDS, every_ms=13 * MINUTE_MS)
    now_ms = write_past(path, {"e": "HU"}, at_ms=now_ms)
    moved(path, slices)
    with open_store(path) as store:
        with store.transaction() as connection:
            assert forget(connection, "c")["checks"] == 16
            rename(connection, "a", "e")
        store.roll(now_ms + HOUR_MS)
        assert asked(path, "select count(*) from check_history where server = 'e'") == [(18,)]
        assert asked(path, "select count(*) from check_history where server = 'c'") == [(0,)]
        store.roll(now_ms + 72 * HOUR_MS)
        pruned = store.prune(Keep(raw=3600.0), now_ms + 72 * HOUR_MS)
    assert (pruned.rows["checks"], pruned.rows["probes"]) == (38, 38)
    assert numbers(path) == dict.fromkeys(RAW_ROWS, 0)


QUERIES = [
    f"select {columns} from {view.name} where {condition}"
    for view in VIEWS
    for column, condition in (("server", "server = 'a'"), ("run_id", "run_id = 3"))
    if column in [name for name, _, _ in view.columns] and view.name != "availability"
    for columns in ("*", "count(*)")
]


def test_no_view_is_read_through_for_one_server_or_one_run(tmp_path: Path) -> None:
    """Of either part, also where rows are counted: SQLite cannot use an index through a view over both."""
    path = tmp_path / "h.db"
    write_past(path, WORDS, every_ms=13 * MINUTE_MS)
    moved(path, 2)
    read_through = {}
    for query in QUERIES:
        plans = [row[3].split() for row in asked(path, f"explain query plan {query}")]
        if scanned := {plan[1] for plan in plans if plan[0] == "SCAN"} & {*RAW_ROWS, "c", "p", "k", "n", "b"}:
            read_through[query] = scanned
    assert len(QUERIES) > 20
    assert read_through == {}


def test_a_check_costs_as_many_bytes_in_a_long_history_as_in_an_empty_one(tmp_path: Path) -> None:
    """Counted in the pages of the log: rows in the order of servers write one of each server, wherever that is."""
    names = [f"server-{number:03d}" for number in range(300)]
    written = {}
    for runs in (0, 200):
        path = tmp_path / f"{runs}.db"
        with open_store(path) as store:
            fleet = [server(name) for name in names]
            store.finish_run(store.begin_run(run_info(), fleet), RunState.FINISHED, AT_MS)
            with store.transaction() as connection:
                for number in range(2, runs + 2):
                    values = f"{number}, 'finished', {AT_MS}, {len(names)}, 1, 1, '', '', 0"
                    connection.exec_driver_sql(
                        "insert into runs (id, state, started_at_ms, servers_expected, workers, concurrency, "
                        f"checker_version, host, pid) values ({values})"
                    )
                for table, more in (("checks", ""), ("probes", "kind, position, attempts,")):
                    given = "1" if table == "checks" else "'rest', 0, 1"
                    connection.exec_driver_sql(
                        f"insert into sorted_{table} (server_id, run_id, {more} started_at_ms, duration_us, status"
                        f"{', tries' if table == 'checks' else ''}) select s.id, r.id, "
                        f"{'' if table == 'checks' else given + ','} {AT_MS}, 1, 'HEALTHY'"
                        f"{', 1' if table == 'checks' else ''} from servers s cross join runs r where r.id > 1"
                    )
                connection.exec_driver_sql(f"update rollup_marks set sorted_before_run_id = {runs + 2}")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        with open_store(path) as store:
            run_id = store.begin_run(run_info(servers_expected=len(names)), fleet)
            begun = os.path.getsize(f"{path}-wal")
            for low in range(0, len(names), 100):
                store.write(run_id, batch(*(check(name) for name in names[low : low + 100])))
            written[runs] = os.path.getsize(f"{path}-wal") - begun
    assert written[200] <= 1.1 * written[0]
