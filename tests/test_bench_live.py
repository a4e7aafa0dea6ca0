"""What is seen of a load test while it goes on, as recorded from terminals of many kinds, pipes and JSON lines."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from checker.cli.bench_live import clock, live_view, milliseconds, picture, sparkline
from checker.loadtest.live import Live, Moment
from checker.loadtest.plan import Threshold
from checker.loadtest.protocols import Second
from checker.loadtest.results import (
    BenchKind,
    BenchRun,
    BenchState,
    Series,
    Slot,
    StageSpan,
    ThresholdResult,
    WorkerSecond,
)
from checker.loadtest.thresholds.watch import Watch
from checker.stats.histogram import Cells

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "bench-judgement.md"


def stage(name: str, from_s: float, until_s: float, levels: tuple[float, float], measured: bool = True) -> StageSpan:
    return StageSpan(
        scenario="checkout",
        name=name,
        kind=name,
        measured=measured,
        from_s=from_s,
        until_s=until_s,
        start_level=levels[0],
        end_level=levels[1],
    )


def threshold(expression: str, value: float | None, passed: bool) -> ThresholdResult:
    return ThresholdResult(
        metric="response_time", expression=expression, over_s=None, value=value, passed=passed, aborted=False
    )


RUN = BenchRun(
    id=None,
    name="shop",
    kind=BenchKind.LOAD,
    state=BenchState.RUNNING,
    started_at_ms=0,
    finished_at_ms=None,
    checker_version="0",
    plan={},
    plan_digest="",
    seed=1,
    workers=1,
    slot_s=1,
    environment={},
    series=(Series(scenario="checkout", operation="rest", model="open", server="a", url="http://a/"),),
    stages=(stage("ramp_up", 0, 10, (0, 200), measured=False), stage("hold", 10, 90, (200, 200))),
    slots=(),
    health=(),
)


def health(at_s: int, **changes: Any) -> WorkerSecond:
    quiet = WorkerSecond(
        worker=0,
        at_s=at_s,
        cpu_ratio=0.34,
        lag_p99_us=300,
        lag_max_us=900,
        late_p99_us=200,
        gc_us=0,
        in_flight=12,
        backlog=0,
        descriptors=20,
        ports=20,
        memory_bytes=0,
    )
    return replace(quiet, **changes)


def second(at_s: int, times_us: Sequence[int] = (4_000,) * 99 + (30_000,), failed: int = 0, **changes: Any) -> Second:
    """One second's news, told at its end: a hundred operations."""
    at_stage = 0 if at_s <= 10 else 1
    slot = Slot(
        series=0,
        stage=at_stage,
        at_s=at_s - 1,
        offered=len(times_us) + failed,
        ok=len(times_us),
        done_ok=len(times_us),
        failed=failed,
        done_failed=failed,
        reasons={"timeout": failed} if failed else {},
        max_us=max(times_us, default=0),
        response=Cells.of_values(np.zeros(len(times_us), np.int64), np.array(times_us, np.int64)).blobs(1)[0],
    )
    made = Second(
        run=RUN, at_s=float(at_s), until_s=90.0, stages=(at_stage,), slots=(slot,), health=(health(at_s - 1),)
    )
    return replace(made, **changes)


def after(seconds: Sequence[Second]) -> Moment:
    live = Live()
    return [live.take(one) for one in seconds][-1]


def lines_of(moment: Moment, width: int, unicode: bool = True) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(picture(moment, width, unicode))
    return out.getvalue().splitlines()


def seen(seconds: Sequence[Second], **console: Any) -> str:
    """Everything that a terminal got."""
    out = io.StringIO()
    with live_view(console=Console(file=out, **console)) as watcher:
        assert [watcher(one) for one in seconds] == [None] * len(seconds)
    return out.getvalue()


def json_of(seconds: Sequence[Second]) -> list[dict[str, Any]]:
    out = io.StringIO()
    with live_view(json_lines=True, stdout=out) as watcher:
        for one in seconds:
            watcher(one)
    return [json.loads(line) for line in out.getvalue().splitlines()]


# Adding up


def test_rates_are_those_of_the_newest_whole_second_and_of_the_last_five() -> None:
    some = [second(at, (4_000,) * 100 * at) for at in range(1, 11)]
    moment = after([*some, replace(some[-1], at_s=10.7, slots=())])
    assert moment.now.ok == pytest.approx(1000)
    assert moment.recent.ok == pytest.approx((600 + 700 + 800 + 900 + 1000) / 5)
    assert moment.history == pytest.approx([100.0 * at for at in range(1, 11)])


@pytest.mark.parametrize("offset_s", [0.0, 0.3, 0.93])
def test_constant_load_reads_as_constant_whenever_its_samples_arrive(offset_s: float) -> None:
    """Workers tell two or three times in the second of an update, about what is up to half a second old."""
    live, told, moments = Live(), 0, []
    for at_s in np.arange(1.0 + offset_s, 20.0, 1.003).tolist():
        reached = max(0, int((at_s - 0.1) / 0.42))  # batches that have come until now
        due = range(round(told * 0.42 * 200), round(reached * 0.42 * 200))
        told = reached
        by_second: dict[int, int] = {}
        for number in due:
            by_second[number // 200] = by_second.get(number // 200, 0) + 1
        slots = tuple(
            Slot(series=0, stage=1, at_s=at, offered=count, ok=count, done_ok=count) for at, count in by_second.items()
        )
        moments.append(live.take(replace(second(12), at_s=at_s, slots=slots, health=())))
    assert {(one.now.offered, one.now.achieved) for one in moments[2:]} == {(200.0, 200.0)}
    assert set(moments[-1].history) == {200.0}


def test_second_without_anything_is_a_rate_of_zero_and_a_gap_in_p95() -> None:
    some = [second(at) for at in (11, 12, 15)]
    moment = after([*some, replace(some[-1], at_s=15.7, slots=())])
    assert moment.history == (100.0, 100.0, 0.0, 0.0, 100.0)
    assert [one is None for one in moment.p95_history] == [False, False, True, True, False]


def test_what_is_not_measured_is_counted_by_its_stage() -> None:
    moment = after([second(at) for at in range(1, 21)])
    assert moment.excluded == {"ramp_up": 1000}
    assert "excluded   1,000 operations of ramp_up: not measured" in lines_of(moment, 80)


PLANNED = (
    Threshold(metric="response_time", expression="p(95)<500"),
    Threshold(metric="response_time", expression="max<20", over=5.0),
    Threshold(metric="failed", expression="rate<1%"),
    Threshold(metric="achieved", expression="rate>=100"),
)


def test_thresholds_have_their_value_and_state_while_the_run_goes_on() -> None:
    live = Live(PLANNED)
    some = [second(at, (4_000,) * 100, failed=2 if at > 14 else 0) for at in range(11, 21)]
    before, *_, last = [live.take(one) for one in (replace(second(10), slots=()), *some, replace(second(21), slots=()))]
    assert [(one.value, one.passed) for one in before.thresholds] == [(None, True)] * 4
    p95, longest, failed, achieved = last.thresholds
    assert (p95.value, p95.passed) == (pytest.approx(4, rel=0.01), True)
    assert (longest.value, longest.passed) == (4.0, True)
    assert (failed.value, failed.passed) == (pytest.approx(12 / 1012), False)
    assert achieved.passed


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), st.integers(0, 3)), min_size=1, max_size=12
    )
)
def test_state_of_thresholds_ends_as_they_are_judged_after_the_run(seconds: list[tuple[list[int], int]]) -> None:
    some = [second(11 + at, times_us, failed) for at, (times_us, failed) in enumerate(seconds)]
    run = replace(RUN, stages=(RUN.stages[0], replace(RUN.stages[1], until_s=10.0 + len(some))))
    live = Live(PLANNED)
    for one in some:
        live.take(replace(one, run=run, until_s=10.0 + len(some)))
    last = live.take(replace(some[-1], run=run, until_s=10.0 + len(some), at_s=11.5 + len(some), slots=()))
    judged = Watch(PLANNED).results(replace(run, slots=tuple(slot for one in some for slot in one.slots)))
    for early, final in zip(last.thresholds, judged, strict=True):
        assert early.value == pytest.approx(final.value) if final.value is not None else early.value is None
        assert early.passed == final.passed or final.value is None


def test_times_of_the_run_are_those_of_measured_stages_and_the_recent_ones_of_all() -> None:
    live = Live()
    warm = [live.take(second(at, (50_000,) * 10)) for at in range(1, 11)][-1]
    assert (warm.run_times.samples, warm.run_times.p50_ms, warm.recent_times.samples) == (0, None, 50)
    held = [live.take(second(at)) for at in range(11, 21)][-1]
    assert held.run_times.samples == 1000
    assert held.run_times.p50_ms == pytest.approx(4, rel=0.01)
    assert held.run_times.max_ms == 30.0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(1, 10**7), max_size=30), min_size=1, max_size=12))
def test_what_is_added_up_second_by_second_is_the_same_as_all_at_once(times_us: list[list[int]]) -> None:
    every = [one for some in times_us for one in some]
    moment = after([second(11 + at, some) for at, some in enumerate(times_us)])
    assert (moment.ok, moment.run_times.samples) == (len(every), len(every))
    assert moment.run_times.max_ms == (max(every) / 1000 if every else None)
    if every:
        assert moment.run_times.p50_ms == pytest.approx(sorted(every)[(len(every) + 1) // 2 - 1] / 1000, rel=0.0101)


def test_the_level_of_a_ramp_moves_with_its_progress() -> None:
    (stage_now,) = after([second(5)]).stages
    assert (stage_now.progress_ratio, stage_now.level, stage_now.unit, stage_now.measured) == (0.5, 100.0, "/s", False)


def test_the_client_is_bound_for_as_long_as_its_newest_second_is() -> None:
    live = Live()
    bound = live.take(second(20, health=(health(19, cpu_ratio=0.97, late_p99_us=800),))).client
    assert bound is not None
    assert (bound.bound, bound.bound_s) == ("worker 0 used 97% of its core", 1)
    after_it = live.take(second(21)).client
    assert after_it is not None
    assert (after_it.bound, after_it.bound_s) == ("", 1)


# On a terminal


def test_picture_shows_stage_rates_times_errors_client_and_thresholds() -> None:
    run = replace(RUN, thresholds=(threshold("p(95)<500", 4.0, True), threshold("max<20", 30.0, False)))
    moment = after([second(at, failed=2 if at > 40 else 0, run=run) for at in range(1, 43)])
    text = lines_of(moment, 80)
    assert text == [
        "shop  load  0:42 of 1:30  0:48 left",
        "stage      ━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌  40%  200/s  hold",
        "per second   offered achieved       ok   failed",
        f"                 102      102      100        2  {'█' * 30}",
        "latency          p50      p95      p99      max",
        "  last 5 s   3.97 ms  3.97 ms  3.97 ms    30 ms",
        "  measured   3.97 ms  3.97 ms  3.97 ms    30 ms",
        f"  p95      {'█' * 41}  3.97 ms to 3.97 ms",
        "errors     4  timeout 4",
        "excluded   1,000 operations of ramp_up: not measured",
        "client     CPU 34%  lag 0.3 ms  late 0.2 ms  in flight 12  waiting 0",
        "threshold  ok          4 ms  response_time p(95)<500 ms",
        "           BROKEN     30 ms  response_time max<20 ms",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 132, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal(width: int, unicode: bool) -> None:
    run = replace(RUN, name="a plan with a long name " * 4, thresholds=(threshold("p(99)<12345" * 10, 3.0, True),))
    stages = tuple(replace(RUN.stages[1], name=f"a stage with a long name {at}") for at in range(6))
    moment = after(
        [
            second(
                at,
                failed=10**6 if at == 1 else 0,
                run=replace(run, stages=stages),
                stages=tuple(range(6)),
                note="x" * 50,
            )
            for at in range(1, 130)
        ]
    )
    text = lines_of(moment, width, unicode)
    assert max(map(len, text)) <= width
    assert "and 2 more stages" in "\n".join(text)
    assert unicode or "\n".join(text).isascii()


def test_a_stage_that_is_named_after_its_level_is_said_once() -> None:
    run = replace(RUN, stages=(RUN.stages[0], replace(RUN.stages[1], name="200/s")))
    moment = after([second(12, run=run)])
    assert lines_of(moment, 80)[1].split("%")[1] == "  200/s"


def test_at_60_columns_everything_of_the_client_can_be_read() -> None:
    text = "\n".join(lines_of(after([second(1)]), 60))
    assert "CPU 34%  lag 0.3 ms  late 0.2 ms" in text
    assert "in flight 12  waiting 0" in text
    assert "…" not in text


def test_a_bound_client_is_said_in_words_and_not_by_colour_alone() -> None:
    bound = second(12, health=(health(11, cpu_ratio=0.97, late_p99_us=800),))
    assert "CLIENT-BOUND: worker 0 used 97% of its core" in lines_of(after([bound]), 80)[-1]
    assert lines_of(after([bound, second(13)]), 80)[-1].strip() == "client-bound for 1 s until now"


def test_a_terminal_is_redrawn_in_place_and_left_clean() -> None:
    text = seen([second(11), second(12)], force_terminal=True, width=80)
    assert "0:11 of 1:30" in text
    assert "0:12 of 1:30" in text
    assert "\x1b[1A" in text  # up, to where the picture began
    assert text.endswith("\x1b[2K")  # the last line cleared


def test_without_colour_nothing_is_coloured() -> None:
    broken = replace(RUN, thresholds=(threshold("max<20", 30.0, False),))
    colours = re.compile(r"\x1b\[[0-9;]*3[0-9]m")
    some = [second(11, failed=1, run=broken, health=(health(10, cpu_ratio=1.0, late_p99_us=800),))]
    assert colours.search(seen(some, force_terminal=True, width=80, color_system="standard"))
    assert not colours.search(seen(some, force_terminal=True, width=80, color_system="standard", no_color=True))


def test_an_update_costs_less_cpu_than_a_hundredth_of_its_second() -> None:
    """Of a run with 60 series, on a terminal that is a string."""
    some = [replace(second(at), slots=second(at).slots * 60) for at in range(1, 41)]
    with live_view(console=Console(file=io.StringIO(), force_terminal=True, width=100)) as watcher:
        took = []
        for one in some:
            begun = time.thread_time()
            watcher(one)
            took.append(time.thread_time() - begun)
    assert sorted(took)[len(took) // 2] < 0.01


# Elsewhere


@pytest.mark.parametrize("console", [{"force_terminal": False}, {"force_terminal": True, "_environ": {"TERM": "dumb"}}])
def test_elsewhere_there_is_a_plain_line_every_five_seconds(console: dict[str, Any]) -> None:
    text = seen([second(at, failed=1 if at == 13 else 0) for at in range(1, 24)], **console)
    assert "\x1b" not in text
    assert [line.split()[0] for line in text.splitlines()] == ["5", "10", "15", "20"]
    assert text.splitlines()[2] == (
        "    15 s  hold 200/s  offered 100/s achieved 100/s ok 100/s"
        "  p50 3.97 ms p95 3.97 ms p99 3.97 ms  errors 1 (timeout 1)"
    )


def test_a_note_is_said_once_when_it_comes() -> None:
    text = seen([second(at, note="waiting for late answers" if at in (2, 4) else "") for at in range(1, 5)])
    assert text.splitlines() == ["     2 s  waiting for late answers"]


def test_nothing_is_shown_where_it_is_not_wanted() -> None:
    out = io.StringIO()
    with live_view(wanted=False, console=Console(file=out, force_terminal=True)) as watcher:
        assert watcher(second(5)) is None
    assert out.getvalue() == ""


# JSON lines


def test_json_lines_have_one_object_for_every_second() -> None:
    documents = json_of([second(11), second(12, failed=3), replace(second(13), at_s=12.7, slots=())])
    assert [document["at_s"] for document in documents] == [11, 12, 12.7]
    last, settled = documents[1:]
    assert (last["ok_per_s"], last["failed"], last["reasons"]) == (100, 3, {"timeout": 3})
    assert (settled["ok_per_s"], settled["failed_per_s"], settled["reasons"]) == (100, 3, {})
    assert (last["response"]["samples"], last["run_response"]["samples"]) == (100, 200)
    assert last["stages"] == [
        {
            "scenario": "checkout",
            "stage": "hold",
            "kind": "hold",
            "measured": True,
            "progress_ratio": 0.025,
            "level": 200,
            "unit": "/s",
        }
    ]
    assert last["client"]["bound"] is None


def keys(document: Any) -> set[str]:
    if isinstance(document, list):
        return set().union(*map(keys, document))
    if not isinstance(document, dict):
        return set()
    return set(document).union(*(keys(value) for name, value in document.items() if name != "reasons"))


def test_every_key_of_json_lines_is_documented() -> None:
    run = replace(RUN, thresholds=(threshold("max<20", None, False),))
    (document,) = json_of([second(11, run=run)])
    text = DOCUMENT.read_text()
    assert [key for key in sorted(keys(document)) if f"`{key}`" not in text] == []


# Never in the way


@pytest.mark.parametrize("form", ["json", "lines", "picture"])
def test_a_closed_pipe_ends_the_view_and_not_the_run(form: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out, closed_at_last(out):
        options: dict[str, Any] = (
            {"json_lines": True, "stdout": out}
            if form == "json"
            else {"console": Console(file=out, force_terminal=form == "picture")}
        )
        with live_view(**options) as watcher:
            assert [watcher(second(at)) for at in range(5, 50)] == [None] * 45


@pytest.mark.parametrize("form", ["json", "picture"])
def test_a_pipe_that_nobody_reads_holds_up_nothing(form: str) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as out, closed_at_last(out):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        view = (
            live_view(json_lines=True, stdout=out)
            if form == "json"
            else live_view(console=Console(file=out, force_terminal=True))
        )
        begun = time.monotonic()
        with view as watcher:
            for at in range(1, 400):
                watcher(second(at))
            took_s = time.monotonic() - begun
        assert took_s < 5
        os.close(reader)  # so that the writer's thread comes to its end


@contextmanager
def closed_at_last(out: IO[str]) -> Iterator[None]:
    """What is left in the buffer of a pipe without a reader cannot be flushed when it is closed."""
    yield
    with suppress(BrokenPipeError):
        out.close()


def test_news_without_anything_in_them_are_shown_as_well() -> None:
    empty = Second(run=replace(RUN, series=(), stages=()), at_s=0.0, until_s=0.0, stages=(), slots=(), health=())
    assert "p50 - p95 - p99 -" in seen([replace(empty, at_s=5.0)])
    assert lines_of(after([empty]), 60)[0] == "shop  load  0:00 of 0:00  0:00 left"


# Words


def test_a_sparkline_is_as_wide_as_asked_and_its_highest_is_full() -> None:
    assert sparkline([0, 5, 10], 10) == "▁▅█"
    assert sparkline([1, 0, 0], 2) == "▁▁"
    assert sparkline([], 5) == sparkline([1, 2], 0) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "-"), (0.4212, "0.421 ms"), (4.0, "4 ms"), (123.4, "123 ms"), (1234.5, "1,234 ms"), (12_345.0, "12.3 s")],
)
def test_milliseconds_have_three_digits(value: float | None, words: str) -> None:
    assert milliseconds(value) == words


@pytest.mark.parametrize(("seconds", "words"), [(0, "0:00"), (-3, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_clock_counts_up_from_minutes(seconds: float, words: str) -> None:
    assert clock(seconds) == words
