"""What `report trends` finds in a fleet whose habits are known, and that it finds nothing where there is nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from builders import AT_MS
from habits import GAP_HOUR, GROUP, HOUR_MS, HOURS, STEP_HOUR, UNTIL_MS, asked, fleet
from reports import trends as lists
from reports.report_model import Level, Report
from reports.trend_tests import OfServer, PercentileSeries, Steady, examine, usual
from reports.trends import build
from storage.rollups.read import Period

DAYS = 90
PERIOD = Period(AT_MS // 86_400_000 * 86_400_000, (AT_MS // 86_400_000 + DAYS) * 86_400_000, 86_400_000)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fleet(tmp_path_factory.mktemp("trends") / "history.db")


@pytest.fixture(scope="module")
def seen(history: Path) -> Report:
    with asked(history, AT_MS, UNTIL_MS) as (past, period):
        return build(past, period)


def table(report: Report, name: str) -> list[dict[str, Any]]:
    (section,) = [one for one in report.sections if one.name == name]
    assert section.table is not None
    columns = [column.name for column in section.table.columns]
    return [dict(zip(columns, row, strict=True)) for row in section.table.rows]


def test_the_verdict_names_the_servers_that_became_slower(seen: Report) -> None:
    assert seen.verdict == "2 of 8 servers became slower: drifting, worse."
    assert seen.level is Level.WARNING


def test_a_drift_has_its_slope_with_an_interval_around_it(seen: Report) -> None:
    rows = {(row["server"], row["kind"]): row for row in table(seen, "slopes") if row["metric"] == "p50"}
    drifting = rows["drifting", "rest"]
    assert drifting["direction"] == "slower"
    assert drifting["slope_low_ms_per_day"] < 20 < drifting["slope_high_ms_per_day"]
    assert drifting["slope_ms_per_day"] == pytest.approx(20, rel=0.1)
    assert drifting["slope_ratio_per_week"] == pytest.approx(7 * 20 / 30, rel=0.1)
    assert drifting["p_value"] < 0.001
    assert drifting["slots"] == HOURS - 1
    assert {name for name, _ in rows} <= {"drifting", "worse"}


def test_a_change_of_level_has_its_hour_and_both_levels(seen: Report) -> None:
    (row,) = [row for row in table(seen, "changes") if (row["server"], row["kind"]) == ("worse", "rest")]
    assert row["at"] == AT_MS + STEP_HOUR * HOUR_MS
    assert (row["before_ms"], row["after_ms"], row["ratio"]) == pytest.approx((20, 40, 2), rel=0.03)
    assert row["confidence_ratio"] > 0.95
    (section,) = [one for one in seen.sections if one.name == "changes"]
    chart = section.charts[0]
    assert [mark.x for mark in chart.marks] == [AT_MS + STEP_HOUR * HOUR_MS]
    assert chart.lines[0].values[GAP_HOUR] is None


def test_the_slow_one_is_an_outlier_of_its_group(seen: Report) -> None:
    rows = [row for row in table(seen, "outliers") if row["kind"] == "rest"]
    assert (rows[0]["server"], rows[0]["group"], rows[0]["members"]) == ("slow", "shop", len(GROUP))
    assert rows[0]["factor"] == pytest.approx(10, rel=0.1)
    assert "fast-1" not in {row["server"] for row in rows}


def test_the_flakiest_is_the_one_that_changes_most_for_its_checks(seen: Report) -> None:
    (row,) = table(seen, "flakiest")
    checks = (HOURS - 1) * 12
    assert (row["server"], row["checks"]) == ("flaky", checks)
    assert row["changes"] == 2 * -(-checks // 10)
    assert row["changes_per_100_checks"] == pytest.approx(100 * row["changes"] / checks)


def test_the_most_drifted_comes_first(seen: Report) -> None:
    rows = table(seen, "drifted")
    assert rows[0]["server"] == "worse"
    assert rows[0]["ratio"] == pytest.approx(2, rel=0.05)


def test_every_list_has_at_most_so_many_rows_and_says_its_rule(history: Path) -> None:
    with asked(history, AT_MS, UNTIL_MS) as (past, period):
        few = build(past, period, top=1)
    for section in few.sections:
        assert section.table is not None
        assert len(section.table.rows) <= 1
        assert "Rule: " in section.text
    assert few.verdict.startswith("2 of 8 servers became slower")


def test_a_short_time_is_insufficient(history: Path) -> None:
    with asked(history, UNTIL_MS - 4 * HOUR_MS, UNTIL_MS) as (past, period):
        seen = build(past, period)
    assert (seen.level, seen.verdict) == (
        Level.UNKNOWN,
        "Insufficient: no server has 8 slots with enough answers.",
    )
    assert seen.notes == ["32 of 32 series have fewer than 8 slots with enough answers: no trend is told of them"]


def metric(values_ms: Any) -> PercentileSeries:
    return PercentileSeries(
        "p50", [OfServer(f"s{row}", "g", "rest") for row in range(len(values_ms))], np.asarray(values_ms)
    )


def noise(rows: int, seed: int) -> Any:
    return 100 * np.random.default_rng(seed).lognormal(0, 0.08, (rows, DAYS))


@pytest.mark.parametrize("seed", range(3))
def test_a_fleet_in_which_nothing_happens_is_quiet(seed: int) -> None:
    """300 servers and 90 days of noise alone: a single alarm in twenty such fleets is what the correction allows."""
    quiet = [metric(noise(300, seed))]
    up = np.full((300, DAYS), 86_400_000.0)
    down = np.random.default_rng(seed).exponential(60_000, (300, DAYS))
    steady = Steady([f"s{row}" for row in range(300)], up - down, down, up, up)
    tests = examine(PERIOD, quiet, steady)
    assert lists.slope_list(PERIOD, tests, 20).servers == []
    assert lists.changes_of_level(PERIOD, tests, 20).servers == []
    assert lists.availability(steady, tests, 20).servers == []


def test_three_of_three_hundred_are_found_among_noise() -> None:
    values = noise(300, 5)
    values[7, 60:] *= 1.5
    values[42] *= np.linspace(1, 1.6, DAYS)
    values[200, 83:] *= 2
    tests = examine(PERIOD, [metric(values)])
    found = {*lists.slope_list(PERIOD, tests, 20).servers, *lists.changes_of_level(PERIOD, tests, 20).servers}
    assert found == {"s7", "s42", "s200"}


def test_a_level_that_came_back_is_no_server_that_became_slower() -> None:
    values = noise(50, 5)
    values[7, 30:50] *= 2
    changes = lists.changes_of_level(PERIOD, examine(PERIOD, [metric(values)]), 20)
    assert [row[3] for row in changes.section.table.rows] == [  # type: ignore[union-attr] # it has one
        PERIOD.since_ms + day * 86_400_000 for day in (30, 50)
    ]
    assert changes.servers == []


def test_falling_availability_is_told_with_both_halves() -> None:
    up = np.full((20, DAYS), 86_400_000.0)
    down = np.random.default_rng(1).exponential(60_000, (20, DAYS))
    down[4] += np.linspace(0, 4_000_000, DAYS)
    steady = Steady([f"s{row}" for row in range(20)], up - down, down, up, up)
    fallen = lists.availability(steady, examine(PERIOD, [], steady), 20)
    assert fallen.servers == ["s4"]
    (row,) = fallen.section.table.rows  # type: ignore[union-attr] # it has one
    assert row[:2] == ["s4", "fell"]
    assert row[2] > row[3]


def with_rhythm(rows: int, slots: int, step_row: int | None = None) -> PercentileSeries:
    """Hours that follow the hour of the day by 40%, ten days of them, of which the last are the period."""
    hours = np.arange(240)
    levels = 100 * np.random.default_rng(3).lognormal(0, 0.08, (rows, 240)) * (1 + 0.4 * np.sin(2 * np.pi * hours / 24))
    if step_row is not None:
        levels[step_row, -slots // 2 :] *= 3
    longer = Period(AT_MS // HOUR_MS * HOUR_MS, (AT_MS // HOUR_MS + 240) * HOUR_MS, HOUR_MS)
    return replace(metric(levels[:, -slots:]), usual=usual(levels, longer)[:, -slots:])


@pytest.mark.parametrize("slots", [24, 36])
def test_a_rhythm_of_the_day_is_no_trend_and_does_not_hide_a_step(slots: int) -> None:
    period = Period(AT_MS // HOUR_MS * HOUR_MS, (AT_MS // HOUR_MS + slots) * HOUR_MS, HOUR_MS)
    rhythm = with_rhythm(20, slots)
    even = examine(period, [rhythm], None)
    assert [one.slopes for one in even.metrics] == [[]]
    assert [one.levels for one in even.metrics] == [{}]
    raw = examine(period, [replace(rhythm, usual=None)], None)
    assert len(raw.metrics[0].slopes) + len(raw.metrics[0].levels) >= 10
    stepped = examine(period, [with_rhythm(20, slots, step_row=7)], None)
    assert lists.changes_of_level(period, stepped, 20).servers == ["s7"]


def test_several_changes_of_a_series_are_found_and_a_dip_that_came_back_is_marked() -> None:
    values = noise(20, 6)
    values[3, 20:50] *= 2
    values[3, 50:] *= 4
    values[9, 30:60] *= 0.5
    tests = examine(PERIOD, [metric(values)], None)
    changes = lists.changes_of_level(PERIOD, tests, 20)
    assert changes.section.table is not None
    rows = sorted((row[0], (row[3] - PERIOD.since_ms) // 86_400_000, row[-1]) for row in changes.section.table.rows)
    assert rows == [("s3", 20, ""), ("s3", 50, ""), ("s9", 30, "came back"), ("s9", 60, "came back")]
    assert changes.servers == ["s3"]


def test_what_no_test_could_see_is_said() -> None:
    """The least p-value of seven days against seven is 0.0006: among thousands of series that is nothing."""
    week = Period(PERIOD.since_ms, PERIOD.since_ms + 14 * 86_400_000, 86_400_000)
    many = examine(week, [metric(noise(500, 7)[:, :14])], None)
    assert many.cannot_tell == many.series == 500
    assert math.isinf(many.smallest_ratio)
    few = examine(PERIOD, [metric(noise(50, 7))], None)
    assert few.cannot_tell == 0
    assert 0.1 <= few.smallest_ratio < 0.3
    slow = noise(5, 7)[:, :14]
    slow[2, 7:] *= 10
    assert lists.changes_of_level(week, examine(week, [metric(slow)], None), 20).servers == ["s2"]
