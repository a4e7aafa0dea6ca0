"""What reports ask of the database is found by key: none of their queries reads through the raw rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pasts import MINUTE_MS, past_of, write_past

from builders import AT_MS
from reports import availability, contract, cost, incidents
from storage.rollups.watermarks import DAY_MS

RAW = {"recent_checks", "recent_probes", "sorted_checks", "sorted_probes", "c", "p", "e", "k", "n"}
"""Raw tables, and the names that queries give them."""
WORDS = {"a": "H" * 70 + "UUHHHU", "b": "H" * 76, "c": "HU" * 38}


def plans_of(build: Any, path: Path, now_ms: int, back_ms: int) -> list[str]:
    """How SQLite carries out each query that a report makes."""
    asked: list[str] = []
    plans = []
    with past_of(path, now_ms, now_ms - back_ms) as (past, period):
        past._connection.of_driver.set_trace_callback(asked.append)  # with the values in their places
        build(past, period)
        past._connection.of_driver.set_trace_callback(None)
        for statement in asked:
            plans += past._connection.exec_driver_sql(f"explain query plan {statement}").all()
    return [row[-1] for row in plans]


@pytest.mark.parametrize("report", [availability, incidents, contract, cost])
@pytest.mark.parametrize("back_ms", [60 * MINUTE_MS, 90 * DAY_MS])
def test_no_query_of_a_report_reads_through_raw_rows(tmp_path: Path, report: Any, back_ms: int) -> None:
    fields = {name: {"objective": 0.99} for name in WORDS}
    now_ms = write_past(tmp_path / "h.db", WORDS, at_ms=AT_MS, servers=fields)
    plans = plans_of(report.build, tmp_path / "h.db", now_ms, back_ms)
    assert len(plans) > 5
    assert [plan for plan in plans if plan.split()[:1] == ["SCAN"] and set(plan.split()[1:2]) & RAW] == []
