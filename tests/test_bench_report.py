"""What people see of a load test: a verdict that is true, numbers that are enough, gaps and limits that are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from msgspec.structs import replace as changed

from bench_runs import FAILED, STAGES, Faults, bench_report, load_run, stress_run, suite_run, threshold, usl_run
from checker.loadtest.bottleneck import NO_LIMIT, BoundSpan, Saturation, WithinNoise
from checker.loadtest.results import BenchKind, BenchRun, BenchState, Slot
from checker.loadtest.summary import measured, summarize
from checker.stats.histogram import Cells
from documents_parsed import valid_page
from reports.html import MOST_BYTES, page
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.percentile_cells import ends, quantile_cell
from reports.loadtests.recommendations import RULES, RunFacts, recommendations
from reports.loadtests.tables import CLOSED, series_summaries
from reports.loadtests.timeline import MOST_SLOTS, Timeline, widened
from reports.loadtests.verdict import verdict_of
from reports.report_model import Column, Insufficient, Kind, Level, Look, Report, Section, Shape, Table

BOUND = Saturation(False, "worker 0 was the limit for 6 s", (BoundSpan(20, 26, 0, "97% of a core"),))
INVALID = replace(BOUND, invalid=True)


@cache
def runs() -> dict[str, BenchRun]:
    """One of each kind, with its faults."""
    frozen = Faults(freeze=(25, 29), failing_ratio=0.02)
    closed_stages = [("warm_up", 5, 10.0, 10.0), ("hold", 40, 20.0, 20.0)]
    return {
        "good": load_run(faults=Faults(failing_ratio=0.0)),
        "frozen": load_run(faults=frozen, thresholds=FAILED),
        "closed": load_run(model="closed", stages=closed_stages, faults=Faults(freeze=(25, 32), failing_ratio=0.0)),
        "bound": load_run(faults=Faults(client_bound=(20, 26))),
        "interrupted": load_run(cut_s=33.0, thresholds=()),
        "mixed": load_run(operations=("rest", "mcp_check"), thresholds=()),
        "stress": stress_run(),
        "scalability": usl_run(),
        "suite": suite_run(),
    }


def comparison(*rows: Sequence[Any], level: Level = Level.BAD) -> Report:
    """As a comparison with a baseline looks."""
    names = ("scenario", "operation", "server", "statistic", "verdict")
    numbers = ("baseline", "candidate", "difference", "low", "high")
    columns = [*(Column(name, name) for name in names), *(Column(name, name, Kind.NUMBER) for name in numbers)]
    sections = [Section("compared", "Series", Table(columns, rows))]
    verdict = "Worse: p95 of search +40 ms."
    return Report("bench_compare", "Comparison", verdict, level, 0, 1, sections, 1, notes=("The kernels differ.",))


WORSE = ("rest", "rest", "search", "p95_ms", "worse", 60.0, 100.0, 40.0, 30.0, 50.0)
CANNOT_TELL = ("rest", "rest", "orders", "p95_ms", "cannot tell", 60.0, 61.0, 1.0, -9.0, 11.0)


def section(report: Report, name: str) -> Section:
    (found,) = [one for one in report.sections if one.name == name]
    return found


def column(one: Section, name: str) -> list[Any]:
    assert one.table is not None
    place = [column.name for column in one.table.columns].index(name)
    return [row[place] for row in one.table.rows]


@pytest.mark.parametrize(
    ("run", "saturation", "compared", "word", "level"),
    [
        ("good", NO_LIMIT, None, "PASSED", Level.GOOD),
        ("good", BOUND, None, "PASSED", Level.GOOD),
        ("frozen", NO_LIMIT, None, "FAILED", Level.BAD),
        ("frozen", INVALID, None, "INVALID", Level.UNKNOWN),
        ("interrupted", NO_LIMIT, None, "INTERRUPTED", Level.WARNING),
        ("good", NO_LIMIT, comparison(WORSE), "REGRESSION", Level.BAD),
        ("good", NO_LIMIT, comparison(CANNOT_TELL, level=Level.UNKNOWN), "PASSED", Level.GOOD),
        ("frozen", NO_LIMIT, comparison(WORSE), "FAILED", Level.BAD),
        ("mixed", NO_LIMIT, None, "MEASURED", Level.UNKNOWN),
        ("stress", NO_LIMIT, None, "CAPACITY", Level.GOOD),
        ("suite", NO_LIMIT, None, "MEASURED", Level.UNKNOWN),
    ],
)
def test_verdict_is_the_first_that_holds(
    run: str, saturation: Saturation, compared: Report | None, word: str, level: Level
) -> None:
    found = verdict_of(LoadTestOutcome(run=runs()[run], saturation=saturation, comparison=compared))
    assert (found.word, found.level) == (word, level)


def test_verdict_counts_thresholds_and_names_the_first_broken_one() -> None:
    verdict = bench_report(runs()["frozen"]).verdict
    assert verdict == "FAILED: 1 of 3 thresholds, response_time{server:search} p(99)<100 (measured: 4,210 ms)."


def test_aborted_run_says_why_and_how_far_it_came() -> None:
    run = replace(
        load_run(cut_s=33.0, thresholds=()), state=BenchState.ABORTED, notes=("half of the replies were 429",)
    )
    verdict = bench_report(run).verdict
    assert verdict.startswith("ABORTED: after 0:33 (half of the replies were 429); until then p95 ")


def test_run_in_which_nothing_was_answered_has_a_report() -> None:
    empty = replace(runs()["good"], slots=(), health=(), thresholds=(), calibrations=())
    report = bench_report(empty)
    assert "nothing was answered" in report.verdict
    valid_page(page(report))
    valid_page(page(bench_report(replace(empty, stages=(), series=()))))


@pytest.mark.parametrize("name", ["frozen", "closed", "bound", "interrupted", "stress", "scalability", "suite"])
def test_page_of_every_kind_of_run_is_valid(name: str) -> None:
    text = page(bench_report(runs()[name], INVALID if name == "bound" else NO_LIMIT))
    valid_page(text)
    assert ">no data<" not in text
    assert "mathdefault" not in text


def test_open_model_shows_a_freeze_as_latency() -> None:
    report = bench_report(runs()["frozen"])
    worst = max(value for value in column(section(report, "over_time"), "p50_ms") if isinstance(value, float))
    assert worst > 3000
    assert column(section(report, "latency"), "response_p99_ms")[0] > 1000


def test_closed_model_hides_a_freeze_and_its_report_says_that_it_cannot_show_it() -> None:
    report = bench_report(runs()["closed"])
    assert max(column(section(report, "latency"), "response_p99_ms")) < 200, "seven seconds of silence are not there"
    rates = section(report, "rates")
    assert column(rates, "achieved_per_s")[27:31] == [0, 0, 0, 0]
    words = f"{CLOSED[0].upper()}{CLOSED[1:]}."
    assert words in section(report, "summary").text
    assert words in report.notes
    assert {"closed model: coordinated omission applies"} == set(column(section(report, "summary"), "model"))
    stalls = [
        line
        for line in column(section(report, "recommendations"), "evidence")
        if "nothing completed for at least" in line
    ]
    assert stalls
    assert all("the closed model shows it as a lower rate, not as latency" in line for line in stalls)


def test_open_model_is_not_said_to_omit() -> None:
    report = bench_report(runs()["good"])
    assert "omission" not in page(report)


def test_response_and_service_time_are_side_by_side_and_part_where_the_client_was_late() -> None:
    table = section(bench_report(runs()["bound"]), "latency").table
    assert table is not None
    names = [one.name for one in table.columns]
    assert names[2:6] == ["response_p50_ms", "service_p50_ms", "response_p95_ms", "service_p95_ms"]
    for row in table.rows:
        assert row[names.index("response_p95_ms")] > row[names.index("service_p95_ms")]
        assert row[names.index("late_p99_ms")] > 10


@pytest.mark.parametrize(("q", "wanted"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)])
def test_percentile_from_too_few_samples_is_no_number(q: float, wanted: int) -> None:
    for count, there in ((wanted - 1, False), (wanted, True)):
        blob = Cells.of_values(*_equal(count)).blobs(1)[0]
        one = summarize([Slot(series=0, stage=0, at_s=0, offered=count, ok=count, response=blob)], 1.0)
        value = quantile_cell(one, q)
        assert isinstance(value, float) if there else value == Insufficient(count, wanted)
        high = ends(one, "response")[2 * (0.5, 0.9, 0.95, 0.99, 0.999).index(q) + 2]
        assert (high < float("inf")) is there


def _equal(count: int) -> Any:
    import numpy as np

    return np.zeros(count, np.int64), np.full(count, 1000, np.int64)


def test_no_service_time_is_longer_than_the_longest_response_time() -> None:
    for run in runs().values():
        latency = section(bench_report(run), "latency")
        for response, service in zip(
            column(latency, "response_max_ms"), column(latency, "service_max_ms"), strict=True
        ):
            assert service is None or service <= response


@settings(max_examples=25, deadline=None)
@given(most=st.integers(1, 60), name=st.sampled_from(["frozen", "mixed", "suite"]))
def test_widening_changes_no_sum_and_no_percentile(most: int, name: str) -> None:
    run = runs()[name]
    wide = widened(run, most)
    before, after = measured(run), measured(wide)
    for field in ("offered", "ok", "failed", "censored", "done_ok", "connections", "max_us", "reasons", "phases_us"):
        assert getattr(before, field) == getattr(after, field), field
    assert before.percentiles("response") == after.percentiles("response")
    assert before.percentiles("late") == after.percentiles("late")
    assert len(Timeline.of(wide).starts) <= most


def test_timeline_agrees_with_the_sums_of_all_slots() -> None:
    run = runs()["frozen"]
    line, whole = Timeline.of(run), summarize(run.slots, 55.0)
    assert line.sums("offered").sum() == whole.offered
    assert line.mapped("reasons", "http_status 500").sum() == whole.reasons["http_status 500"]
    assert max(value or 0 for value in line.longest_ms()) == whole.max_us / 1000


def test_page_of_an_hour_with_sixty_series_is_small_and_has_them_all() -> None:
    servers = [f"server-{number:02}" for number in range(20)]
    operations = ("rest", "mcp_check", "mcp_ping")
    stages = [("warm_up", 60, 2.0, 8.0), ("hold", 3540, 8.0, 8.0)]
    run = load_run(servers=servers, operations=operations, stages=stages, slot_s=30)
    report = bench_report(run)
    text = page(report)
    assert len(text.encode()) < MOST_BYTES
    assert "left out" not in text
    summary = section(report, "summary").table
    assert summary is not None
    assert len(summary.rows) == 61
    assert "the 6 slowest of 60" in text
    for one in report.sections:
        for chart in one.charts:
            assert chart.shape is Shape.BARS or len(chart.x) <= MOST_SLOTS


def test_spans_in_which_the_client_was_the_limit_are_hatched_wherever_time_is() -> None:
    report = bench_report(runs()["bound"], BOUND)
    for name in ("over_time", "heat", "rates", "errors", "client"):
        for chart in section(report, name).charts:
            hatched = [(span.from_x, span.until_x) for span in chart.spans if span.look is Look.HATCHED]
            assert hatched == [(20, 26)], chart.title
    assert column(section(report, "client_bound"), "what") == ["97% of a core"]
    assert "97% of a core" in page(report)


def test_overlapping_spans_are_hatched_once() -> None:
    spans = (
        BoundSpan(20, 26, 0, "a"),
        BoundSpan(22, 24, 1, "b"),
        BoundSpan(26, 28, None, "c"),
        BoundSpan(30, 31, 0, "d"),
    )
    report = bench_report(runs()["good"], Saturation(spans=spans))
    (chart,) = section(report, "heat").charts
    hatched = [(span.from_x, span.until_x) for span in chart.spans if span.look is Look.HATCHED]
    assert hatched == [(20, 28), (30, 31)]


def test_unmeasured_stages_are_shown_and_counted_nowhere() -> None:
    run = runs()["good"]
    report = bench_report(run)
    assert column(section(report, "stages"), "measured") == ["no", "no", "yes", "yes", "no"]
    offered = sum(slot.offered for slot in run.slots if slot.stage in (2, 3))
    assert column(section(report, "summary"), "offered")[0] == offered
    (chart, *_) = section(report, "over_time").charts
    assert [span.look for span in chart.spans] == [Look.SHADED, Look.SHADED, Look.PLAIN, Look.PLAIN, Look.SHADED]


def test_bands_are_those_of_the_objective_and_add_up() -> None:
    run = runs()["frozen"]
    bands = section(bench_report(run), "bands")
    words = ["below 50.0 ms", "50.0 ms to 100 ms", "100 ms to 200 ms", "200 ms to 500 ms", "from 500 ms", "failed"]
    assert column(bands, "band") == words
    whole = measured(run)
    assert sum(column(bands, "n")) == whole.ok + whole.failed
    assert sum(column(bands, "ratio")) == pytest.approx(1)


def test_capacity_names_the_gap_that_was_not_tested_and_the_recovery() -> None:
    report = bench_report(runs()["stress"])
    assert report.verdict == "CAPACITY: good at 400 /s, bad at 566; between them nothing was tested."
    capacity = section(report, "capacity")
    assert column(capacity, "result") == ["GOOD", "GOOD", "GOOD", "GOOD", "BAD", "BAD"]
    assert "3 s after the last bad level the objective held again" in capacity.text
    load = section(report, "load")
    assert [mark.label for chart in load.charts for mark in chart.marks] == 2 * ["knee: 400 /s"]


def test_stress_test_without_a_bad_level_claims_no_more_than_was_tried() -> None:
    run = runs()["stress"]
    assert run.capacity is not None
    good = replace(run, capacity=replace(run.capacity, first_bad=None, levels=run.capacity.levels[:4]))
    assert bench_report(good).verdict == "CAPACITY: good up to 400 /s, the highest level that was tried."
    bad = replace(run, capacity=replace(run.capacity, last_good=None, first_bad=50.0))
    assert (bench_report(bad).verdict, bench_report(bad).level) == (
        "CAPACITY: no level was good, from 50 /s on.",
        Level.BAD,
    )


def test_scalability_law_is_drawn_through_what_was_measured() -> None:
    _, chart = section(bench_report(runs()["scalability"]), "load").charts
    fitted, points = chart.lines
    pairs = [(one, other) for one, other in zip(fitted.values, points.values, strict=True) if other is not None]
    assert len(pairs) == 6
    assert all(one == pytest.approx(other, rel=0.03) for one, other in pairs)


def test_suite_has_a_row_for_each_cell_with_the_interval_of_its_median() -> None:
    suite = section(bench_report(runs()["suite"]), "suite")
    assert list(zip(column(suite, "users"), column(suite, "servers"), strict=True)) == [
        (users, servers) for users in (1, 5, 20) for servers in (1, 2)
    ]
    for low, value, high in zip(
        *(column(suite, name) for name in ("p95_low_ms", "p95_ms", "p95_high_ms")), strict=True
    ):
        assert low <= value <= high


def test_blocks_in_which_the_client_was_the_limit_are_left_out_of_their_cell() -> None:
    run = runs()["suite"]
    at = next(at for at, stage in enumerate(run.stages) if stage.measured and (stage.users, stage.servers) == (20, 2))
    report = bench_report(run, Saturation(stages={at: "used 97% of its core"}))
    suite = section(report, "suite")
    assert column(suite, "blocks") == [5, 5, 5, 5, 5, 4]
    assert suite.text.endswith("1 block left out: the load generator was the limit.")
    assert column(section(report, "stages"), "measured")[at] == "client-bound"


def test_percentile_within_the_noise_of_the_client_is_named() -> None:
    noise = WithinNoise(series=1, percentile="p50", value_us=900.0, noise_us=1900.0)
    notes = bench_report(runs()["good"], Saturation(noise=(noise,))).notes
    words = "p50 of orders rest, 0.90 ms, is within the load generator's own noise, 1.90 ms: the server may be faster."
    assert notes == (words,)


@pytest.mark.parametrize("reason", ["", "the load generator, not the server, was the limit"])
def test_invalid_run_says_once_that_the_client_was_the_limit(reason: str) -> None:
    verdict = bench_report(runs()["good"], Saturation(True, reason)).verdict
    assert verdict == "INVALID: the load generator, not the server, was the limit."


def test_cell_of_fewer_than_five_blocks_has_no_interval() -> None:
    suite = section(bench_report(suite_run(users=(1,), counts=(1,), blocks=4)), "suite")
    assert column(suite, "p95_low_ms") == [Insufficient(4, 5)]


def test_comparison_and_trend_are_taken_in_with_their_notes() -> None:
    compared = comparison(WORSE)
    report = bench_report(runs()["good"], NO_LIMIT, compared, changed(compared, verdict="No change in 12 runs."))
    assert section(report, "comparison_compared").text == "Worse: p95 of search +40 ms."
    assert section(report, "trend_compared").text == "No change in 12 runs."
    assert report.notes.count("The kernels differ.") == 1
    names = [one.name for one in report.sections]
    assert len(names) == len(set(names))


def test_what_it_takes_to_run_it_again_is_there() -> None:
    run = runs()["good"]
    again = dict(
        zip(*(column(section(bench_report(run), "reproduce"), name) for name in ("what", "value")), strict=True)
    )
    assert again["seed"] == "7"
    assert again["plan digest"] == f"sha256:{run.plan_digest}"
    assert again["clock"] == "CLOCK_MONOTONIC, 1 ns"
    assert again["command"] == "mcp-status bench rerun 12"
    assert column(section(bench_report(run), "plan"), "key") == ["name", "scenarios.rest.operation"]


ADVISED: dict[str, Callable[[], tuple[BenchRun, Saturation]]] = {
    "load generator was the limit for 6 s": lambda: (runs()["bound"], BOUND),
    "the load generator can do": lambda: (near_its_ceiling(), NO_LIMIT),
    "latency grew faster than throughput": lambda: (runs()["stress"], NO_LIMIT),
    "of 8,000 operations": lambda: (failing(), NO_LIMIT),
    "were cut off at their timeout": lambda: (failing(), NO_LIMIT),
    "asked to retry later": lambda: (failing(), NO_LIMIT),
    "connections were opened for": lambda: (load_run(faults=Faults(churn=True)), NO_LIMIT),
    "of the time went to DNS, connect and TLS": lambda: (connecting(), NO_LIMIT),
    "p50 of the first 10 measured seconds": lambda: (load_run(faults=Faults(cold_s=10)), NO_LIMIT),
    "times its p50": lambda: (runs()["frozen"], NO_LIMIT),
    "the rest was waiting": lambda: (load_run(faults=Faults(wait_ms=200)), NO_LIMIT),
    "nothing completed for at least": lambda: (runs()["frozen"], NO_LIMIT),
    "a slow server slows its load": lambda: (runs()["closed"], NO_LIMIT),
    "have too few for a p99": lambda: (load_run(stages=[("hold", 10, 20.0, 20.0)]), NO_LIMIT),
    "without one nothing fails the run": lambda: (runs()["mixed"], NO_LIMIT),
}
"""What evidence says -> a run that gives it."""


def failing() -> BenchRun:
    return load_run(faults=Faults(failing_ratio=0.05))


def near_its_ceiling() -> BenchRun:
    (one,) = runs()["good"].calibrations
    return replace(runs()["good"], calibrations=(replace(one, ceiling_per_s=250.0),))


def connecting() -> BenchRun:
    slots = [replace(slot, phases_us={"connect": 10, "wait": 10}) for slot in runs()["good"].slots]
    return replace(runs()["good"], slots=slots)


def advice(run: BenchRun, saturation: Saturation) -> list[str]:
    outcome = LoadTestOutcome(run=run, saturation=saturation)
    found = recommendations(RunFacts(outcome=outcome, every=series_summaries(run), whole=measured(run)))
    return [one.evidence for one in found]


@pytest.mark.parametrize("words", ADVISED)
def test_recommendation_has_its_evidence_and_a_good_run_has_none(words: str) -> None:
    assert [line for line in advice(*ADVISED[words]()) if words in line]
    assert advice(runs()["good"], NO_LIMIT) == []


def timed_out() -> BenchRun:
    """Every other operation ends at its timeout, after which the client has to connect anew."""
    run = load_run(faults=Faults(failing_ratio=0.5))
    slots = [
        replace(slot, connections=slot.failed, reasons={"first_byte_timeout": slot.failed}, censored=slot.failed)
        for slot in run.slots
    ]
    return replace(run, slots=slots)


def many_users() -> BenchRun:
    """A hundred users do two operations each, over a connection of their own."""
    run = load_run(model="closed", stages=[("hold", 10, 100.0, 100.0)])
    slots = [replace(slot, connections=50 if slot.at_s == 0 else 0) for slot in run.slots]
    return replace(run, slots=slots)


LOOKALIKES: dict[str, Callable[[], BenchRun]] = {
    "connections were opened for": timed_out,
    "were opened for": many_users,
}
"""What is not to be said -> a run in which the cause is another one."""


@pytest.mark.parametrize("words", LOOKALIKES)
def test_connections_that_the_client_needs_or_loses_are_not_put_down_to_the_server(words: str) -> None:
    assert [line for line in advice(LOOKALIKES[words](), NO_LIMIT) if words in line] == []


def test_slow_connecting_is_told_from_connecting_too_often() -> None:
    def told(run: BenchRun) -> str:
        outcome = LoadTestOutcome(run=run, saturation=NO_LIMIT)
        found = recommendations(RunFacts(outcome=outcome, every=series_summaries(run), whole=measured(run)))
        return next(one.suggestion for one in found if "DNS, connect and TLS" in one.evidence)

    assert "they took long" in told(connecting())
    often = load_run(faults=Faults(churn=True))
    slots = [replace(slot, phases_us={"connect": 10, "wait": 10}) for slot in often.slots]
    assert "reuse connections" in told(replace(often, slots=slots))


def test_every_rule_is_tried() -> None:
    assert len(ADVISED) == len(RULES)


def test_thresholds_of_an_invalid_run_are_not_to_be_believed() -> None:
    report = bench_report(runs()["good"], INVALID)
    assert section(report, "thresholds").text == "The run is invalid: these results say nothing about the servers."
    assert report.headline == "Invalid"


def test_names_and_plans_that_are_attacks_are_text() -> None:
    attack = '"><img src=x onerror=alert(1)> </script> $\\frac{1}{2}$'
    run = load_run(servers=(attack, "b"), name=attack, plan={attack: [attack, {"a": attack}]}, notes=(attack,))
    run = replace(run, thresholds=(threshold(attack, attack, None, False),), kind=BenchKind.LOAD)
    tree = valid_page(page(bench_report(run)))
    assert not list(tree.iter("img"))


def test_builder_makes_runs_that_add_up() -> None:
    for run in runs().values():
        for slot in run.slots:
            assert slot.offered == slot.ok + slot.failed + slot.dropped
            assert slot.failed == sum(slot.reasons.values())
    assert [stage.kind for stage in runs()["good"].stages] == [kind for kind, *_ in STAGES]
