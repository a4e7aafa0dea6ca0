"""Servers that are gone: retired when they leave their configuration, renamed and forgotten by hand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pasts import past_of
from rollup_histories import DAY_MS, HOUR_MS, buckets, write_run

import builders
from builders import AT_MS
from checker.errors import UsageError
from checker.model import Batch, Reason, RunState, Status
from reports import availability, incidents
from reports.output_forms import records
from reports.site.site_data import gather
from servers import RestServer, Scripted
from storage import servers
from storage.store import Store, open_store

MINUTE_MS = 60_000
START_MS = AT_MS // DAY_MS * DAY_MS


def run(store: Store, at_ms: int, configured: Collection[str], checked: Collection[str], down: str = "") -> None:
    """A run of fleet.yaml, in which these servers are configured."""
    info = builders.run_info(started_at_ms=at_ms, config_path="fleet.yaml")
    run_id = store.begin_run(info, [builders.server(name) for name in checked], configured)
    store.write(run_id, Batch(checks=tuple(_check(name, at_ms, name == down) for name in checked)))
    store.finish_run(run_id, RunState.FINISHED, at_ms + 1000)


def _check(name: str, at_ms: int, is_down: bool) -> Any:
    said = {"status": Status.UNHEALTHY, "reason": Reason.DNS} if is_down else {"status": Status.HEALTHY, "reason": None}
    return builders.check(
        name, started_at_ms=at_ms, probes=(builders.probe("rest", started_at_ms=at_ms, **said),), **said
    )


def one(path: Path, query: str) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchone()[0]


def test_server_that_left_its_configuration_is_retired_and_back_when_it_is_there_again(tmp_path: Path) -> None:
    path, both = tmp_path / "h.db", ("shop", "gone")
    left_ms = START_MS + 20 * MINUTE_MS
    with open_store(path) as store:
        for minute in (0, 5, 10):
            run(store, START_MS + minute * MINUTE_MS, both, both, down="gone")
        run(store, START_MS + 15 * MINUTE_MS, both, ["shop"])
        assert one(path, "select count(*) from latest_status where retired_at is not null") == 0, (
            "a part may be checked"
        )
        run(store, left_ms, ["shop"], ["shop"])
    now_ms = left_ms + MINUTE_MS
    with past_of(path, now_ms, START_MS) as (past, period):
        found = incidents.build(past, period)
        (row,) = records(found.sections[0])
        known = {row["server"]: row for row in records(availability.build(past, period).sections[0])}
        assert [one.server.name for one in gather(past, "x").subjects] == ["shop"]
    assert (found.verdict[:22], row["state"], row["down_ms"]) == ("No server is down now;", "retired", 21 * MINUTE_MS)
    assert known["gone"]["unhealthy_ms"] == row["down_ms"], "its last check speaks for a quarter of an hour"
    with past_of(path, now_ms + DAY_MS, START_MS) as (past, period):
        known = {row["server"]: row for row in records(availability.build(past, period).sections[0])}
    assert known["gone"]["coverage_ratio"] == 1, "nobody waits for it"
    with open_store(path) as store:
        run(store, now_ms + DAY_MS, both, ["shop"])
    assert one(path, "select count(*) from latest_status where retired_at is not null") == 0


def test_renamed_server_goes_on_with_its_history(tmp_path: Path) -> None:
    """Renamed in the configuration at first, as most will do it: the history is that of a server of one name."""
    told = []
    for names in (("a", "a"), ("a", "b")):
        path = tmp_path / f"{names[1]}.db"
        with open_store(path) as store:
            for hour in range(40):
                name = names[hour >= 20]
                run(store, START_MS + hour * HOUR_MS, [name], [name], down=name if hour in (10, 19, 20, 30) else "")
                if hour % 7 == 0:
                    store.roll(START_MS + hour * HOUR_MS + MINUTE_MS)
            if names[0] != names[1]:
                with store.transaction() as connection:
                    servers.rename(connection, "a", "b")
                with pytest.raises(UsageError, match="no server 'a'"), store.transaction() as connection:
                    servers.rename(connection, "a", "c")
            store.roll(START_MS + 70 * HOUR_MS)
        found = buckets(path)
        states = [row[1:] for row in found.pop("states")]
        told.append(({table: [row[1:3] + row[4:] for row in rows] for table, rows in found.items()}, states))
    assert told[0] == told[1]


def test_servers_that_one_run_checked_are_two(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        run(store, START_MS, ["a", "b"], ["a", "b"])
        both = "'a' and 'b' were both checked in run 1"
        with pytest.raises(UsageError, match=both), store.transaction() as connection:
            servers.rename(connection, "a", "b")
    assert one(path, "select count(*) from check_history") == 2


def test_forgotten_server_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_store(path) as store:
        for hour in range(30):
            at_ms = START_MS + hour * HOUR_MS
            write_run(store, ["a", "b"], at_ms, [_check(name, at_ms, hour == 5) for name in ("a", "b")])
        store.roll(START_MS + 40 * HOUR_MS)
        with pytest.raises(UsageError, match="no server 'aa'; did you mean 'a'"), store.transaction() as connection:
            servers.forget(connection, "aa")
        with store.transaction() as connection:
            gone = servers.forget(connection, "a")
        store.roll(START_MS + 50 * HOUR_MS, anew=True)
    assert (gone["checks"], gone["probes"], gone["incidents"]) == (30, 30, 1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma foreign_key_check").fetchall() == []
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        columns = {table: [row[1] for row in connection.execute(f"pragma table_info({table})")] for table in tables}
        for table in (table for table, names in columns.items() if "server_id" in names):
            assert connection.execute(f"select count(*) from {table} where server_id = 1").fetchone() == (0,), table
    assert one(path, "select group_concat(server) from latest_status") == "b"


def test_commands_retire_rename_and_forget(tmp_path: Path, status: Any) -> None:
    config, db = tmp_path / "fleet.yaml", tmp_path / "history.db"
    with RestServer({"/": Scripted()}) as server:
        for names in (("a", "b"), ("a",)):
            config.write_text(json.dumps({"servers": [{"name": one, "rest": server.url("/")} for one in names]}))
            assert status("check", config, "-q").returncode == 0
    assert one(db, "select server from latest_status where retired_at is not null") == "b"
    assert status("db", "rename", "b", "c").returncode == 0
    gone = json.loads(status("db", "forget", "c", "--format", "json").stdout)
    assert gone["rows_of_checks"] == 1
    missing = status("db", "forget", "c")
    assert (missing.returncode, missing.stderr) == (3, "mcp-status: no server 'c'\n")
