"""What is dropped and what is not: by age, by size, in parts that may be killed; and the care of the file."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rollup_histories import DAY_MS, HOUR_MS, THOROUGH, buckets, write_random, write_run

import builders
from checker.limits import Keep
from storage.database_file import backed_up, faults, vacuumed
from storage.history import reading
from storage.rollups.read import Period, Rollups
from storage.store import open_store

DAYS_S = 86400.0


def weeks(path: Path, days: int = 20, servers: int = 5, every_ms: int = 2 * HOUR_MS) -> int:
    """A history of so many full days, rolled; gives the time after it."""
    start_ms = builders.AT_MS // DAY_MS * DAY_MS
    names = [f"server-{number}" for number in range(servers)]
    with open_store(path) as store:
        for at_ms in range(start_ms, start_ms + days * DAY_MS, every_ms):
            probes = (builders.probe("rest", started_at_ms=at_ms, duration_us=1000 + at_ms // 1000 % 997),)
            write_run(store, names, at_ms, [builders.check(one, started_at_ms=at_ms, probes=probes) for one in names])
        store.roll(start_ms + days * DAY_MS)
    return start_ms + days * DAY_MS


def one(path: Path, query: str) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchone()[0]


def test_raw_rows_go_by_full_days_and_their_buckets_stay(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    end_ms = weeks(path)
    before = buckets(path)
    with open_store(path) as store:
        pruned = store.prune(Keep(raw=5 * DAYS_S, max_size=None), end_ms + HOUR_MS)
    assert one(path, "select min(started_at_ms) from checks") == end_ms - 5 * DAY_MS
    assert pruned.rows == {"checks": 15 * 12 * 5, "probes": 15 * 12 * 5, "runs": 15 * 12}
    assert buckets(path)["day_outcomes"] == before["day_outcomes"]
    assert one(path, "select sum(up) from availability") == 20 * 12 * 5


def test_reports_are_the_same_before_and_after_pruning(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    end_ms = weeks(path)

    def seen() -> Any:
        with reading(path) as connection:
            rollups = Rollups(connection, end_ms)
            period = Period.of(end_ms - 20 * DAY_MS, end_ms)
            latencies = rollups.latencies(period, ("rest",)).buckets
            return rollups.outcomes(period).buckets.numbers.tolist(), latencies.quantiles_us((0.5, 0.9)).tolist()

    before = seen()
    with open_store(path) as store:
        store.prune(Keep(raw=1 * DAYS_S, max_size=None), end_ms)
    assert seen() == before


@given(seed=st.integers(0, 2**32), raw_days=st.integers(1, 6))
@settings(
    max_examples=12 if THOROUGH else 6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_rebuilding_after_pruning_gives_the_buckets_as_they_were(seed: int, raw_days: int, tmp_path: Path) -> None:
    path = tmp_path / f"history-{seed}-{raw_days}-{time.monotonic_ns()}.db"
    end_ms = write_random(path, Random(seed)) + HOUR_MS
    with open_store(path) as store:
        store.roll(end_ms)
        store.prune(Keep(raw=raw_days * DAYS_S, max_size=None), end_ms)
    pruned = buckets(path)
    with open_store(path) as store:
        store.roll(end_ms, anew=True)
    assert buckets(path) == pruned


def test_row_older_than_raw_rows_are_kept_changes_no_bucket(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    end_ms = weeks(path)
    with open_store(path) as store:
        store.prune(Keep(raw=2 * DAYS_S, max_size=None), end_ms)
        before = buckets(path)
        late_ms = end_ms - 10 * DAY_MS
        write_run(store, ["server-0"], end_ms, [builders.check("server-0", started_at_ms=late_ms)])
        store.roll(end_ms)
    assert buckets(path) == before


def test_hours_and_days_go_when_their_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    end_ms = weeks(path)
    with open_store(path) as store:
        store.prune(Keep(raw=2 * DAYS_S, hours=5 * DAYS_S, days=10 * DAYS_S, max_size=None), end_ms)
    assert one(path, "select min(slot) from hour_outcomes") == (end_ms - 5 * DAY_MS) // HOUR_MS
    assert one(path, "select min(slot) from day_outcomes") == (end_ms - 10 * DAY_MS) // DAY_MS
    stages = "select min(b.slot) from hour_latency b join series x on x.id = b.series_id where x.stage <> 'total'"
    assert one(path, stages) >= (end_ms - 3 * DAY_MS) // HOUR_MS, "hours of stages are kept for three days"


def test_oldest_rows_go_first_where_the_file_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    end_ms = weeks(path)
    used = one(path, "select (select page_count from pragma_page_count) * (select page_size from pragma_page_size)")
    with open_store(path) as store:
        store.prune(Keep(max_size=used * 3 // 4), end_ms)
    size = "select (page_count - freelist_count) * page_size from pragma_page_count, pragma_freelist_count, "
    assert one(path, size + "pragma_page_size") <= used * 3 // 4
    assert one(path, "select count(*) from checks") > 0
    assert one(path, "select count(*) from day_outcomes where healthy > 0") == 20 * 5 * 2, "days are not given up"


def test_size_that_cannot_be_reached_ends_with_the_days(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    end_ms = weeks(path, days=6)
    with open_store(path) as store:
        store.prune(Keep(max_size=1), end_ms)
    assert one(path, "select count(*) from checks") == 0
    assert one(path, "select count(*) from day_outcomes where healthy > 0") == 6 * 5 * 2


def test_run_that_a_contract_was_seen_first_in_is_kept(tmp_path: Path) -> None:
    path, at_ms = tmp_path / "history.db", builders.AT_MS
    with open_store(path) as store:
        facts = builders.facts(contract_digest="c" * 64)
        probes = (builders.probe("mcp", mcp=facts),)
        write_run(store, ["a"], at_ms, [builders.check("a", probes=probes)])
        store.roll(at_ms + 9 * DAY_MS)
        store.prune(Keep(raw=1 * DAYS_S, max_size=None), at_ms + 9 * DAY_MS)
    assert one(path, "select count(*) from checks") == 0
    assert one(path, "select count(*) from contract_history h join run_history r on r.run_id = h.run_id") == 1


def test_vacuum_gives_pages_back_in_parts_while_others_write(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    end_ms = weeks(path)
    with open_store(path) as store:
        store.prune(Keep(raw=1 * DAYS_S, max_size=None), end_ms)
        write_run(store, ["server-0"], end_ms, [builders.check("server-0", started_at_ms=end_ms)])
    before, after = vacuumed(path, full=False)
    assert after < before * 2 / 3
    assert faults(path, quick=False) == []


def test_backup_made_while_runs_go_on_is_whole(tmp_path: Path) -> None:
    path, copy = tmp_path / "history.db", tmp_path / "copy.db"
    end_ms = weeks(path, days=5)
    stop = threading.Event()

    def runs() -> None:
        at_ms = end_ms
        with open_store(path) as store:
            while not stop.is_set():
                at_ms += 60_000
                write_run(store, ["server-0"], at_ms, [builders.check("server-0", started_at_ms=at_ms)])

    writer = threading.Thread(target=runs)
    writer.start()
    try:
        backed_up(path, copy, force=False, note=lambda done, total: None)
    finally:
        stop.set()
        writer.join()
    assert faults(copy, quick=False) == []
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert one(copy, "select count(*) from checks where server_id <> 1") == 5 * 12 * 4
    assert [file.name for file in tmp_path.iterdir() if file.name.endswith(".part")] == []


def test_damage_is_found(tmp_path: Path, status: Any) -> None:
    path = tmp_path / "history.db"
    weeks(path, days=3)
    assert status("db", "check", "--db", path).stdout == "the file is intact\n"
    with path.open("r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        file.write(b"\xff" * 8192)
    done = status("db", "check", "--db", path, "--format", "json")
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prune", "--raw", "1h"), "--raw: write 1d or more"),
        (("prune", "--raw", "100d"), "--hours: write at least a day more than raw"),
        (("prune", "--max-size", "1MB"), "write a size like 512B, 64KiB or 1MiB"),
        (("prune", "--max-size", "1MiB"), "--max-size: write 16MiB or more"),
    ],
)
def test_times_that_do_not_go_together_are_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path, status: Any
) -> None:
    weeks(tmp_path / "history.db", days=1)
    done = status("db", *arguments, "--db", tmp_path / "history.db")
    assert done.returncode == 3
    assert message in done.stderr


@pytest.mark.parametrize("command", [("info",), ("prune",), ("vacuum",), ("rebuild-rollups",), ("backup", "x.db")])
def test_looking_after_no_database_makes_none(command: tuple[str, ...], tmp_path: Path, status: Any) -> None:
    done = status("db", *command, "--db", tmp_path / "none.db")
    assert done.returncode == 3
    assert "no such database" in done.stderr
    assert not (tmp_path / "none.db").exists()


def test_commands_work_from_the_shell(tmp_path: Path, status: Any) -> None:
    path = tmp_path / "history.db"
    weeks(path, days=3)
    assert '"rows_of_checks"' in status("db", "prune", "--db", path, "--raw", "1d", "--format", "json").stdout
    assert "recomputed" in status("db", "rebuild-rollups", "--db", path).stderr
    assert status("db", "vacuum", "--db", path).returncode == 0
    assert status("db", "backup", tmp_path / "b.db", "--db", path).returncode == 0
    again = status("db", "backup", tmp_path / "b.db", "--db", path)
    assert (again.returncode, "--force" in again.stderr) == (3, True)
    assert status("db", "backup", tmp_path / "b.db", "--force", "--db", path).returncode == 0
