"""The database: rows once and whole, readable names, one writer at a time, and nothing lost to a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields

from builders import AT_MS, batch, check, facts, probe, run_info, server
from checker.errors import QueryError, StorageBusy, StorageError, UsageError
from checker.model import (
    CacheEntry,
    CheckResult,
    ContractSnapshot,
    McpFacts,
    ProbeResult,
    Reason,
    Remark,
    RemarkName,
    RunInfo,
    RunState,
    Status,
)
from checker.probe_kinds import STAGES
from storage import tables
from storage.connections import wal_is_safe
from storage.history import open_history
from storage.sql import ask
from storage.sqlite_driver import default_path, driver
from storage.store import open_store
from storage.tables import metadata
from storage.views import VIEWS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with ask(path, query, 10.0) as answer:
        return list(answer.rows)


def test_check_comes_back_as_it_was_written(path: Path) -> None:
    written = check(
        status=Status.DEGRADED,
        reason=Reason.HTTP_STATUS,
        detail="rest: HTTP 503",
        score=0.5,
        tries=2,
        probes=(probe("mcp"), probe("rest", status=Status.UNHEALTHY, reason=Reason.HTTP_STATUS, score=0.0, attempts=3)),
    )
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server()])
        assert store.write(run_id, batch(written)) == 1
        store.finish_run(run_id, RunState.FINISHED, AT_MS + 1000)
    with open_history(path) as history:
        (row,) = history.checks_of_run(run_id)
        run = history.run(run_id)
    assert row.probes == written.probes
    assert (row.server, row.status, row.reason, row.score, row.tries) == ("search", "DEGRADED", "http_status", 0.5, 2)
    assert (row.group, row.tags) == ("shop", ("prod",))
    assert (run.state, run.finished_at_ms) == ("finished", AT_MS + 1000)


_optional_text = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10)
_optional_number = st.none() | st.integers(0, 2**40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    st.builds(
        ProbeResult,
        kind=st.just("mcp"),
        status=st.sampled_from(Status),
        reason=st.none() | st.sampled_from(Reason),
        detail=_optional_text,
        started_at_ms=st.integers(0, 2**42),
        duration_us=st.integers(0, 2**40),
        stages_us=st.dictionaries(st.sampled_from(list(STAGES)), st.integers(0, 2**40)),
        reused=st.none() | st.booleans(),
        remarks=st.lists(
            st.builds(
                Remark,
                name=st.sampled_from(RemarkName),
                detail=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10),
            ),
            max_size=2,
        ).map(tuple),
        mcp=st.none() | st.builds(McpFacts, server_name=_optional_text, tool_count=_optional_number),
    )
)
def test_any_probe_comes_back_as_it_was_written(tmp_path: Path, result: ProbeResult) -> None:
    path = tmp_path / "any.db"
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server()])
        store.write(run_id, batch(check(probes=(result,))))
    with open_history(path) as history:
        (row,) = history.checks_of_run(run_id)
    assert row.probes == (result,)


def test_row_that_is_there_is_not_written_again(path: Path) -> None:
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server("a"), server("b")])
        assert store.write(run_id, batch(check("a"))) == 1
        assert store.write(run_id, batch(check("a", status=Status.UNHEALTHY), check("b"))) == 1
        assert store.missing(run_id, ["a", "b", "c"]) == ["c"]
    assert rows(path, "select server, status from check_history order by server") == [
        ("a", "HEALTHY"),
        ("b", "HEALTHY"),
    ]


def test_same_facts_and_contracts_are_kept_once(path: Path) -> None:
    snapshot = ContractSnapshot(digest="d" * 64, document="{}")
    with open_store(path) as store:
        for _ in range(3):
            run_id = store.begin_run(run_info(), [server()])
            store.write(run_id, batch(check(), contracts=(snapshot,)))
        store.write(run_id, batch(check("search", probes=())))
    assert rows(path, "select count(*) from mcp_facts") == [(1,)]
    assert rows(path, "select count(*) from contracts") == [(1,)]
    assert rows(path, "select count(*), count(distinct tools_digest) from probe_history where kind = 'mcp'") == [(3, 1)]


def test_cache_entries_are_recalled_until_they_expire(path: Path) -> None:
    entry = CacheEntry(category="mcp_era", key="k", value="session", created_at_ms=0, expires_at_ms=1000)
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [])
        store.write(run_id, batch(cache_entries=(entry,)))
        assert store.recall(["k", "other"], 999) == {"k": {"mcp_era": "session"}}
        assert store.recall(["k"], 1000) == {}
        store.finish_run(run_id, RunState.FINISHED, 1000)
    assert rows(path, "select count(*) from cache_entries") == [(0,)]


def test_columns_follow_the_records() -> None:
    facts_columns = {column.name for column in tables.mcp_facts.columns}
    assert {field.name for field in fields(McpFacts)} == facts_columns - {"id", "fingerprint"}
    probe_fields = {field.name for field in fields(ProbeResult)} - {"stages_us", "mcp"} | {
        f"{stage}_us" for stage in STAGES
    }
    probe_columns = {column.name for column in tables.probes.columns}
    assert probe_fields - {"url"} == probe_columns - {"server_id", "run_id", "position", "mcp_facts_id", "url_id"}
    check_fields = {field.name for field in fields(CheckResult)} - {"server", "probes"}
    assert check_fields == {column.name for column in tables.checks.columns} - {"server_id", "run_id"}
    run_columns = {column.name for column in tables.runs.columns}
    assert {field.name for field in fields(RunInfo)} == run_columns - {"id", "state", "finished_at_ms"}


def test_views_have_what_every_question_needs(path: Path) -> None:
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server()])
        store.write(run_id, batch(check(reason=Reason.SLOW, status=Status.DEGRADED)))
    for view in VIEWS:
        with ask(path, f"select * from {view.name}", 5.0) as answer:
            assert answer.columns == tuple(name for name, _, _ in view.columns)
        assert all(words for _, _, words in view.columns)
    for name in ("latest_status", "check_history", "probe_history", "probe_errors"):
        view = next(one for one in VIEWS if one.name == name)
        assert {"server", "status", "reason", "started_at"} <= {column for column, _, _ in view.columns}
    assert rows(path, "select started_at, duration_ms from check_history") == [("2026-11-23T12:00:00.000Z", 15.0)]
    assert rows(path, "select wait_ms, tls_ms, reused from probe_history where kind = 'rest'") == [(3.0, None, 0)]
    assert rows(path, "select count(*) from probe_errors") == [(0,)]


def test_latest_status_is_the_newest_check_of_each_server(path: Path) -> None:
    with open_store(path) as store:
        for status in (Status.UNHEALTHY, Status.HEALTHY):
            run_id = store.begin_run(run_info(), [server("a"), server("b")])
            store.write(run_id, batch(check("a", status=status)))
        store.write(run_id - 1, batch(check("b", status=Status.UNKNOWN)))
    assert rows(path, "select server, status from latest_status order by 1") == [("a", "HEALTHY"), ("b", "UNKNOWN")]


def test_renamed_or_stale_view_is_made_anew(path: Path) -> None:
    with open_store(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("drop view latest_status")
        connection.execute("create view latest_status as select 1 as wrong")
    connection.close()
    with open_store(path):
        pass
    assert rows(path, "select count(server) from latest_status") == [(0,)]


@pytest.mark.parametrize(
    "query",
    [
        "delete from runs",
        "update servers set name = 'x'",
        "insert into runs (id) values (1)",
        "drop view latest_status",
        "create table t (x)",
        "attach database 'x.db' as x",
        "pragma journal_mode = delete",
        "pragma writable_schema = on",
        "vacuum",
        "vacuum into 'copy.db'",
        "begin immediate",
        "select load_extension('x')",
        "with x as (select 1) delete from runs",
        "explain delete from runs; delete from runs",
        "select 1; delete from runs",
    ],
)
def test_sql_only_reads(path: Path, query: str) -> None:
    with open_store(path) as store:
        store.begin_run(run_info(), [server()])
    before = path.read_bytes()
    with pytest.raises(QueryError):
        rows(path, query)
    assert path.read_bytes() == before
    assert rows(path, "select count(*) from runs") == [(1,)]


def test_sql_errors_help(path: Path) -> None:
    with open_store(path):
        pass
    with pytest.raises(QueryError, match="no such table: checkz; the views are latest_status"):
        rows(path, "select * from checkz")
    with pytest.raises(QueryError, match="the query is empty"):
        rows(path, "  ")
    with pytest.raises(QueryError, match=r"longer than 0\.2 s"), ask(path, _ENDLESS, 0.2) as answer:
        list(answer.rows)
    with pytest.raises(StorageError, match="no such database; `mcp-status check` makes one"):
        rows(path.with_name("none.db"), "select 1")


_ENDLESS = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n"


def test_file_is_private_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "history.db"
    with open_store(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert default_path({"MCP_STATUS_DB": "/x/y.db"}) == Path("/x/y.db")


def test_what_is_no_database_of_ours_is_refused(tmp_path: Path) -> None:
    text, foreign = tmp_path / "text", tmp_path / "foreign.db"
    text.write_text("hello, this is no database at all, only text" * 50)
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("create table mine (x)")
    expected = {text: "not a SQLite database", foreign: "of another program", tmp_path: "a folder; name a file in it"}
    for path, message in expected.items():
        with pytest.raises(StorageError, match=message), open_store(path):
            pass


def test_unknown_server_is_told_what_is_alike(path: Path) -> None:
    with open_store(path) as store:
        store.begin_run(run_info(), [server("search"), server("orders")])
    with open_history(path) as history, pytest.raises(UsageError, match="did you mean 'search'"):
        history.checks_of_server("serch", 0, 10)


def test_server_history_is_newest_first_and_limited(path: Path) -> None:
    with open_store(path) as store:
        for number in range(5):
            run_id = store.begin_run(run_info(), [server(), server("other")])
            store.write(run_id, batch(check(started_at_ms=AT_MS + number), check("other")))
    with open_history(path) as history:
        newest = history.checks_of_server("search", 0, 2)
        assert [row.run_id for row in newest] == [5, 4]
        assert [len(row.probes) for row in newest] == [2, 2]
        assert len(history.checks_of_server("search", AT_MS + 3, 10)) == 2


def test_second_writer_waits_for_the_first(path: Path) -> None:
    # The same library as the store's: file locks are a process's, so a second copy of SQLite would not see them.
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server()])
        holder = driver().connect(str(path), isolation_level=None, check_same_thread=False)
        holder.execute("begin immediate")
        threading.Timer(0.7, holder.rollback).start()
        start = time.monotonic()
        assert store.write(run_id, batch(check())) == 1
        assert time.monotonic() - start > 0.5
        holder.close()


def test_writer_that_waits_too_long_says_whose_fault_it_is(path: Path) -> None:
    with open_store(path, wait_s=0.3) as store:
        run_id = store.begin_run(run_info(), [server()])
        holder = driver().connect(str(path), isolation_level=None)
        holder.execute("begin immediate")
        with pytest.raises(StorageBusy, match="another process has been writing to it") as refused:
            store.write(run_id, batch(check()))
        assert "locked" not in str(refused.value)
        holder.rollback()
        holder.close()
        assert store.write(run_id, batch(check())) == 1


_WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/support")
from builders import batch, check, run_info, server
from storage.store import open_store
names = [f"{sys.argv[2]}-{n}" for n in range(50)]
with open_store(Path(sys.argv[1])) as store:
    run_id = store.begin_run(run_info(), [server(name) for name in names])
    print("ready", flush=True)
    for start in range(int(sys.argv[3])):
        store.write(run_id, batch(check(names[start % 50]))) if start < 50 else store.missing(run_id, [])
"""


def writer(path: Path, name: str, steps: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(path), name, str(steps)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_writing_at_once_lose_nothing(path: Path) -> None:
    processes = [writer(path, name, 50) for name in ("a", "b", "c")]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert rows(path, "select count(*), count(distinct server), count(distinct run_id) from check_history") == [
        (150, 150, 3)
    ]


def test_killed_writer_leaves_a_sound_file_and_its_run_is_marked(path: Path) -> None:
    process = writer(path, "a", 100_000)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    while not rows(path, "select 1 from checks"):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert rows(path, "pragma integrity_check") == [("ok",)]
    assert rows(path, "select state from runs") == [("running",)]
    with open_store(path) as store:
        store.begin_run(run_info(), [server()])
    assert rows(path, "select state from runs order by id") == [("abandoned",), ("running",)]


@pytest.mark.skipif(os.geteuid() == 0 and sys.platform != "linux", reason="root may write everywhere")
def test_history_in_a_folder_that_cannot_be_written_is_readable(path: Path) -> None:
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server()])
        store.write(run_id, batch(check()))
    path.parent.chmod(0o500)
    try:
        assert rows(path, "select count(*) from check_history") == [(1,)]
    finally:
        path.parent.chmod(0o700)


def test_releases_without_the_wal_race_are_known() -> None:
    safe = {(3, 51, 3), (3, 53, 4), (4, 0, 0), (3, 50, 7), (3, 44, 6)}
    unsafe = {(3, 40, 1), (3, 51, 2), (3, 50, 6), (3, 45, 0), (3, 44, 5)}
    assert {version for version in safe | unsafe if wal_is_safe(version)} == safe


def test_metadata_has_no_table_without_a_key() -> None:
    assert all(table.primary_key.columns for table in metadata.sorted_tables)


def test_facts_that_differ_are_kept_apart(path: Path) -> None:
    with open_store(path) as store:
        run_id = store.begin_run(run_info(), [server("a"), server("b")])
        store.write(run_id, batch(check("a"), check("b", probes=(probe("mcp", mcp=facts(tool_count=3)),))))
    assert rows(path, "select server, tool_count from probe_history where kind = 'mcp' order by 1") == [
        ("a", 2),
        ("b", 3),
    ]


def test_a_column_that_is_called_busy_does_not_read_as_a_busy_database(path: Path) -> None:
    with open_store(path) as store, pytest.raises(StorageError) as told, store.transaction() as connection:
        connection.exec_driver_sql("select busy_ratio from runs")
    assert not isinstance(told.value, StorageBusy)
    assert "busy_ratio" in str(told.value)
