"""Load tests over time: steps are found from ten runs on, environments are marked, and what is unfit is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench_histories import AT_MS, ENVIRONMENT, Judged, played, trusting
from msgspec.structs import replace

from checker.errors import UsageError
from checker.loadtest.results import BenchRun, BenchState, plan_digest
from reports import output_forms
from reports.html import page
from reports.loadtests.compared_runs import runs_of
from reports.loadtests.trend import build
from reports.report_model import Level, Report
from storage.loadtests.write import RecordingWriter
from storage.store import open_store

HOUR_MS = 3_600_000


def nightly(medians_ms: list[float], **values: Any) -> list[BenchRun]:
    return [
        replace(
            played(median_ms=median_ms, seconds=20, seed=seed, **values),
            id=seed + 1,
            started_at_ms=AT_MS + seed * HOUR_MS,
        )
        for seed, median_ms in enumerate(medians_ms)
    ]


def records(report: Report, name: str) -> list[dict[str, Any]]:
    (section,) = (one for one in report.sections if one.name == name)
    return list(output_forms.records(section))


def test_step_is_found_at_its_run_with_both_levels() -> None:
    report = build(nightly([10.0] * 8 + [14.0] * 7))
    found = {one["statistic"]: one for one in records(report, "changes")}
    assert {one["benchmark_id"] for one in found.values()} == {9}
    assert found["p50_ms"]["before"] == pytest.approx(10.0, rel=0.03)
    assert found["p50_ms"]["after"] == pytest.approx(14.0, rel=0.03)
    assert "failed_ratio" not in found
    assert report.level is Level.WARNING
    assert "became worse" in report.verdict
    assert "at load test 9" in report.verdict


def test_step_for_the_better_is_no_warning() -> None:
    report = build(nightly([14.0] * 6 + [10.0] * 6))
    assert (report.level, len(records(report, "changes")) > 0) == (Level.GOOD, True)
    assert "none for the worse lately" in report.verdict


def test_higher_throughput_is_better() -> None:
    runs = nightly([10.0] * 6, model="closed") + [
        replace(one, id=(one.id or 0) + 6, started_at_ms=one.started_at_ms + 6 * HOUR_MS)
        for one in nightly([10.0] * 6, model="closed", rate=150)
    ]
    report = build(runs)
    assert [one["statistic"] for one in records(report, "changes")] == ["ok_per_s"]
    assert report.level is Level.GOOD
    assert build([replace(run, started_at_ms=-run.started_at_ms) for run in runs]).level is Level.WARNING


def test_steady_runs_have_no_changes() -> None:
    report = build(nightly([10.0] * 14))
    assert records(report, "changes") == []
    assert report.verdict == "Steady: no change of level in 4 statistics of 14 runs."


def test_below_ten_runs_it_says_that_they_are_too_few() -> None:
    report = build(nightly([10.0] * 4 + [20.0] * 5))
    assert report.level is Level.UNKNOWN
    assert report.verdict == "Insufficient: 9 of 10 runs that changes of level need."
    assert records(report, "series")[0]["insufficient"] == {"changes": {"samples": 9, "wanted": 10}}
    assert len(records(report, "points")) == 9 * 4


def test_change_of_the_environment_is_marked_where_it_happened() -> None:
    runs = nightly([10.0] * 6 + [14.0] * 6)
    other = {**ENVIRONMENT, "python": "3.14.0", "git_commit": "def"}
    report = build([replace(run, environment=other) if (run.id or 0) > 6 else run for run in runs])
    (mark,) = records(report, "environment")
    assert (mark["benchmark_id"], mark["differs"]) == (7, "python (3.13.1, 3.14.0)")
    assert records(report, "changes")[0]["environment"] == "python (3.13.1, 3.14.0)"
    (points,) = (one for one in report.sections if one.name == "points")
    assert {mark.label for chart in points.charts for mark in chart.marks} >= {"environment", "p50, p95, p99 changed"}


def test_series_that_began_later_has_gaps_before() -> None:
    runs = nightly([10.0] * 3) + [
        replace(run, id=(run.id or 0) + 3, started_at_ms=run.started_at_ms + 3 * HOUR_MS)
        for run in nightly([10.0] * 2, servers=("search", "orders"))
    ]
    found = {(one["server"], one["statistic"]): one["runs"] for one in records(build(runs), "series")}
    assert found["search", "p50_ms"] == 5
    assert found["orders", "p50_ms"] == 2


def test_trend_is_a_page_with_charts() -> None:
    text = page(build(nightly([10.0] * 6 + [14.0] * 6)))
    assert text.count("<svg") >= 1
    assert "health rest search" in text


def test_output_and_thresholds_are_no_part_of_the_load() -> None:
    load = {"name": "n", "servers": [{"name": "a", "rest": "http://h/"}], "scenarios": {"q": {"users": 2}}}
    beside = {"output": {"directory": "x", "formats": ["json"]}, "thresholds": {"q": ["p(95)<5"]}, "calibrate": False}
    assert plan_digest({**load, **beside}) == plan_digest(load)
    assert plan_digest({**load, "scenarios": {"q": {"users": 3}}}) != plan_digest(load)
    assert plan_digest({**load, "seed": 3}) != plan_digest(load)


def test_runs_of_one_plan_make_a_series_and_the_rest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    plans: list[dict[str, Any]] = [
        *({"plan_digest": "e" * 64}, {}, {"state": BenchState.ABORTED}, {}, {"name": "other"}, {}),
    ]
    with open_store(path) as store:
        for values in plans:
            run = played(seconds=1, **values)
            RecordingWriter(store, run).finish(run)

    def judge(run: BenchRun) -> Judged:
        return Judged(run.id == 4, "the client was busy")

    found = runs_of(path, None, 50, judge)
    assert [run.id for run in found.runs] == [6, 2]
    assert found.left_out == (
        "left out: load test 4: the client was busy",
        "left out: load test 3 was aborted",
        "1 more of this name had another plan; --all-plans takes them in",
    )
    assert [run.id for run in runs_of(path, "nightly", 50, trusting, all_plans=True).runs] == [6, 4, 2, 1]
    assert [run.id for run in runs_of(path, "nightly", 1, trusting).runs] == [6]
    with pytest.raises(UsageError, match="no load test nothing"):
        runs_of(path, "nothing", 50, trusting)
