"""The cost report: context that tool lists take, and what checking asks of servers and of the checker."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pasts import MINUTE_MS, past_of

from builders import AT_MS, batch, check, facts, probe, run_info, server
from checker.metrics import CacheMeasures, PoolMeasures, ResourceMeasures, RunMeasures, WorkerMeasures
from checker.model import RunState
from histories import told_history
from reports.cost import build, punctuality
from reports.output_forms import document
from reports.report_model import Insufficient, Level, Report
from storage.checking_cost import Schedule
from storage.store import open_store

Status = Callable[..., subprocess.CompletedProcess[Any]]
MEASURES = RunMeasures(
    workers=(
        WorkerMeasures(worker=0, pid=1, checks=6, cpu_ms=30, peak_memory_bytes=50 * 2**20, lag_p99_us=2000),
        WorkerMeasures(worker=1, pid=2, checks=4, cpu_ms=10, peak_memory_bytes=40 * 2**20, lag_p99_us=1000),
    ),
    pools=(PoolMeasures(kind="rest", created=5, reused=15, waits=4, wait_us=8000, longest_wait_us=5000, most_open=9),),
    caches=(CacheMeasures(category="dns", hits=3, misses=1),),
    resources=ResourceMeasures(samples=1, most_memory_bytes=200 * 2**20),
)
TOKENS = {"big": (4000, 5000, 25), "small": (100, 100, 3)}
"""Tokens in the first run and in the last, and tools."""


def written(path: Path, runs: int = 10) -> int:
    """Runs a minute apart, each with the measures above; gives when the next would begin."""
    fleet = [server("big", group="shop"), server("small", group="shop"), server("plain", group="attic")]
    with open_store(path) as store:
        for place in range(runs):
            at_ms = AT_MS + place * MINUTE_MS
            run_id = store.begin_run(run_info(started_at_ms=at_ms, config_path="fleet.yaml"), fleet)
            checks = [check("plain", started_at_ms=at_ms, probes=(probe("rest", received_bytes=100),))]
            for name, (first, last, tools) in TOKENS.items():
                tokens = last if place == runs - 1 else first
                said = facts(tools_tokens=tokens, tools_bytes=4 * tokens, tool_count=tools)
                mcp = probe("mcp", mcp=said, received_bytes=5000, connections_opened=place % 2, sessions_opened=1)
                checks.append(check(name, started_at_ms=at_ms, probes=(mcp,)))
            store.write(run_id, batch(*checks))
            store.write_measures(run_id, MEASURES)
            store.finish_run(run_id, RunState.FINISHED, at_ms + 1000)
    return AT_MS + runs * MINUTE_MS


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    path = tmp_path_factory.mktemp("cost") / "h.db"
    return report_of(path, written(path))


def report_of(path: Path, now_ms: int) -> Report:
    with past_of(path, now_ms) as (past, period):
        return build(past, period)


def section(report: Report, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(report)["sections"][name]
    return found


def test_context_is_that_of_the_newest_probe_and_growth_since_the_oldest(report: Report) -> None:
    big, small = section(report, "context")
    assert (big["server"], big["tools"], big["tools_tokens"], big["tools_bytes"]) == ("big", 25, 5000, 20_000)
    assert (big["tokens_grown"], big["tokens_grown_ratio"], big["warning"]) == (1000, 0.25, "more than 20 tools")
    assert (small["tokens_grown"], small["warning"]) == (0, None)
    assert [(one["group"], one["servers"], one["tools_tokens"]) for one in section(report, "groups")] == [
        ("shop", 2, 5100),
        ("all", 2, 5100),
    ]


def test_verdict_names_who_has_too_many_tools_and_what_a_check_costs(report: Report) -> None:
    assert report.level is Level.WARNING
    assert report.verdict == (
        "The tools of 2 MCP servers (28) take about 5,100 tokens of context; 1 has more than 20, big the most with 25; "
        "a check takes 4.00 ms of CPU."
    )


def test_checking_is_counted_for_each_probe(report: Report) -> None:
    mcp, rest = section(report, "checking")
    assert (mcp["kind"], mcp["probes"], mcp["received_bytes"], mcp["sessions_opened"]) == ("mcp", 20, 5000, 1)
    assert (mcp["connections_opened"], mcp["requests"]) == (0.5, None)
    assert (rest["kind"], rest["received_bytes"], rest["requests"]) == ("rest", 100, 2)


def test_footprint_caches_and_connections_are_added_up(report: Report) -> None:
    (hour,) = section(report, "footprint")
    assert (hour["runs"], hour["checks"], hour["cpu_ms"]) == (10, 100, 4.0)
    assert (hour["worker_memory_mib"], hour["memory_mib"], hour["lag_p99_ms"]) == (50, 200, 2)
    (cache,) = section(report, "caches")
    assert (cache["hits"], cache["misses"], cache["hit_ratio"]) == (30, 10, 0.75)
    (pool,) = section(report, "pools")
    assert (pool["reuse_ratio"], pool["wait_ratio"], pool["wait_ms"], pool["most_open"]) == (0.75, 0.2, 2, 9)


def test_schedule_says_insufficient_where_few_runs_say_too_little(report: Report) -> None:
    (one,) = section(report, "schedule")
    assert (one["config"], one["runs"], one["interval_ms"], one["missed"]) == ("fleet.yaml", 10, MINUTE_MS, 0)
    assert one["insufficient"] == {"slip_p95_ms": {"samples": 9, "wanted": 72}}
    few = punctuality([Schedule("x", None, [0, 1, 2])])
    assert few.table is not None
    assert few.table.rows[0][3] == Insufficient(2, 6)


def test_runs_that_did_not_begin_are_missed() -> None:
    """A hundred minutes, of which five had no run, and one began ten seconds late."""
    starts = [place * MINUTE_MS + (10_000 if place == 70 else 0) for place in range(100) if not 50 <= place < 55]
    table = punctuality([Schedule("x", "prod", starts)]).table
    assert table is not None
    row = dict(zip((column.name for column in table.columns), table.rows[0], strict=True))
    assert (row["interval_ms"], row["missed"], row["longest_gap_ms"]) == (MINUTE_MS, 5, 6 * MINUTE_MS)
    assert (row["late_ratio"], row["slip_p50_ms"]) == (pytest.approx(1 / 94), 0)


def test_of_many_runs_every_nth_tells_the_same_rates(tmp_path: Path) -> None:
    now_ms = written(tmp_path / "h.db", runs=12)
    with past_of(tmp_path / "h.db", now_ms) as (past, period):
        every = past.footprint_since(period.since_ms, period.slot_ms)
        third = past.footprint_since(period.since_ms, period.slot_ms, most_runs=4)
    assert (every.step, third.step) == (1, 3)
    assert (every.workers[0].runs, third.workers[0].runs) == (12, 4)
    assert every.workers[0].checks == 3 * third.workers[0].checks


def test_runs_before_the_period_are_not_in_it(tmp_path: Path) -> None:
    written(tmp_path / "h.db")
    with past_of(tmp_path / "h.db", AT_MS + 10 * MINUTE_MS) as (past, _):
        found = past.footprint_since(AT_MS + 7 * MINUTE_MS, MINUTE_MS)
    assert [one.slot - AT_MS // MINUTE_MS for one in found.workers] == [7, 8, 9]


def test_command_prints_the_context_of_each_server(status: Status, tmp_path: Path) -> None:
    told_history(tmp_path / "history.db")
    table = list(csv.DictReader(io.StringIO(status("report", "cost", "--format", "csv").stdout)))
    assert [(row["server"], row["tools"], row["tools_tokens"]) for row in table] == [
        ("search", "10", "300"),
        ("files", "1", "100"),
    ]
