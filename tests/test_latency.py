"""What `report latency` says of a fleet whose habits are known."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import AT_MS
from habits import GAP_HOUR, GROUP, HOUR_MS, HOURS, UNTIL_MS, asked, fleet, one_check, write
from reports import output_forms
from reports.latency import build
from reports.report_model import Insufficient, Level, Report
from reports.report_rows import By
from storage.history import reading

WITHIN = 0.01


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fleet(tmp_path_factory.mktemp("latency") / "history.db")


def report(path: Path, since_ms: int = AT_MS, *names: str, until_ms: int = UNTIL_MS, **more: Any) -> Report:
    with asked(path, since_ms, until_ms, *names) as (past, period):
        return build(past, period, **more)


def table(report: Report, name: str) -> list[dict[str, Any]]:
    """The rows of a section, with what is insufficient as it is."""
    (section,) = [one for one in report.sections if one.name == name]
    assert section.table is not None
    columns = [column.name for column in section.table.columns]
    return [dict(zip(columns, row, strict=True)) for row in section.table.rows]


def good_ms(path: Path, name: str, kind: str) -> np.ndarray[Any, Any]:
    query = "select duration_ms from probe_history where server = ? and kind = ? and status = 'HEALTHY'"
    with reading(path) as connection:
        return np.sort([row[0] for row in connection.exec_driver_sql(query, (name, kind))])


def nearest(ordered: np.ndarray[Any, Any], ratio: float) -> float:
    return float(ordered[max(1, math.ceil(ratio * len(ordered) - 1e-9)) - 1])


def test_percentiles_are_those_of_the_probes_that_got_their_answer(history: Path) -> None:
    rows = table(report(history), "latency")
    assert sorted((row["server"], row["kind"]) for row in rows) == sorted(
        (name, kind) for name in GROUP for kind in ("mcp", "rest")
    )
    for row in rows:
        durations = good_ms(history, row["server"], row["kind"])
        assert row["n"] == len(durations)
        assert (row["min_ms"], row["max_ms"]) == pytest.approx((durations[0], durations[-1]))
        for name, ratio in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
            assert row[f"{name}_ms"] == pytest.approx(nearest(durations, ratio), rel=WITHIN)


def test_slowest_come_first_and_the_verdict_names_the_slowest(history: Path) -> None:
    seen = report(history, top=3)
    assert [(row["server"], row["kind"]) for row in table(seen, "latency")][:2] == [("slow", "mcp"), ("slow", "rest")]
    assert seen.verdict.startswith("Slowest of 16: slow mcp, p95 4")
    assert len(table(seen, "latency")) == 3
    assert seen.notes == ("3 of 16 rows by server are shown, the slowest; --top shows more",)


def test_failures_are_counted_by_reason_and_are_in_no_percentile(history: Path) -> None:
    seen = report(history, kinds=("rest",))
    (flaky,) = [row for row in table(seen, "latency") if row["server"] == "flaky"]
    failed = -(-((HOURS - 1) * 12) // 10)
    assert (flaky["failed"], flaky["timeouts"]) == (failed, failed // 2)
    assert flaky["n"] == (HOURS - 1) * 12 - failed
    assert flaky["max_ms"] < 100
    reasons = {row["reason"]: (row["failures"], row["censored"]) for row in table(seen, "failures")}
    assert reasons == {"http_status": (failed // 2, ""), "deadline": (failed // 2, "censored")}
    over_time = table(seen, "failures_over_time")
    assert sum(row["deadline_failures"] + row["http_status_failures"] for row in over_time) == failed


def test_percentiles_of_too_few_samples_are_insufficient_and_intervals_open(history: Path) -> None:
    seen = report(history, UNTIL_MS - HOUR_MS, "slow", kinds=("rest",))
    (row,) = table(seen, "latency")
    assert row["n"] == 12
    assert isinstance(row["p50_ms"], float)
    assert isinstance(row["p90_ms"], float)
    assert [row["p95_ms"], row["p99_ms"], row["p999_ms"]] == [Insufficient(12, wanted) for wanted in (20, 100, 1000)]
    (ends,) = table(seen, "intervals")
    durations = good_ms(history, "slow", "rest")
    assert durations[0] <= ends["p50_low_ms"] <= row["p50_ms"] <= ends["p50_high_ms"] <= durations[-1]
    assert (ends["p90_high_ms"], ends["p95_high_ms"]) == (math.inf, Insufficient(12, 20))
    (section,) = [one for one in seen.sections if one.name == "intervals"]
    assert section.table is not None
    place = [column.name for column in section.table.columns].index("p90_high_ms")
    assert output_forms.words(section.table.columns[place], section.table.rows[0][place]) == "open"
    assert output_forms.document(seen)["sections"]["intervals"][0]["p90_high_ms"] is None


def test_the_interval_of_a_median_is_between_its_ranks(history: Path) -> None:
    """Of 276 samples the ranks are 122 and 155."""
    (row,) = table(report(history, AT_MS, "slow", kinds=("rest",)), "intervals")
    durations = good_ms(history, "slow", "rest")
    assert len(durations) == 276
    assert row["p50_low_ms"] == pytest.approx(durations[121], rel=WITHIN)
    assert row["p50_high_ms"] == pytest.approx(durations[154], rel=WITHIN)


def test_an_hour_without_checks_is_a_gap(history: Path) -> None:
    seen = report(history, AT_MS, "slow")
    rows = table(seen, "over_time")
    assert [row["rest_n"] for row in rows] == [None if hour == GAP_HOUR else 12 for hour in range(HOURS)]
    (section,) = [one for one in seen.sections if one.name == "over_time"]
    mcp, rest = section.charts
    assert [line.label for line in rest.lines] == ["p50", "p95", "p99"]
    assert rest.lines[0].values[GAP_HOUR] is None
    assert mcp.lines[0].values[0] == pytest.approx(400, rel=0.05)
    assert rest.lines[1].values == [None] * HOURS


def test_a_server_that_became_slower_than_in_the_period_before_is_told(history: Path) -> None:
    seen = report(history, UNTIL_MS - 8 * HOUR_MS)
    rows = {(row["server"], row["kind"]): row for row in table(seen, "compared")}
    worse = rows["worse", "rest"]
    assert (worse["p50_verdict"], worse["p95_verdict"]) == ("slower", "slower")
    assert (worse["p50_before_ms"], worse["p50_ms"]) == pytest.approx((20, 40), rel=0.03)
    assert worse["p50_difference_ms"] == pytest.approx(20, rel=0.1)
    assert {rows[name, "rest"]["p50_verdict"] for name in ("fast-1", "fast-2", "slow")} <= {"same", "cannot tell"}
    assert seen.level is Level.WARNING
    assert "4 of 16 became slower than in the period before." in seen.verdict
    assert list(rows)[:2] == [("worse", "mcp"), ("worse", "rest")] or list(rows)[:2] == [
        ("worse", "rest"),
        ("worse", "mcp"),
    ]


def test_verdicts_of_few_rows_are_corrected_for_all(history: Path) -> None:
    every = {(row["server"], row["kind"]): row for row in table(report(history, UNTIL_MS - 8 * HOUR_MS), "compared")}
    few = table(report(history, UNTIL_MS - 8 * HOUR_MS, top=5), "compared")
    assert len(few) == 5
    assert [every[row["server"], row["kind"]] for row in few] == few


def test_fewer_than_five_slots_on_a_side_give_no_verdict(history: Path) -> None:
    rows = table(report(history, UNTIL_MS - 4 * HOUR_MS), "compared")
    assert {str(row["p50_verdict"]) for row in rows} == {str(Insufficient(4, 5))}


def test_nothing_is_compared_where_nothing_was_before(history: Path) -> None:
    assert "compared" not in [one.name for one in report(history).sections]


@pytest.mark.parametrize("by", [By.GROUP, By.KIND])
def test_rows_of_many_servers_are_summed_before_the_percentile_is_taken(history: Path, by: By) -> None:
    rows = {row["kind"]: row for row in table(report(history, by=by), "latency")}
    durations = np.sort(np.concatenate([good_ms(history, name, "rest") for name in GROUP]))
    assert rows["rest"]["n"] == len(durations)
    assert rows["rest"]["p99_ms"] == pytest.approx(nearest(durations, 0.99), rel=WITHIN)
    assert rows["rest"]["p999_ms"] == pytest.approx(nearest(durations, 0.999), rel=WITHIN)
    compared = {row["kind"]: row for row in table(report(history, UNTIL_MS - 8 * HOUR_MS, by=by), "compared")}
    assert compared["rest"]["n"] + compared["rest"]["n_before"] < 2 * 8 * 12 * len(GROUP)


def test_stages_are_shown_in_their_order_with_their_share_of_the_whole(history: Path) -> None:
    seen = report(history, AT_MS, "slow", by=By.STAGE)
    rows = table(seen, "latency")
    assert [(row["kind"], row["stage"]) for row in rows] == [
        ("mcp", "total"),
        ("mcp", "initialize"),
        ("mcp", "list"),
        ("rest", "total"),
        ("rest", "connect"),
        ("rest", "wait"),
    ]
    assert [row["share_ratio"] for row in rows] == pytest.approx([1, 0.5, 0.25, 1, 0.1, 0.6], rel=0.02)
    wait = [row["mean_ms"] for row in table(seen, "stages_over_time") if row["stage"] == "wait"]
    assert len(wait) == HOURS - 1
    assert wait == pytest.approx([120] * len(wait), rel=0.05)


def test_one_stage_is_shown_for_each_server_with_its_share(history: Path) -> None:
    rows = table(report(history, stage="wait"), "latency")
    assert {row["kind"] for row in rows} == {"rest"}
    assert len(rows) == len(GROUP)
    assert [row["share_ratio"] for row in rows] == pytest.approx([0.6] * len(GROUP), rel=0.02)
    assert (rows[0]["server"], rows[0]["p50_ms"]) == ("slow", pytest.approx(120, rel=0.03))


def test_the_newest_hour_is_compared_with_the_same_hour_of_three_weeks(tmp_path: Path) -> None:
    week_ms = 7 * 24 * HOUR_MS
    newest_ms = AT_MS + 3 * week_ms
    times = [AT_MS + week * week_ms + minute * 60_000 for week in range(4) for minute in range(0, 48, 8)]

    def checks(_: int, at_ms: int) -> list[Any]:
        return [one_check("usual", at_ms, 20.0), one_check("busy", at_ms, 60.0 if at_ms >= newest_ms else 20.0)]

    path = write(tmp_path / "weeks.db", times, checks)
    rows = table(report(path, newest_ms, until_ms=newest_ms + HOUR_MS), "same_hour")
    by_name = {row["server"]: row for row in rows if row["kind"] == "rest"}
    assert rows[0]["server"] == "busy"
    assert (by_name["busy"]["ratio"], by_name["busy"]["weeks"]) == (pytest.approx(3, rel=0.02), 3)
    assert (by_name["busy"]["place"], by_name["usual"]["place"]) == ("above all", "within")
    earlier = report(path, newest_ms - week_ms, until_ms=newest_ms - week_ms + HOUR_MS)
    assert "same_hour" not in [one.name for one in earlier.sections]


def test_a_history_without_an_answer_is_insufficient(history: Path) -> None:
    seen = report(history, UNTIL_MS + 10 * HOUR_MS, until_ms=UNTIL_MS + 11 * HOUR_MS)
    assert (seen.level, seen.verdict) == (Level.UNKNOWN, "Insufficient: no probe was answered in this time.")
    assert table(seen, "latency") == []


def test_the_command_gives_every_form(status: Any, tmp_path: Path) -> None:
    """The process asks what time it is: the history ends a minute ago."""
    import time

    now_ms = time.time_ns() // 1_000_000
    times = [now_ms - minute * 60_000 for minute in range(25, 0, -1)]
    write(tmp_path / "history.db", times, lambda _, at_ms: [one_check("a", at_ms, 20.0), one_check("b", at_ms, 30.0)])
    document = json.loads(status("report", "latency", "--since", "2h", "--format", "json").stdout)
    first = document["sections"]["latency"][0]
    assert (first["server"], first["kind"], first["n"]) == ("b", "mcp", 25)
    assert first["p95_ms"] == pytest.approx(60, rel=WITHIN)
    assert first["insufficient"]["p99_ms"] == {"samples": 25, "wanted": 100}
    lines = status("report", "latency", "--since", "2h", "--format", "csv", "--kind", "rest").stdout
    assert [row["server"] for row in csv.DictReader(io.StringIO(lines))] == ["b", "a"]
    shown = status("report", "latency", "--since", "2h", "--by", "stage", "--server", "a")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Where the time goes" in shown.stdout
    trends = status("report", "trends", "--since", "2h")
    assert trends.stdout.startswith("Insufficient: no server has 8 slots with enough answers.")
