"""Hour and day buckets: the same however they came about, exact to the last row, and never the worse for a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rollup_histories import DAY_MS, HOUR_MS, THOROUGH, buckets, forget_buckets, write_random, write_run

import builders
from checker.model import Reason, Status
from storage.history import reading
from storage.rollups.read import Period, Rollups
from storage.store import open_store

ROOT = Path(__file__).resolve().parent.parent
TENTHS = st.integers(0, 10)
SEEDS = st.integers(0, 2**32)
numbers = count()
property_test = settings(
    max_examples=20 if THOROUGH else 8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def new_file(tmp_path: Path) -> Path:
    return tmp_path / f"history-{next(numbers)}.db"


@given(seed=SEEDS)
@property_test
def test_rebuilt_buckets_are_those_that_were_kept_up_run_by_run(seed: int, tmp_path: Path) -> None:
    path = new_file(tmp_path)
    end_ms = write_random(path, Random(seed)) + DAY_MS
    with open_store(path) as store:
        store.roll(end_ms)
    kept_up = buckets(path)
    with open_store(path) as store:
        store.roll(end_ms, anew=True)
    assert buckets(path) == kept_up


@given(seed=SEEDS, tenths=TENTHS)
@property_test
def test_what_is_read_is_the_same_wherever_rolled_and_raw_meet(seed: int, tenths: int, tmp_path: Path) -> None:
    path = new_file(tmp_path)
    end_ms = write_random(path, Random(seed), rolling=False)
    forget_buckets(path)
    from_raw = everything(path, end_ms + 60_000)
    with open_store(path) as store:
        store.roll(builders.AT_MS + (end_ms - builders.AT_MS) * tenths // 10)
    assert everything(path, end_ms + 60_000) == from_raw


def everything(path: Path, now_ms: int) -> list[Any]:
    """All that reports ask: of all the time, and of the last two days by the hour."""
    found: list[Any] = []
    with reading(path) as connection:
        rollups = Rollups(connection, now_ms)
        for since_ms in (builders.AT_MS - 4 * DAY_MS, now_ms - 2 * DAY_MS):
            period = Period.of(since_ms, now_ms)
            outcomes = rollups.outcomes(period, ("check", "mcp", "rest"))
            numbers = outcomes.buckets.numbers.tolist()
            slots = outcomes.buckets.slot.tolist()
            rows = zip(outcomes.buckets.series.tolist(), slots, numbers, outcomes.buckets.reasons, strict=True)
            found.append(sorted((str(outcomes.series[one]), *rest) for one, *rest in rows))
            latencies = rollups.latencies(period, ("mcp", "rest"), ("total", "wait"))
            quantiles = latencies.buckets.quantiles_us((0.5, 0.99)).tolist()
            sums = latencies.buckets.sum_us.tolist()
            times = zip(
                latencies.buckets.series.tolist(), latencies.buckets.slot.tolist(), sums, quantiles, strict=True
            )
            found.append(sorted((str(latencies.series[one]), *rest) for one, *rest in times))
        found.append(rollups.incidents(0, now_ms))
    return found


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_days_are_days_in_utc_whatever_the_clocks_do(zone: str, tmp_path: Path) -> None:
    """On 2026-10-25 clocks in Berlin go back, on 2026-11-01 those in New York."""
    path = tmp_path / "history.db"
    first_ms = 1_792_800_000_000 // DAY_MS * DAY_MS  # 2026-10-24
    with open_store(path) as store:
        for hour in range(24 * 10):
            at_ms = first_ms + hour * HOUR_MS
            write_run(store, ["a"], at_ms, [builders.check("a", started_at_ms=at_ms)])
    code = (
        "from pathlib import Path; from storage.store import open_store\n"
        f"with open_store(Path({str(path)!r})) as store: store.roll({first_ms + 11 * DAY_MS})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "TZ": zone}, check=True)
    days = [row for row in buckets(path)["day_outcomes"] if row[1] == "check"]
    assert [row[5] for row in days] == [*[24] * 10, 0], "the last check speaks into the next day"
    first_check_ms, last_check_ms = HOUR_MS, 3 * HOUR_MS  # there is no gap before the first, three after the last
    assert sum(row[11] for row in days) == first_check_ms + 238 * HOUR_MS + last_check_ms


def test_check_speaks_until_the_next_one_but_not_while_the_checker_was_away(tmp_path: Path) -> None:
    path, start_ms = tmp_path / "history.db", builders.AT_MS // DAY_MS * DAY_MS
    minutes = {0: Status.HEALTHY, 1: Status.UNHEALTHY, 3: Status.HEALTHY, 60: Status.DEGRADED, 61: Status.UNKNOWN}
    with open_store(path) as store:
        for minute, status in minutes.items():
            at_ms = start_ms + minute * 60_000
            write_run(store, ["a"], at_ms, [builders.check("a", status=status, started_at_ms=at_ms)])
        store.roll(start_ms + DAY_MS)
    first, second = (row for row in buckets(path)["hour_outcomes"] if row[1] == "check")
    healthy_s = 60 + 5 * 60  # until the failure; then five minutes at least, not the 57 that it took
    assert [value / 1000 for value in first[11:16]] == [healthy_s, 0, 120, 0, 0]
    assert [value / 1000 for value in second[11:16]] == [0, 60, 0, 5 * 60, 0]


def test_refusals_and_failures_are_in_no_latency(tmp_path: Path) -> None:
    path, at_ms = tmp_path / "history.db", builders.AT_MS
    said = [(Status.HEALTHY, None), (Status.DEGRADED, Reason.SLOW), (Status.DEGRADED, Reason.RATE_LIMITED)]
    said += [(Status.DEGRADED, Reason.AUTH_REQUIRED), (Status.UNHEALTHY, Reason.DEADLINE)]
    with open_store(path) as store:
        names = [f"s{number}" for number in range(len(said))]
        probes = [(builders.probe("rest", status=status, reason=reason),) for status, reason in said]
        checks = [
            builders.check(name, status=status, reason=reason, probes=own)
            for name, (status, reason), own in zip(names, said, probes, strict=True)
        ]
        write_run(store, names, at_ms, checks)
        store.roll(at_ms + DAY_MS)
    counted = {row[0] for row in buckets(path)["hour_latency"] if row[2] == "total"}
    assert counted == {"s0", "s1"}


def test_incident_lasts_from_the_first_failure_to_the_next_good_check(tmp_path: Path) -> None:
    path, start_ms = tmp_path / "history.db", builders.AT_MS
    steps = [Status.HEALTHY, Status.UNHEALTHY, Status.UNKNOWN, Status.UNHEALTHY, Status.DEGRADED, Status.UNHEALTHY]
    with open_store(path) as store:
        for minute, status in enumerate(steps):
            at_ms = start_ms + minute * 60_000
            reason = Reason.DNS if status is Status.UNHEALTHY else None
            write_run(store, ["a"], at_ms, [builders.check("a", status=status, reason=reason, started_at_ms=at_ms)])
        store.roll(start_ms + DAY_MS)
    minute = 60_000
    assert [row[1:] for row in buckets(path)["incidents"]] == [
        (start_ms + minute, start_ms + 4 * minute, "dns", 2 * minute, 0, start_ms + 4 * minute),
        (start_ms + 5 * minute, None, "dns", 5 * minute, 0, start_ms + 10 * minute),
    ]


def test_killed_roll_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path, start_ms = tmp_path / "history.db", builders.AT_MS // DAY_MS * DAY_MS
    names = [f"server-{number:03d}" for number in range(100)]
    with open_store(path) as store:
        for minute in range(100):
            at_ms = start_ms + minute * 60_000
            write_run(store, names, at_ms, [builders.check(name, started_at_ms=at_ms) for name in names])
    code = (
        "from pathlib import Path; from storage.rollups import watermarks; from storage.store import open_store\n"
        "watermarks._CHECKS_AT_ONCE = 1000\n"  # a few servers in a transaction
        f"with open_store(Path({str(path)!r})) as store:\n"
        f"    store.roll({start_ms + DAY_MS}, anew=True, note=lambda done, total: print(done, flush=True))\n"
    )
    rolling = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert rolling.stdout is not None
    first = rolling.stdout.readline()
    rolling.send_signal(signal.SIGKILL)
    rolling.communicate()
    assert 0 < int(first) < len(names), "it was killed half-way"
    with open_store(path) as store:
        store.roll(start_ms + DAY_MS)
    after_kill = buckets(path)
    assert sum(row[5] for row in after_kill["hour_outcomes"] if row[1] == "check") == 100 * len(names)
    with open_store(path) as store:
        store.roll(start_ms + DAY_MS, anew=True)
    assert buckets(path) == after_kill


def test_run_that_closes_an_hour_rolls_it_and_one_that_does_not_leaves_it(
    tmp_path: Path, status: Any, served: str
) -> None:
    now_ms = time.time_ns() // 1_000_000
    path = tmp_path / "history.db"
    with open_store(path) as store:
        at_ms = now_ms - 2 * HOUR_MS
        write_run(store, ["rest"], at_ms, [builders.check("rest", started_at_ms=at_ms)])
    assert buckets(path)["hour_outcomes"] == []
    assert status("check", "--rest", served).returncode == 0
    assert len([row for row in buckets(path)["hour_outcomes"] if row[5]]) > 0


@pytest.fixture
def served() -> Any:
    from servers import RestServer, Scripted

    with RestServer({"/": Scripted()}) as server:
        yield server.url("/")


def test_view_of_availability_counts_every_check_once(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    end_ms = write_random(path, Random(7))
    with open_store(path) as store:
        store.roll(end_ms - DAY_MS)
    with closing(sqlite3.connect(path)) as connection:
        columns = "up + counted * 0 + suspect + unknown + maintenance + (counted - up)"
        seen = connection.execute(f"select sum({columns}) from availability").fetchone()
        assert seen == connection.execute("select count(*) from checks").fetchone()


def test_arrays_of_buckets_hold_what_the_tables_hold(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    end_ms = write_random(path, Random(3)) + 2 * DAY_MS
    with open_store(path) as store:
        store.roll(end_ms)
    with reading(path) as connection:
        found = Rollups(connection, end_ms).outcomes(Period.of(end_ms - 3 * DAY_MS, end_ms))
    from_hour = (end_ms - 3 * DAY_MS) // HOUR_MS
    hours = [row for row in buckets(path)["hour_outcomes"] if row[1] == "check" and row[4] >= from_hour]
    rolled = found.buckets.slot[found.buckets.slot < end_ms // HOUR_MS]
    assert np.array_equal(np.sort(rolled), np.sort([row[4] for row in hours]))
