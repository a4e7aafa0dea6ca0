"""When the load generator was the limit: each sign on its own, what is not one, and what becomes of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from checker.loadtest.bottleneck import Cause
from checker.loadtest.judging.client_symptoms import ClientLimits
from checker.loadtest.judging.saturation import judge
from checker.loadtest.results import BenchKind, BenchRun, BenchState, Calibration, Series, Slot, StageSpan, WorkerSecond
from checker.stats.histogram import Cells

QUIET = WorkerSecond(
    worker=0,
    at_s=0,
    cpu_ratio=0.3,
    lag_p99_us=300,
    lag_max_us=900,
    late_p99_us=200,
    gc_us=500,
    in_flight=10,
    backlog=0,
    descriptors=60,
    ports=50,
    memory_bytes=50_000_000,
)
ROOM = ClientLimits(descriptors=1000, ports=28_000)


def blob(*values_us: int) -> bytes:
    return Cells.of_values(np.zeros(len(values_us), np.int64), np.array(values_us)).blobs(1)[0]


def slot(at_s: int, stage: int = 0, response_us: int = 5_000, offered: int = 100, **changes: Any) -> Slot:
    defaults: dict[str, Any] = {
        "offered": offered,
        "ok": offered,
        "done_ok": offered,
        "max_us": response_us,
        "response": blob(*[response_us] * offered),
    }
    return Slot(series=0, stage=stage, at_s=at_s, **{**defaults, **changes})


def stage(from_s: float, until_s: float, measured: bool = True) -> StageSpan:
    kind = "hold" if measured else "warm_up"
    return StageSpan(
        scenario="s",
        name=f"{kind} {from_s:g}",
        kind=kind,
        measured=measured,
        from_s=from_s,
        until_s=until_s,
        start_level=100.0,
        end_level=100.0,
    )


def run(
    seconds: int = 100,
    kind: BenchKind = BenchKind.LOAD,
    stages: Sequence[StageSpan] = (),
    change: Callable[[WorkerSecond], WorkerSecond] = lambda second: second,
    slots: Sequence[Slot] | None = None,
    workers: int = 1,
    **changes: Any,
) -> BenchRun:
    """A quiet client over a server that takes 5 ms; ``change`` makes it less quiet."""
    spans = tuple(stages) or (stage(0, seconds),)

    def at(second: int) -> int:
        return next((index for index, span in enumerate(spans) if span.from_s <= second < span.until_s), 0)

    health = [
        change(replace(QUIET, worker=worker, at_s=second)) for second in range(seconds) for worker in range(workers)
    ]
    made = BenchRun(
        id=None,
        name="made",
        kind=kind,
        state=BenchState.FINISHED,
        started_at_ms=0,
        finished_at_ms=seconds * 1000,
        checker_version="0",
        plan={},
        plan_digest="",
        seed=1,
        workers=workers,
        slot_s=1,
        environment={},
        series=(Series(scenario="s", operation="rest", model="open", server="a", url="http://a/"),),
        stages=spans,
        slots=[slot(second, at(second)) for second in range(seconds)] if slots is None else slots,
        health=health,
    )
    return replace(made, **changes)


def during(begin: int, end: int, worker: int = 0, **beyond: Any) -> Callable[[WorkerSecond], WorkerSecond]:
    def change(second: WorkerSecond) -> WorkerSecond:
        here = second.worker == worker and begin <= second.at_s < end
        return replace(second, **beyond) if here else second

    return change


def test_a_quiet_client_is_believed() -> None:
    found = judge(run(), ROOM)
    assert (found.limited, found.reason, found.spans, found.stages) == (False, "", (), {})
    assert (found.bound_s, found.measured_s) == (0.0, 100.0)


def test_the_reason_names_worker_value_and_time() -> None:
    found = judge(run(change=during(12, 31, cpu_ratio=0.97, late_p99_us=800)), ROOM)
    assert found.limited
    assert found.reason == (
        "the load generator was the limit for 19 of 100 measured seconds, which are marked, and added up to 1.6 ms: "
        "worker 0 used 97% of its core from 12 s to 31 s"
    )
    assert not found.invalid


@pytest.mark.parametrize(
    ("beyond", "cause", "what"),
    [
        ({"cpu_ratio": 0.86, "late_p99_us": 600}, Cause.CPU, "used 86% of its core"),
        ({"busy_ratio": 0.97, "lag_p99_us": 600}, Cause.CPU, "kept its event loop busy for 97% of the time"),
        ({"gc_us": 30_000}, Cause.GC, "spent 30 ms of a second in the garbage collector"),
        ({"descriptors": 950}, Cause.DESCRIPTORS, "had 950 of 1,000 file descriptors open"),
        ({"lag_p99_us": 2_500}, Cause.LAG, "ran its event loop 2.5 ms late (p99)"),
        (
            {"late_p99_us": 12_000},
            Cause.LATE,
            "started requests 12 ms late (p99) with connections free",
        ),
    ],
)
def test_each_sign_marks_its_seconds(beyond: dict[str, Any], cause: Cause, what: str) -> None:
    (span,) = judge(run(change=during(40, 43, **beyond)), ROOM).spans
    assert (span.from_s, span.until_s, span.worker, span.cause, span.what) == (40.0, 43.0, 0, cause, what)


@pytest.mark.parametrize(
    "within",
    [
        {"cpu_ratio": 0.85, "late_p99_us": 1_900},
        {"cpu_ratio": 1.0, "busy_ratio": 1.0},
        {"gc_us": 9_000},
        {"descriptors": 900},
        {"lag_p99_us": 2_000},
        {"late_p99_us": 1_900},
    ],
)
def test_what_is_not_beyond_a_limit_is_no_sign(within: dict[str, Any]) -> None:
    assert judge(run(change=during(0, 100, **within)), ROOM).spans == ()


def test_late_is_measured_against_a_tenth_of_the_median_response() -> None:
    slow = [slot(second, response_us=200_000) for second in range(100)]
    assert judge(run(slots=slow, change=during(0, 100, late_p99_us=15_000)), ROOM).spans == ()
    assert judge(run(slots=slow, change=during(0, 100, late_p99_us=25_000)), ROOM).limited


def test_what_is_late_for_the_quickest_scenario_is_late() -> None:
    series = tuple(
        Series(scenario=name, operation="rest", model="open", server="a", url="http://a/") for name in ("quick", "slow")
    )
    quick = [slot(second) for second in range(100)]
    slow = [replace(slot(second, response_us=900_000, offered=900), series=1) for second in range(100)]
    found = judge(run(series=series, slots=[*quick, *slow], change=during(0, 100, late_p99_us=15_000)), ROOM)
    assert found.limited


def test_ports_are_those_of_all_workers_together() -> None:
    found = judge(run(workers=2, change=lambda second: replace(second, ports=13_000)), ROOM)
    (span,) = found.spans
    assert (span.worker, span.cause) == (None, Cause.PORTS)
    assert span.what == "opened 26,000 connections to one host in a minute, with 28,000 local ports"
    assert found.limited


def test_limits_of_the_system_are_taken_from_the_environment_of_the_run_and_not_of_the_reader() -> None:
    crowded = run(change=lambda second: replace(second, descriptors=950))
    assert judge(crowded).spans == ()
    assert judge(replace(crowded, environment={"descriptor_limit": "1000"})).limited


def test_five_of_a_hundred_seconds_are_marked_and_six_make_the_run_invalid() -> None:
    marked = judge(run(change=during(10, 15, cpu_ratio=0.9, late_p99_us=800)), ROOM)
    assert not marked.limited
    assert marked.reason == (
        "the load generator was the limit for 5 of 100 measured seconds, which are marked: "
        "worker 0 used 90% of its core from 10 s to 15 s"
    )
    assert judge(run(change=during(10, 16, cpu_ratio=0.9, late_p99_us=800)), ROOM).limited


def test_a_second_counts_once_however_many_workers_and_signs_it_has() -> None:
    both = judge(run(workers=2, change=lambda s: replace(s, cpu_ratio=0.99, lag_p99_us=9000)), ROOM)
    assert both.bound_s == 100.0


def test_seconds_of_unmeasured_stages_are_marked_but_not_counted() -> None:
    stages = (stage(0, 20, measured=False), stage(20, 100))
    found = judge(run(stages=stages, change=during(0, 20, cpu_ratio=0.99, late_p99_us=800)), ROOM)
    assert (found.limited, found.bound_s, found.reason) == (False, 0.0, "")
    assert [(span.from_s, span.until_s) for span in found.spans] == [(0.0, 20.0)]
    assert list(found.stages) == [0]


def test_a_whole_stage_makes_a_long_run_invalid() -> None:
    stages = (stage(0, 97), stage(97, 100))
    assert judge(run(stages=stages, change=during(97, 100, cpu_ratio=0.99, late_p99_us=800)), ROOM).limited


@pytest.mark.parametrize("kind", [BenchKind.STRESS, BenchKind.SUITE])
def test_stages_of_a_suite_or_a_stress_test_are_set_apart(kind: BenchKind) -> None:
    stages = tuple(stage(begin, begin + 10) for begin in range(0, 100, 10))
    found = judge(run(kind=kind, stages=stages, change=during(90, 100, cpu_ratio=0.99, late_p99_us=800)), ROOM)
    assert (found.limited, found.bound_s, found.measured_s) == (False, 0.0, 90.0)
    assert found.stages == {9: "worker 0 used 99% of its core from 90 s to 100 s"}
    assert found.reason.startswith("the load generator was the limit in 1 of 10 measured stages")
    assert judge(run(kind=kind, stages=stages, change=during(0, 100, cpu_ratio=0.99, late_p99_us=800)), ROOM).limited


def test_the_cause_behind_lateness_is_named_where_it_lasted_nearly_as_long() -> None:
    def change(second: WorkerSecond) -> WorkerSecond:
        second = during(10, 40, late_p99_us=30_000)(second)
        return during(12, 39, cpu_ratio=1.0)(second)

    assert "worker 0 used 100% of its core from 12 s to 39 s" in judge(run(change=change), ROOM).reason


def test_operations_that_wait_for_a_place_are_the_servers_or_the_plans_doing() -> None:
    """The server stops: places fill, arrivals wait, little is achieved."""
    slots = [slot(second, done_ok=100 if second < 50 else 5) for second in range(100)]
    waiting = run(
        slots=slots,
        change=lambda s: replace(s, in_flight=50, backlog=95 * (s.at_s - 49)) if s.at_s >= 50 else s,
    )
    found = judge(waiting, ROOM)
    assert (found.limited, found.spans) == (False, ())
    (wait,) = found.waits
    assert (wait.from_s, wait.until_s) == (50.0, 100.0)
    assert wait.what == "had up to 4,750 arrivals queued (max_in_flight reached)"


def test_a_slow_server_that_holds_the_operations_is_not_the_clients_limit() -> None:
    slots = [slot(second, done_ok=100 if second < 50 else 90) for second in range(100)]
    slow = run(slots=slots, change=lambda s: replace(s, in_flight=10 + 10 * max(0, s.at_s - 49)))
    assert judge(slow, ROOM).spans == ()


def test_a_shortfall_that_is_neither_in_flight_nor_waiting_is_held_by_the_client() -> None:
    slots = [slot(second, done_ok=100 if second < 50 else 80) for second in range(100)]
    found = judge(run(slots=slots), ROOM)
    assert found.limited
    (span,) = found.spans
    assert (span.worker, span.cause, span.from_s, span.until_s) == (None, Cause.HELD, 50.0, 99.0)
    assert span.what == "held back up to 970 scheduled requests"


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_seconds_of_workers_that_lie_between_those_of_the_run_make_nobody_hold_anything(shift: int) -> None:
    """A server stops for ten seconds; what a worker says of a moment may be filed a second away from it."""
    frozen = range(50, 60)
    done = {second: 0 if second in frozen else 1_100 if second == 60 else 100 for second in range(100)}
    slots = [slot(second, done_ok=done[second]) for second in range(100)]
    holds = {second: 100 * (second - 49) for second in frozen}

    def change(second: WorkerSecond) -> WorkerSecond:
        return replace(second, in_flight=10 + holds.get(second.at_s + shift, 0))

    assert judge(run(slots=slots, change=change), ROOM).spans == ()


def test_two_reports_of_a_worker_for_one_second_are_not_two_workers() -> None:
    slots = [slot(second, done_ok=100 if second < 50 else 80) for second in range(100)]
    held = run(slots=slots)
    assert judge(replace(held, health=[*held.health, held.health[20]]), ROOM).limited


def test_dropped_arrivals_are_not_held_by_the_client() -> None:
    slots = [slot(second, done_ok=80, ok=80, dropped=20) for second in range(100)]
    assert judge(run(slots=slots), ROOM).spans == ()


def test_a_worker_that_falls_silent_is_marked_to_the_end_of_the_stage() -> None:
    whole = run(workers=2)
    lost = replace(whole, health=[second for second in whole.health if second.worker == 0 or second.at_s < 70])
    (span,) = judge(lost, ROOM).spans
    assert (span.worker, span.from_s, span.until_s, span.what) == (1, 70.0, 100.0, "reported nothing")


def test_two_seconds_not_yet_reported_are_no_silence() -> None:
    whole = run()
    assert judge(replace(whole, health=[s for s in whole.health if s.at_s < 98]), ROOM).spans == ()


def test_percentiles_below_the_calibration_are_within_the_noise() -> None:
    calibration = Calibration(operation="rest", ceiling_per_s=4000.0, cpu_us=200.0, noise_p50_us=300, noise_p99_us=900)
    quick = [slot(s, response=blob(*[700] * 96, *[5000] * 4), max_us=5000) for s in range(100)]
    found = judge(run(slots=quick, calibrations=(calibration,)), ROOM)
    assert [(noise.percentile, noise.noise_us) for noise in found.noise] == [("p50", 900.0), ("p95", 900.0)]
    assert judge(run(calibrations=(calibration,)), ROOM).noise == ()
    assert judge(run(slots=quick, calibrations=(replace(calibration, operation="mcp"),)), ROOM).noise == ()


def test_a_run_without_anything_is_judged_as_well() -> None:
    found = judge(run(seconds=0, stages=(stage(0, 0),)), ROOM)
    assert (found.limited, found.spans, found.noise) == (False, (), ())


@settings(deadline=None, max_examples=50)
@given(st.sets(st.integers(0, 39)), st.sets(st.integers(0, 39)))
def test_bound_time_is_that_of_the_seconds_with_a_sign(busy: set[int], late: set[int]) -> None:
    def change(second: WorkerSecond) -> WorkerSecond:
        return replace(
            second,
            cpu_ratio=0.95 if second.at_s in busy else 0.2,
            lag_p99_us=600,
            late_p99_us=50_000 if second.at_s in late else 0,
        )

    found = judge(run(seconds=40, change=change), ROOM)
    assert found.bound_s == len(busy | late)
    assert found.limited == (len(busy | late) > 2)
    assert sum(span.until_s - span.from_s for span in found.spans) == len(busy) + len(late)
    assert bool(found.reason) == bool(busy | late)
