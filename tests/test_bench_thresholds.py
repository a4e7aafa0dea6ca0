"""Thresholds: their grammar, their final values, and the moment at which a broken one may end a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from checker.loadtest.plan import Threshold
from checker.loadtest.protocols import Second
from checker.loadtest.results import BenchKind, BenchRun, BenchState, Series, Slot, StageSpan, ThresholdResult
from checker.loadtest.thresholds.grammar import ALIASES, Aggregate, Condition, Metric, Operator, parsed, parsed_metric
from checker.loadtest.thresholds.watch import SETTLE_S, Watch
from checker.loadtest.thresholds.windows import whole_value, windows
from checker.stats.histogram import Cells

MS = 1000


def packed(values_us: Sequence[int]) -> bytes:
    return Cells.of_values(np.zeros(len(values_us), np.int64), np.array(values_us, np.int64)).blobs(1)[0]


def slot(at_s: int, ok_ms: Sequence[float] = (), failed: int = 0, **values: Any) -> Slot:
    us = [round(one * MS) for one in ok_ms]
    usual: dict[str, Any] = {
        "series": 0,
        "stage": 0,
        "at_s": at_s,
        "offered": len(us) + failed,
        "ok": len(us),
        "failed": failed,
        "done_ok": len(us),
        "done_failed": failed,
        "max_us": max(us, default=0),
        "response": packed(us) if us else b"",
    }
    return Slot(**{**usual, **values})


def stage(from_s: float, until_s: float, **values: Any) -> StageSpan:
    usual = {"scenario": "a", "name": "hold", "kind": "hold", "measured": True, "start_level": 1.0, "end_level": 1.0}
    return StageSpan(**{**usual, "from_s": from_s, "until_s": until_s, **values})


def series(scenario: str = "a", server: str = "search") -> Series:
    return Series(scenario=scenario, operation="rest", model="open", server=server, url="http://h/")


def run(
    slots: Sequence[Slot], stages: Sequence[StageSpan], some: Sequence[Series] = (series(),), slot_s: int = 1
) -> Any:
    return BenchRun(
        id=None,
        name="n",
        kind=BenchKind.LOAD,
        state=BenchState.FINISHED,
        started_at_ms=0,
        finished_at_ms=None,
        checker_version="",
        plan={},
        plan_digest="",
        seed=1,
        workers=1,
        slot_s=slot_s,
        environment={},
        series=tuple(some),
        stages=tuple(stages),
        slots=list(slots),
        health=[],
    )


def result(threshold: Threshold, whole: BenchRun) -> ThresholdResult:
    (found,) = Watch([threshold]).results(whole)
    return found


def updates(whole: BenchRun, at_s: float, slots: Sequence[Slot]) -> Second:
    bare = replace(whole, slots=(), health=())
    return Second(run=bare, at_s=at_s, until_s=100.0, stages=(), slots=slots, health=())


NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters='{},:"'), min_size=1, max_size=12).map(
    str.strip
)
CONDITIONS = st.builds(
    Condition,
    metric=st.sampled_from([Metric.RESPONSE_TIME, Metric.LATE]),
    aggregate=st.just(Aggregate.QUANTILE),
    operator=st.sampled_from(Operator),
    limit=st.integers(0, 10**6).map(float) | st.floats(0, 1000).map(lambda number: round(number, 6)),
    quantile=st.integers(1, 10_000).map(lambda number: number / 10_000),
    where=st.dictionaries(st.sampled_from(["scenario", "server", "stage"]), NAMES.filter(bool)),
)


@given(CONDITIONS)
def test_condition_is_read_back_as_it_is_written(condition: Condition) -> None:
    assert parsed(condition.metric_text, condition.expression_text) == condition


@pytest.mark.parametrize(
    ("metric", "expression", "expected"),
    [
        ("response_time", "p(95)<500", (Aggregate.QUANTILE, 0.95, Operator.LT, 500.0)),
        ("response_time", " p( 99.9 ) <= 1.5s ", (Aggregate.QUANTILE, 0.999, Operator.LE, 1500.0)),
        ("late", "med<250us", (Aggregate.MED, 0.5, Operator.LT, 0.25)),
        ("failed", "rate<1%", (Aggregate.RATE, 0.0, Operator.LT, 0.01)),
        ("refused", "count==0", (Aggregate.COUNT, 0.0, Operator.EQ, 0.0)),
        ("achieved", "rate>=1e3", (Aggregate.RATE, 0.0, Operator.GE, 1000.0)),
        ("ok", "value!=0", (Aggregate.VALUE, 0.0, Operator.NE, 0.0)),
    ],
)
def test_expression_is_understood(metric: str, expression: str, expected: tuple[Any, ...]) -> None:
    found = parsed(metric, expression)
    assert (found.aggregate, pytest.approx(found.quantile), found.operator, found.limit) == expected


@pytest.mark.parametrize(
    ("metric", "expression", "said"),
    [
        ("response_time", "p95<500", '"p95<500" is not a condition; write one such as p(95)<500 or avg<200ms'),
        ("response_time", "p(95)<fast", "is not a condition"),
        ("response_time", "rate<0.1", "response_time has no rate; it has avg, min, med, max, p(N), count"),
        ("response_time", "p(0)<5", "p(0) is not a percentile; write more than 0 and up to 100"),
        ("response_time", "p(101)<5", "is not a percentile"),
        ("response_time", "avg<5%", "avg of response_time is not in %; leave the unit out"),
        ("response_time", "count<5ms", "count of response_time is not in ms"),
        ("failed", "p(95)<5", "failed has no p; it has rate, count, value"),
        ("failed", "rate<5", "a rate of failed is a share from 0 to 1; write 0.01 or 1%"),
        ("failed", "", '"" is not a condition; write one such as rate<0.01 or count<10'),
        ("response_tme", "p(95)<5", 'no metric "response_tme"; did you mean "response_time"?'),
        ("cpu", "avg<5", 'no metric "cpu"; known here: response_time'),
        (
            "failed{",
            "rate<0.1",
            '"failed{" is not a metric; write one such as failed, or failed{scenario:a,stage:peak}',
        ),
        ("failed{}", "rate<0.1", "is not a metric"),
        ("failed{worker:1}", "rate<0.1", 'no selector "worker"; there are scenario, operation, server, stage'),
        ("failed{stage:a,stage:b}", "rate<0.1", "the selector stage is given twice"),
    ],
)
def test_what_is_no_threshold_says_what_to_write(metric: str, expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parsed(metric, expression)


def test_selectors_take_spaces_and_quotes() -> None:
    assert parsed_metric('failed{scenario: a b , server:"x, {y}: z"}') == (
        Metric.FAILED,
        {"scenario": "a b", "server": "x, {y}: z"},
    )


def test_metrics_of_k6_are_ours() -> None:
    assert {name: parsed_metric(name)[0] for name in ALIASES} == {
        "http_req_duration": Metric.RESPONSE_TIME,
        "http_req_waiting": Metric.FIRST_BYTE,
        "http_req_failed": Metric.FAILED,
        "http_reqs": Metric.ACHIEVED,
    }


WHOLE = run(
    [slot(0, [5, 5], stage=0), slot(1, [100] * 98 + [400, 900], failed=25, stage=1), slot(2, [100], stage=1, series=1)],
    [stage(0, 1, name="warm_up", kind="warm_up", measured=False), stage(1, 3)],
    [series(), series(server="other")],
)


@pytest.mark.parametrize(
    ("metric", "expression", "expected"),
    [
        ("response_time", "med<1", 100.0),
        ("response_time", "p(98)<1", 100.0),
        ("response_time", "p(99)<1", 400.0),
        ("response_time", "max<1", 900.0),
        ("response_time", "min<1", 100.0),
        ("response_time", "avg<1", 110.9),
        ("response_time", "count<1", 101.0),
        ("response_time{server:other}", "max<1", 100.0),
        ("failed", "rate<0.1", 25 / 126),
        ("failed", "count<1", 25.0),
        ("failed{server:other}", "rate<0.1", 0.0),
        ("offered", "rate<1", 63.0),
        ("ok", "count<1", 101.0),
        ("achieved", "value<1", 63.0),
        ("service_time", "max<1", None),
        ("response_time{stage:warm_up}", "max<1", None),
        ("failed{stage:warm_up}", "rate<0.1", None),
        ("failed{stage:warm_up}", "count<1", None),
        ("achieved{scenario:b}", "rate<1", None),
        ("failed{scenario:b}", "count<1", None),
    ],
)
def test_value_is_that_of_the_chosen_measured_stages(metric: str, expression: str, expected: float | None) -> None:
    found = whole_value(WHOLE, parsed(metric, expression))
    assert found == (None if expected is None else pytest.approx(expected, rel=0.01))


def test_threshold_without_a_sample_is_not_passed() -> None:
    for expression in ("rate<1", "count<1", "rate>=0"):
        found = result(Threshold(metric="failed{scenario:b}", expression=expression), WHOLE)
        assert (found.value, found.passed) == (None, False)


SECONDS = st.lists(st.tuples(st.lists(st.integers(1, 2000), max_size=6), st.integers(0, 3)), min_size=1, max_size=12)
"""Response times in ms and failures of each second."""


@settings(max_examples=60)
@given(
    SECONDS,
    st.integers(1, 4),
    st.sampled_from(
        [("response_time", "p(50)"), ("response_time", "avg"), ("response_time", "max"), ("failed", "rate")]
    ),
)
def test_window_has_the_value_of_a_run_of_its_seconds(
    seconds: list[tuple[list[int], int]], over: int, spoken_of: tuple[str, str]
) -> None:
    """Windows are computed all at once, a whole run by adding slots: both must come to the same."""
    slots = [slot(at, times, failed) for at, (times, failed) in enumerate(seconds)]
    condition = parsed(spoken_of[0], f"{spoken_of[1]}<1")
    found = list(windows(run(slots, [stage(0, len(slots))]), condition, over))
    expected = []
    for begin in range(len(slots) - over + 1):
        part = slots[begin : begin + over]
        value = whole_value(run(part, [stage(begin, begin + over)]), condition)
        if any(one.offered for one in part):
            expected.append((begin + over, None if value is None else pytest.approx(value)))
    assert [(window.until_s, window.value) for window in found] == expected


def test_windows_do_not_reach_over_a_gap_nor_out_of_a_stage() -> None:
    slots = [slot(at, [10]) for at in range(12)]
    stages = [stage(0, 4), stage(4, 7, measured=False), stage(7, 10), stage(10, 12)]
    numbered = [
        replace(one, stage=0 if at < 4 else 1 if at < 7 else 2 if at < 10 else 3) for at, one in enumerate(slots)
    ]
    found = windows(run(numbered, stages), parsed("response_time", "max<1"), 3)
    assert [window.until_s for window in found] == [3, 4, 10, 11, 12]


def test_window_in_which_all_fail_is_broken_for_times_too() -> None:
    whole = run([slot(0, [10]), slot(1, [], failed=5)], [stage(0, 2)])
    found = result(Threshold(metric="response_time", expression="max<100", over=1.0), whole)
    assert (found.passed, found.value, found.at_s) == (False, 10.0, 2.0)


def test_seconds_in_which_nothing_was_due_break_a_rate_and_no_share() -> None:
    whole = run([slot(0, [10] * 9)], [stage(0, 3)])
    stalled = result(Threshold(metric="achieved", expression="rate>3", over=2.0), whole)
    assert (stalled.passed, stalled.value, stalled.at_s) == (False, 0.0, 3.0)
    assert result(Threshold(metric="failed", expression="rate<0.5", over=2.0), whole).passed


def test_windows_of_a_run_too_short_for_one_are_not_passed() -> None:
    found = result(Threshold(metric="failed", expression="rate<0.5", over=10.0), run([slot(0, [1])], [stage(0, 9)]))
    assert (found.value, found.passed) == (None, False)


def test_wide_slots_make_wide_windows() -> None:
    whole = run([slot(0, [10] * 10), slot(10, [20] * 10)], [stage(0, 20)], slot_s=10)
    found = list(windows(whole, parsed("achieved", "rate>0"), 5))
    assert [(one.until_s, one.value) for one in found] == [(10.0, 1.0), (20.0, 1.0)]


def test_stage_that_begins_within_a_second_has_its_windows() -> None:
    whole = run([slot(at, [10]) for at in range(37, 48)], [stage(37.4, 47.4)])
    assert [one.until_s for one in windows(whole, parsed("response_time", "max<1"), 10)] == [47, 48]


ABORTING = Threshold(metric="failed", expression="rate<0.5", over=2.0, abort=True)


def test_broken_window_ends_the_run_once_workers_have_told_of_it() -> None:
    whole = run([], [stage(0, 60)])
    watch = Watch([ABORTING])
    assert watch.take(updates(whole, 2.0, [slot(0, [1], failed=1), slot(1, [1], failed=1)])) is None
    said = watch(updates(whole, 2.0 + SETTLE_S, [slot(2, [1] * 9)]))
    assert said == "threshold broken: failed rate<0.5 from 0s to 2s"
    assert watch(updates(whole, 5.0, [slot(3, [], failed=9)])) is None, "the reason is given once"
    (found,) = watch.results(run([slot(0, [1] * 9)], [stage(0, 2)]))
    assert (found.passed, found.aborted, found.at_s) == (False, True, 4.0)


def test_window_is_not_broken_by_answers_that_may_still_come() -> None:
    whole = run([], [stage(0, 60)])
    watch = Watch([ABORTING])
    out = slot(0, [], failed=1, offered=4)
    assert watch(updates(whole, 5.0, [out])) is None, "three are out: 1 of 4 is less than half"
    assert watch(updates(whole, 6.0, [slot(0, [], failed=1, offered=0)])) is not None


def test_late_answers_break_their_window_when_they_come() -> None:
    whole = run([], [stage(0, 60)])
    watch = Watch([Threshold(metric="response_time", expression="p(90)<100", over=1.0, abort=True)])
    assert watch(updates(whole, 3.0, [slot(0, [5] * 9, offered=11)])) is None
    assert watch(updates(whole, 9.0, [slot(8, [5] * 9)])) is None
    late = slot(0, [9000, 9000], offered=0)
    assert watch(updates(whole, 10.0, [late])) == "threshold broken: response_time p(90)<100 from 0s to 1s"


def test_answers_that_are_out_for_longer_than_the_limit_save_no_percentile() -> None:
    whole = run([], [stage(0, 60)])
    threshold = Threshold(metric="response_time", expression="p(50)<5000", over=1.0, abort=True)
    seen = slot(0, [10, 5500, 5600], offered=20)
    assert Watch([threshold])(updates(whole, 5.9 + SETTLE_S, [seen])) is None, "17 could still answer within 5 s"
    assert Watch([threshold])(updates(whole, 6.1 + SETTLE_S, [seen])) is not None


def test_counts_and_extremes_break_at_once() -> None:
    whole = run([], [stage(0, 60)])
    seen = [slot(0, [10, 900], failed=3, offered=500)]
    for metric, expression in (("failed", "count<3"), ("response_time", "max<500"), ("response_time", "min>20")):
        watch = Watch([Threshold(metric=metric, expression=expression, abort=True)])
        assert watch(updates(whole, 3.0, seen)) is not None, expression


def test_count_to_be_reached_ends_no_run_that_goes_on() -> None:
    watch = Watch([Threshold(metric="ok", expression="count>100", abort=True)])
    assert watch(updates(run([], [stage(0, 60)]), 5.0, [slot(0, [1])])) is None


def test_nothing_is_ended_before_the_delay() -> None:
    whole = run([], [stage(0, 60)])
    watch = Watch([replace(ABORTING, over=None, delay=10.0)])
    assert watch(updates(whole, 9.0, [slot(0, [], failed=9)])) is None
    assert watch(updates(whole, 10.0, [])) is not None


def test_warm_up_ends_no_run() -> None:
    whole = run([], [stage(0, 60, measured=False)])
    assert Watch([ABORTING])(updates(whole, 9.0, [slot(0, [], failed=9)])) is None


def test_server_that_stalls_breaks_the_achieved_rate_without_a_single_slot() -> None:
    whole = run([], [stage(0, 60)])
    watch = Watch([Threshold(metric="achieved", expression="rate>1", over=3.0, abort=True)])
    assert watch(updates(whole, 4.0, [slot(at, [1] * 5) for at in range(2)])) is None
    assert watch(updates(whole, 7.0, [])) is not None, "from 2 s to 5 s nothing was done"


@settings(max_examples=150)
@given(
    SECONDS,
    st.integers(1, 3) | st.none(),
    st.sampled_from(
        [
            ("response_time", "p(50)<700"),
            ("response_time", "p(90)>100"),
            ("response_time", "avg<600"),
            ("response_time", "avg>300"),
            ("response_time", "max<=1500"),
            ("response_time", "min>20"),
            ("response_time", "max>500"),
            ("response_time", "count<8"),
            ("failed", "rate<0.4"),
            ("failed", "rate>0.1"),
            ("failed", "count<4"),
            ("failed", "count>=1"),
        ]
    ),
    st.randoms(use_true_random=False),
)
def test_no_run_is_ended_by_what_later_answers_mend(
    seconds: list[tuple[list[int], int]], over: int | None, spoken_of: tuple[str, str], random: Any
) -> None:
    """Whatever comes in when, within the time that workers take to tell: what ended a run is broken in the end."""
    threshold = Threshold(
        metric=spoken_of[0], expression=spoken_of[1], over=None if over is None else float(over), abort=True
    )
    whole = run([slot(at, times, failed) for at, (times, failed) in enumerate(seconds)], [stage(0, len(seconds))])
    watch, told = Watch([threshold]), list[tuple[float, int, Slot]]()
    for at, (times, failed) in enumerate(seconds):
        told.append((at + 1 + SETTLE_S * random.random(), len(told), slot(at, offered=len(times) + failed)))
        for one in times:
            delay = 1 + one / 1000 + SETTLE_S * random.random()
            told.append((at + delay, len(told), slot(at, [one], offered=0)))
        if failed:
            told.append((at + 1 + 20 * random.random(), len(told), slot(at, [], failed, offered=0)))
    ended = False
    for now, _, one_slot in sorted(told):
        ended = watch(updates(whole, now, [one_slot])) is not None or ended
    ended = watch(updates(whole, 60.0, [])) is not None or ended
    (found,) = watch.results(whole)
    assert found.aborted == ended
    final = result(replace(threshold, abort=False), whole)
    if ended:
        assert not final.passed or over is None, "of the whole run, more may come that mends it"
    elif over is not None:
        condition = parsed(*spoken_of)
        judged = [one.value for one in windows(whole, condition, over) if one.value is not None]
        assert all(condition.holds(value) for value in judged), "all answers are there, and the run was not ended"
