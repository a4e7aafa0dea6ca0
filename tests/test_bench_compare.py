"""Two load tests compared: told apart when they differ, not when they do not, and never from what says nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_histories import AT_MS, Judged, histogram, played, slot, threshold, trusting
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from msgspec.structs import replace as changed

from checker.errors import UsageError
from checker.loadtest.results import BenchKind, BenchRun, BenchState, Capacity, Series, Slot, StageSpan
from checker.stats.compare import CandidateOutcome
from checker.stats.histogram import Cells
from reports import output_forms
from reports.loadtests.compare import BenchComparison, Effects, compare_sides, compared_rows
from reports.loadtests.compared_runs import Side, sides
from reports.loadtests.comparison_report import markdown, report_of
from reports.loadtests.run_blocks import Blocks, Key, Statistic, blocks_of, quantile_ms
from reports.report_model import Insufficient, Level
from storage.loadtests.read import set_baseline
from storage.loadtests.write import RecordingWriter
from storage.store import open_store

QUICK = Effects(response_ms=0.1)


def side(*runs: BenchRun, scenario: str = "", unfit: str = "") -> Side:
    return Side("a run", runs, scenario, unfit)


def compared(before: BenchRun, after: BenchRun, effects: Effects = QUICK) -> BenchComparison:
    return compare_sides(side(before), side(after), effects)


def several(seed: int, **values: Any) -> Side:
    """Five runs of one level."""
    return side(*(played(seed=100 * seed + number, **values) for number in range(5)))


def outcomes(found: BenchComparison) -> dict[tuple[str, str], CandidateOutcome]:
    return {(row.key.server, row.statistic.value): row.outcome for row in found.rows if row.comparison}


def test_slower_server_is_worse_and_faster_one_better() -> None:
    before, after = several(1), several(2, median_ms=5.75)
    slower, faster = compare_sides(before, after, QUICK), compare_sides(after, before, QUICK)
    assert (slower.outcome, faster.outcome) == (CandidateOutcome.WORSE, CandidateOutcome.BETTER)
    assert outcomes(slower)["search", "p50_ms"] is CandidateOutcome.WORSE
    assert outcomes(slower)["search", "failed_ratio"] is CandidateOutcome.SAME
    (row,) = [row for row in slower.rows if row.statistic is Statistic.P50]
    assert row.comparison is not None
    assert row.comparison.ratio == pytest.approx(1.15, abs=0.03)
    assert (row.runs, row.blocks) == ((5, 5), (30, 30))
    assert row.between is not None
    assert (row.between.runs, row.between.assumed, row.between.deviation < 0.02) == (10, False, True)


def test_one_run_on_each_side_says_nothing_of_how_runs_differ() -> None:
    found = compared(played(seed=1), played(seed=2, median_ms=5.75))
    assert found.outcome is CandidateOutcome.CANNOT_TELL
    assert (found.more, found.unit) == (3, "runs")
    assert "their standard deviation is assumed to be 10.0%" in " ".join(found.notes)
    assert "3 more runs on each side would tell" in report_of(found, QUICK).verdict
    assert compared(played(seed=1), played(seed=2, median_ms=15.0)).outcome is CandidateOutcome.WORSE


def test_a_run_within_the_spread_of_the_runs_before_is_not_worse() -> None:
    """A run at 55 ms is 1.4 standard errors from the mean of five whose level differs by 6%."""
    others = tuple(played(seed=number, median_ms=level) for number, level in enumerate((54.0, 46.0, 52.0, 48.0)))
    single = Side("a run", (played(seed=5, median_ms=50.0),), others=others)
    for baseline in (side(*others, *single.runs), single):
        for level, outcome in ((55.0, CandidateOutcome.CANNOT_TELL), (150.0, CandidateOutcome.WORSE)):
            found = compare_sides(baseline, side(played(seed=9, median_ms=level)), QUICK)
            assert outcomes(found)["search", "p50_ms"] is outcome
            (row,) = [row for row in found.rows if row.statistic is Statistic.P50]
            assert row.between is not None
            assert (row.between.runs, row.between.deviation) == (6, pytest.approx(0.063, abs=0.005))


def test_equal_servers_are_not_told_apart() -> None:
    found = compare_sides(several(1), several(2), QUICK)
    assert outcomes(found)["search", "p50_ms"] is CandidateOutcome.SAME
    assert CandidateOutcome.WORSE not in outcomes(found).values()
    assert CandidateOutcome.BETTER not in outcomes(found).values()


def test_difference_below_the_least_effect_is_none() -> None:
    before, after = several(1), several(2, median_ms=5.75)
    assert compare_sides(before, after, Effects(response_ms=2.5)).outcome is CandidateOutcome.SAME
    assert compare_sides(before, after, Effects(response_ms=0.1, ratio=0.5)).outcome is CandidateOutcome.SAME
    assert compare_sides(before, after, QUICK).outcome is CandidateOutcome.WORSE


def test_failures_are_compared_as_shares() -> None:
    found = compared(played(seed=1), played(seed=2, failed_ratio=0.1))
    assert outcomes(found)["search", "failed_ratio"] is CandidateOutcome.WORSE
    assert found.outcome is CandidateOutcome.WORSE


def test_throughput_is_compared_in_the_closed_model_only_and_more_is_better() -> None:
    before, after = played(seed=1, model="closed"), played(seed=2, model="closed", rate=150)
    assert outcomes(compared(before, after))["search", "ok_per_s"] is CandidateOutcome.BETTER
    assert outcomes(compared(after, before))["search", "ok_per_s"] is CandidateOutcome.WORSE
    assert ("search", "ok_per_s") not in outcomes(compared(played(), played(rate=150)))


def test_each_server_and_all_together_are_compared_under_one_correction() -> None:
    before = played(servers=("a", "b"), seed=1)
    found = compared(before, played(servers=("a", "b"), seed=2))
    assert {row.key.server for row in found.rows} == {"a", "b", ""}
    alone = compared(played(servers=("a",), seed=1), played(servers=("a",), seed=1))
    assert {row.key.server for row in alone.rows} == {"a"}
    open_rows = [row.comparison for row in found.rows if row.comparison and row.comparison.p_value < 1]
    assert all(one.p_adjusted >= one.p_value for one in open_rows)


@given(st.integers(1, 4), st.integers(5, 8))
def test_statistics_that_cannot_differ_make_nothing_harder_to_tell(constant: int, blocks: int) -> None:
    steps = np.arange(blocks, dtype=float)
    moving = {Statistic.P50: 5 + steps / 100}, {Statistic.P50: 9 + steps / 100}
    pairs = {Key("s", "rest", "m"): tuple(Blocks(np.full(blocks, 999.0), values) for values in moving)}
    still = Blocks(np.full(blocks, 999.0), {Statistic.FAILED: np.zeros(blocks)})
    more = {Key("s", "rest", f"c{number}"): (still, still) for number in range(constant)}
    (alone,) = compared_rows({key: (a, b) for key, (a, b) in pairs.items()}, QUICK)
    first, *others = compared_rows({**{key: (a, b) for key, (a, b) in pairs.items()}, **more}, QUICK)
    assert first == alone
    assert {row.outcome for row in others} == {CandidateOutcome.SAME}


def test_too_few_blocks_of_one_run_cannot_tell_and_say_how_many_more_would() -> None:
    run = two_scenarios(slower=1.8)
    short = replace(run, stages=run.stages[:6], slots=run.slots[:6])
    found = compare_sides(side(short, scenario="old"), side(short, scenario="new"), QUICK)
    assert found.outcome is CandidateOutcome.CANNOT_TELL
    assert (found.more, found.unit) == (2, "blocks")
    assert "2 more blocks" in report_of(found, QUICK).verdict


def test_quantile_is_given_only_where_blocks_have_answers_enough_for_it() -> None:
    found = compared(played(rate=10, seed=1), played(rate=10, seed=2))  # 100 answers in a block
    by_statistic = {row.statistic: row for row in found.rows}
    assert by_statistic[Statistic.P99].comparison is None
    assert by_statistic[Statistic.P95].comparison is not None
    assert "p99 needs 368 good answers in a block, blocks of 10 s have 100: longer blocks would have it" in found.notes
    table = report_of(found, QUICK).sections[0].table
    assert table is not None
    assert Insufficient(100, 368) in [row[-2] for row in table.rows]
    longer = changed(QUICK, block_s=50.0)
    assert all(row.comparison for row in compared(played(rate=10), played(rate=10), longer).rows)


@settings(max_examples=50)
@given(st.lists(st.integers(100, 10**7), min_size=400, max_size=500), st.sampled_from((0.5, 0.95, 0.99)))
def test_quantile_of_a_block_is_within_a_bin_of_the_sample_at_its_rank(values: list[int], q: float) -> None:
    cells = Cells.of_blobs(np.zeros(1, np.int64), [histogram(values)])
    exact = sorted(values)[math.ceil(q * len(values)) - 1] / 1000
    assert quantile_ms(cells, q) == pytest.approx(exact, rel=0.021)


def test_blocks_of_equal_bins_still_have_values_of_their_own() -> None:
    (blocks,) = blocks_of(played(seconds=100, rate=300)).values()
    assert len(set(blocks.values[Statistic.P50].tolist())) == 10


def test_unfit_side_gives_no_verdict_but_shows_its_figures() -> None:
    found = compare_sides(side(played(seed=1)), side(played(seed=2, median_ms=9), unfit="load test 2: tired"), QUICK)
    assert (found.outcome, found.reason) == (CandidateOutcome.CANNOT_TELL, "load test 2: tired")
    assert {row.outcome for row in found.rows} == {CandidateOutcome.CANNOT_TELL}
    assert report_of(found, QUICK).verdict == "Cannot tell: load test 2: tired."
    assert found.more is None
    assert all(row.comparison and row.comparison.candidate >= 0 for row in found.rows)


def test_differing_environments_and_plans_are_noted_and_the_commit_is_not() -> None:
    other = {"machine": "other", "cores": "2", "python": "3.13.1", "git_commit": "def"}
    found = compared(played(), played(environment=other, workers=2, plan_digest="e" * 64, checker_version="2.0"))
    assert found.notes[:-1] == (
        "the environments differ in machine (box, other), checker version (1.0.0, 2.0), workers (1, 2)",
        "the plans differ: a difference may be that of the load",
    )
    assert len(compared(played(), played(environment={**other, "machine": "box"})).notes) == 1


def test_series_of_one_side_only_are_named() -> None:
    found = compared(played(servers=("a", "b")), played(servers=("a",)))
    assert {row.key.server for row in found.rows} == {"a"}
    assert found.notes[:-1] == ("only in a run, not compared: health rest b, health rest all servers",)
    nothing = compared(played(servers=("a",)), played(servers=("b",)))
    assert (nothing.outcome, nothing.reason) == (CandidateOutcome.CANNOT_TELL, "no series is in both")


def suite(cells: Sequence[tuple[int, float]], *, blocks: int = 6, seed: int = 0) -> BenchRun:
    """Cells of users and their median in milliseconds, in interleaved blocks of a second."""
    random = np.random.default_rng(seed)
    stages, slots = [], []
    for block in range(blocks):
        for users, median_ms in cells if block % 2 else reversed(cells):
            at = len(stages)
            stages.append(
                StageSpan(
                    scenario="suite",
                    name=f"{users} users",
                    kind="hold",
                    measured=True,
                    from_s=at,
                    until_s=at + 1,
                    start_level=users,
                    end_level=users,
                    users=users,
                    servers=1,
                    block=block,
                )
            )
            slots.append(slot(at, 1000 * median_ms * np.exp(random.normal(0, 0.2, 400)), stage=at))
    one = Series(scenario="suite", operation="rest", model="closed", server="search", url="http://127.0.0.1/")
    return replace(played(seconds=1), kind=BenchKind.SUITE, series=(one,), stages=tuple(stages), slots=tuple(slots))


def test_cells_of_a_suite_are_compared_each_for_itself() -> None:
    before, after = suite([(1, 5.0), (10, 20.0)], seed=1), suite([(1, 5.0), (10, 30.0)], seed=2)
    found = compared(before, after)
    worse = {row.key.users for row in found.rows if row.outcome is CandidateOutcome.WORSE}
    assert worse == {10}
    assert {row.blocks for row in found.rows} == {(6, 6)}


def two_scenarios(slower: float) -> BenchRun:
    """Blocks of scenario old and new in the order A B B A, a second each, in one run."""
    random = np.random.default_rng(3)
    stages, slots = [], []
    for at, name in enumerate(("old", "new", "new", "old") * 4):
        level = {"start_level": 1.0, "end_level": 1.0, "users": 1, "servers": 1, "block": at // 2}
        stages.append(
            StageSpan(scenario=name, name=name, kind="hold", measured=True, from_s=at, until_s=at + 1, **level)
        )
        times = 5000 * (slower if name == "new" else 1) * np.exp(random.normal(0, 0.2, 400))
        slots.append(slot(at, times, stage=at, series=("old", "new").index(name)))
    series = tuple(
        Series(scenario=name, operation="rest", model="open", server=name, url="http://127.0.0.1/")
        for name in ("old", "new")
    )
    return replace(played(seconds=1), kind=BenchKind.SUITE, series=series, stages=tuple(stages), slots=tuple(slots))


def test_interleaved_scenarios_of_one_run_are_compared_with_each_other() -> None:
    run = two_scenarios(slower=1.2)
    found = compare_sides(side(run, scenario="old"), side(run, scenario="new"), QUICK)
    assert found.outcome is CandidateOutcome.WORSE
    assert {(row.key.scenario, row.key.server, row.blocks) for row in found.rows} == {("", "", (8, 8))}


def test_stress_tests_show_capacities_without_a_verdict() -> None:
    stress = [
        replace(
            played(),
            kind=BenchKind.STRESS,
            capacity=Capacity(last_good=level, first_bad=2 * level, knee=None, recovery_s=3.0, levels=()),
        )
        for level in (100.0, 50.0)
    ]
    found = compared(*stress)
    assert (found.outcome, found.reason) == (
        CandidateOutcome.CANNOT_TELL,
        "a stress test finds its own levels; compare the capacities",
    )
    table = report_of(found, QUICK).sections[-1].table
    assert table is not None
    assert [row[2] for row in table.rows] == [100.0, 50.0]


def test_report_names_the_largest_difference_and_gives_all_as_records() -> None:
    found = compared(played(seed=1), played(seed=2, median_ms=8.0))
    report = report_of(found, QUICK)
    assert report.level is Level.BAD
    assert report.verdict.startswith("Worse: 3 worse, 1 same of 4 statistics. p")
    records = list(output_forms.records(report.sections[0]))
    assert [one["verdict"] for one in records] == ["worse", "worse", "worse", "same"]
    assert {"statistic", "baseline", "candidate", "low", "high", "p_adjusted", "more_runs", "between_runs"} <= set(
        records[0]
    )
    assert "".join(output_forms.csv(report)).splitlines()[0].startswith("scenario,operation,server,statistic")


def test_long_comparison_shows_what_is_worse_first_and_says_what_is_left_out() -> None:
    names = tuple(f"s{number:02}" for number in range(12))
    before = played(servers=names, seed=1, rate=40, seconds=100)
    found = compared(before, replace(before, slots=tuple(_slower(one, 3) for one in before.slots)), QUICK)
    report = report_of(found, QUICK, top=5)
    table = report.sections[0].table
    assert table is not None
    assert len(table.rows) == 5
    assert "5 of 52 rows are shown; JSON and CSV have all" in report.notes
    assert [(row[2], row[-2]) for row in table.rows][:2] == [("s03", "worse")] * 2
    assert len(list(output_forms.records(report_of(found, QUICK).sections[0]))) == 52


def _slower(one: Slot, series: int) -> Slot:
    """The slot with twice the response times, if it is of this series."""
    if one.series != series:
        return one
    cells = Cells.of_blobs(np.zeros(1, np.int64), [one.response])
    doubled = Cells(cells.group, cells.bin + 35, cells.count)  # 1.02 ** 35 = 2
    return replace(one, response=doubled.blobs(1)[0], max_us=2 * one.max_us)


def test_markdown_shows_what_is_not_the_same_and_escapes_names() -> None:
    text = markdown(compared(played(seed=1, servers=("a|b",)), played(seed=2, servers=("a|b",), median_ms=8.0)), QUICK)
    assert text.startswith("**Worse: 3 worse")
    assert "| health rest a\\|b | p50 | 4." in text
    assert "1 of 4 statistics are the same: within 5.0% or 0.10 ms, whichever is larger, of failures 1.0%." in text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Seven runs of a second: 1 good, 2 broke a threshold, 3 aborted, 4 of another plan, 5 and 6 good, 7 good."""
    path = tmp_path / "history.db"
    runs: list[dict[str, Any]] = [
        *({"thresholds": (threshold(True),)}, {"thresholds": (threshold(False),)}, {"state": BenchState.ABORTED}),
        *({"plan_digest": "e" * 64}, {}, {}, {}),
    ]
    with open_store(path) as store:
        for values in runs:
            run = played(seconds=1, **values)
            RecordingWriter(store, run).finish(run)
        set_baseline(store, "release", 1, AT_MS)
    return path


def numbers(found: tuple[Side, Side]) -> tuple[list[int | None], list[int | None]]:
    return [run.id for run in found[0].runs], [run.id for run in found[1].runs]


def test_words_stand_for_runs(path: Path) -> None:
    assert numbers(sides(path, "1", "last", trusting)) == ([1], [7])
    assert numbers(sides(path, "release", "5", trusting)) == ([1], [5])
    assert numbers(sides(path, "last-good", "last", trusting)) == ([6], [7])
    assert numbers(sides(path, "last-good", "5", trusting)) == ([1], [5])
    assert numbers(sides(path, "window:2", "last", trusting)) == ([6, 5], [7])
    assert numbers(sides(path, "window:9", "last", trusting)) == ([6, 5, 1], [7])


def test_run_that_the_client_limited_is_no_good_one_and_no_side(path: Path) -> None:
    def judge(run: BenchRun) -> Judged:
        return Judged(run.id in (6, 7), "the client was busy")

    baseline, candidate = sides(path, "last-good", "last", judge)
    assert (baseline.runs[0].id, baseline.unfit) == (5, "")
    assert candidate.unfit == "load test 7: the client was busy"
    assert sides(path, "3", "7", trusting)[0].unfit == "load test 3 was aborted"


def test_stages_that_the_client_limited_are_left_out_of_a_suite(path: Path) -> None:
    with open_store(path) as store:
        for seed in (1, 2):
            RecordingWriter(store, suite([(1, 5.0)], blocks=8, seed=seed)).finish(
                suite([(1, 5.0)], blocks=8, seed=seed)
            )

    def judge(run: BenchRun) -> Judged:
        return Judged(stages={0: "worker 0 was busy", 3: "worker 0 was busy"} if run.id == 9 else {})

    found = compare_sides(*sides(path, "8", "9", judge), QUICK)
    assert {row.blocks for row in found.rows} == {(8, 6)}
    assert found.notes[0] == "2 stages of 9 are left out: the load generator was the limit in them"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("nothing", "last"),
            "nothing: neither a number nor a baseline; write last, last-good, window:5 or one of",
        ),
        (("last", "last-good"), "stands for a baseline; write it first"),
        (("window:x", "last"), "write window:5 for the last five good runs"),
        (("last-good", "1"), "no run of the same plan before load test 1 has finished"),
        (("1/other", "last"), "load test 1 has no scenario 'other'; it has health"),
        (("99", "last"), "no load test 99; the newest is 7"),
    ],
)
def test_words_that_stand_for_nothing_say_what_would(path: Path, words: tuple[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sides(path, *words, trusting)


def test_a_window_has_a_value_for_each_run_and_the_last_good_one_borrows_the_spread_of_others(path: Path) -> None:
    found = compare_sides(*sides(path, "window:3", "last", trusting), QUICK)
    assert {row.runs for row in found.rows if row.comparison} == {(3, 1)}
    baseline, _ = sides(path, "last-good", "last", trusting)
    assert [run.id for run in baseline.others] == [5, 1]
    assert sides(path, "3", "last", trusting)[0].others == ()


def simulated(random: np.random.Generator, slower: float, pairs: int, blocks: int) -> list[CandidateOutcome]:
    """The outcomes of pairs of runs whose blocks have 500 log-normal answers each and a level that drifts by 1%."""
    effects = Effects(response_ms=0.1)
    found = []
    for _ in range(pairs):
        both = []
        for factor in (1.0, slower):
            level = 5 * factor * np.exp(random.normal(0, 0.01, (blocks, 1)))
            times = np.sort(level * np.exp(random.normal(0, 0.25, (blocks, 500))), axis=1)
            values = {Statistic.P50: times[:, 249], Statistic.P95: times[:, 474], Statistic.P99: times[:, 494]}
            both.append(Blocks(np.full(blocks, 500.0), values))
        rows = compared_rows({Key("s", "rest", "one"): (both[0], both[1])}, effects)
        found.append(
            next(
                (o for o in (CandidateOutcome.WORSE, CandidateOutcome.BETTER) if any(r.outcome is o for r in rows)),
                CandidateOutcome.SAME,
            )
        )
    return found


def test_of_two_hundred_simulated_pairs_equal_ones_pass_and_slow_ones_are_found() -> None:
    random = np.random.default_rng(11)
    equal = simulated(random, 1.0, 200, 8)
    slower = simulated(random, 1.1, 200, 8)
    assert sum(one is not CandidateOutcome.SAME for one in equal) <= 16
    assert sum(one is CandidateOutcome.WORSE for one in slower) >= 190
