"""Load tests that no server stood: seeded records as workers would have made them, with faults that tests ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from builders import AT_MS
from checker.loadtest.bottleneck import NO_LIMIT, Saturation
from checker.loadtest.results import (
    BenchKind,
    BenchRun,
    BenchState,
    Calibration,
    Capacity,
    LevelResult,
    Series,
    Slot,
    StageSpan,
    ThresholdResult,
    WorkerSecond,
)
from checker.loadtest.summary import of_stage
from checker.stats.histogram import Cells
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.report import report_of
from reports.report_model import Report

Floats = npt.NDArray[np.float64]

STAGES = (
    ("warm_up", 5, 40.0, 40.0),
    ("ramp_up", 10, 40.0, 200.0),
    ("hold", 30, 200.0, 200.0),
    ("spike", 5, 400.0, 400.0),
    ("cool_down", 5, 40.0, 40.0),
)
"""Kind, seconds, level at the start and at the end."""
ENVIRONMENT = {
    "machine": "x86_64, 2 cores",
    "kernel": "Linux 6.1",
    "python": "3.11.2",
    "libraries": "gevent 25.9, urllib3 2.7",
    "clock": "CLOCK_MONOTONIC, 1 ns",
    "git": "53f1f05",
}


def threshold(metric: str, expression: str, value: float | None, passed: bool, **more: Any) -> ThresholdResult:
    values: dict[str, Any] = {"over_s": None, "aborted": False, **more}
    return ThresholdResult(metric=metric, expression=expression, value=value, passed=passed, **values)


PASSED = (
    threshold("response_time", "p(95)<500", 61.2, True),
    threshold("failed", "rate<0.05", 0.021, True, over_s=10.0),
)
FAILED = (*PASSED, threshold("response_time{server:search}", "p(99)<100", 4210.5, False, at_s=23.0))
REASONS = ("http_status 500", "connection_closed", "first_byte_timeout", "rate_limited")
_TIMEOUT_US = 2_000_000
_PHASES = {
    "rest": {"dns": 0.01, "connect": 0.04, "tls": 0.05, "wait": 0.75, "transfer": 0.15},
    "mcp_check": {"initialize": 0.3, "ping": 0.1, "list": 0.5, "close": 0.1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong, in seconds from the epoch and in ratios."""

    freeze: tuple[float, float] | None = None
    """From when until when no server answers."""
    client_bound: tuple[float, float] | None = None
    """From when until when the client begins late."""
    failing_ratio: float = 0.01
    cold_s: float = 0.0
    """How long after the first measured moment answers take three times as long."""
    capacity: float = math.inf
    """Arrivals per second that a server bears; latency grows towards it, and above it a queue does."""
    wait_ms: float = 0.0
    """How long every operation waits for a free place."""
    churn: bool = False
    """Whether every operation opens a connection."""


def load_run(
    *,
    servers: Sequence[str] = ("search", "orders"),
    operations: Sequence[str] = ("rest",),
    model: str = "open",
    stages: Sequence[tuple[str, int, float, float]] = STAGES,
    faults: Faults = Faults(),
    thresholds: Sequence[ThresholdResult] = PASSED,
    cut_s: float | None = None,
    slot_s: int = 1,
    seed: int = 7,
    workers: int = 2,
    **more: Any,
) -> BenchRun:
    """A run of stages, a scenario for each operation; ``cut_s`` is where it was interrupted."""
    spans = [span for operation in operations for span in _spans(operation, stages, cut_s)]
    series = tuple(
        Series(scenario=operation, operation=operation, model=model, server=server, url=f"http://{server}.test/health")
        for operation in operations
        for server in servers
    )
    slots = [
        slot
        for place, one in enumerate(series)
        for slot in _slots(np.random.default_rng((seed, place)), place, one, spans, len(servers), faults, slot_s)
    ]
    seconds = math.ceil(max(span.until_s for span in spans))
    state = BenchState.FINISHED if cut_s is None else BenchState.INTERRUPTED
    return _run(
        series, spans, slots, _health(seed, workers, seconds, faults, slots), state, seed, thresholds, more, slot_s
    )


def stress_run(*, capacity: float = 600.0, **more: Any) -> BenchRun:
    """Levels raised until the objective broke, then narrowed down, and the recovery."""
    levels = (50.0, 100.0, 200.0, 400.0, 800.0, 566.0, 50.0)
    stages = [("step", 8, level, level) for level in levels]
    run = load_run(
        servers=("search",), stages=stages, faults=Faults(failing_ratio=0.0, capacity=capacity), thresholds=()
    )
    run = replace(run, kind=BenchKind.STRESS, **more)
    judged = []
    for at, level in enumerate(levels[:-1]):
        whole = of_stage(run, at)
        p50_us, p99_us = whole.quantile_us(0.5), whole.quantile_us(0.99)
        good = p99_us is not None and p99_us < 500_000 and whole.failed_ratio < 0.01
        judged.append(
            LevelResult(
                stage=at,
                level=level,
                good=good,
                why="" if good else "p99 of the response time above 500 ms",
                offered_per_s=whole.offered_per_s,
                achieved_per_s=whole.achieved_per_s,
                p50_ms=None if p50_us is None else p50_us / 1000,
                p99_ms=None if p99_us is None else p99_us / 1000,
                failed_ratio=whole.failed_ratio,
            )
        )
    good_levels = [one.level for one in judged if one.good]
    bad_levels = [one.level for one in judged if not one.good]
    found = Capacity(
        last_good=max(good_levels, default=None),
        first_bad=min(bad_levels, default=None),
        knee=400.0,
        recovery_s=3.0,
        levels=tuple(judged),
    )
    return replace(run, capacity=found)


def usl_run(**more: Any) -> BenchRun:
    """A closed stress test, whose levels a scalability law was fitted to."""
    run = stress_run()
    assert run.capacity is not None
    users = (1, 2, 4, 8, 16, 32)
    fit = {"lambda": 90.0, "sigma": 0.04, "kappa": 0.0012, "r_squared": 0.991, "peak_users": 28.3, "peak_per_s": 803.0}
    levels = tuple(
        LevelResult(
            stage=at,
            level=float(n),
            good=n < 32,
            why="" if n < 32 else "p99 of the response time above 500 ms",
            offered_per_s=90 * n / (1 + 0.04 * (n - 1) + 0.0012 * n * (n - 1)),
            achieved_per_s=90 * n / (1 + 0.04 * (n - 1) + 0.0012 * n * (n - 1)) * (1 + 0.02 * (-1) ** at),
            p50_ms=9.0 + n,
            p99_ms=20.0 + n**1.8,
            failed_ratio=0.0,
        )
        for at, n in enumerate(users)
    )
    capacity = Capacity(last_good=16.0, first_bad=32.0, knee=16.0, recovery_s=None, levels=levels, usl=fit)
    series = tuple(replace(one, model="closed") for one in run.series)
    return replace(run, series=series, capacity=capacity, **more)


def suite_run(
    *, users: Sequence[int] = (1, 5, 20), counts: Sequence[int] = (1, 2), blocks: int = 5, **more: Any
) -> BenchRun:
    """A grid, closed model, its blocks in an order of their own."""
    servers = tuple(f"server-{number + 1}" for number in range(max(counts)))
    cells = [(one, count, block) for block in range(blocks) for one in users for count in counts]
    order = np.random.default_rng(3).permutation(len(cells)).tolist()
    spans, at = [], 0.0
    for place in order:
        one, count, block = cells[place]
        for kind, seconds in (("warm_up", 1), ("hold", 4)):
            spans.append(
                StageSpan(
                    scenario="rest",
                    name=f"{one} users, {count} servers, block {block + 1}",
                    kind=kind,
                    measured=kind == "hold",
                    from_s=at,
                    until_s=at + seconds,
                    start_level=one,
                    end_level=one,
                    users=one,
                    servers=count,
                    block=block,
                )
            )
            at += seconds
    series = tuple(
        Series(scenario="rest", operation="rest", model="closed", server=name, url=f"http://{name}.test/health")
        for name in servers
    )
    slots = []
    for place, one_series in enumerate(series):
        mine = [span if (span.servers or 0) > place else replace(span, start_level=0, end_level=0) for span in spans]
        random = np.random.default_rng((9, place))
        slots += _slots(random, place, one_series, mine, len(servers), Faults(failing_ratio=0.0), 1)
    run = _run(series, spans, slots, _health(9, 1, math.ceil(at), Faults(), slots), BenchState.FINISHED, 9, (), more, 1)
    return replace(run, kind=BenchKind.SUITE)


def _run(
    series: tuple[Series, ...],
    spans: Sequence[StageSpan],
    slots: Sequence[Slot],
    health: Sequence[WorkerSecond],
    state: BenchState,
    seed: int,
    thresholds: Sequence[ThresholdResult],
    more: dict[str, Any],
    slot_s: int,
) -> BenchRun:
    values: dict[str, Any] = {
        "id": 12,
        "name": "checkout",
        "kind": BenchKind.LOAD,
        "state": state,
        "started_at_ms": AT_MS,
        "finished_at_ms": AT_MS + round(1000 * max(span.until_s for span in spans)),
        "checker_version": "0.1.0",
        "plan": {"name": "checkout", "scenarios": {one.scenario: {"operation": one.operation} for one in series}},
        "plan_digest": "ab" * 32,
        "seed": seed,
        "workers": len({one.worker for one in health}),
        "slot_s": slot_s,
        "environment": ENVIRONMENT,
        "series": series,
        "stages": tuple(spans),
        "slots": tuple(slots),
        "health": tuple(health),
        "calibrations": (
            Calibration(operation="rest", ceiling_per_s=8200.0, cpu_us=118.0, noise_p50_us=420, noise_p99_us=1900),
        ),
        "thresholds": tuple(thresholds),
    }
    return BenchRun(**(values | more))


def _spans(operation: str, stages: Sequence[tuple[str, int, float, float]], cut_s: float | None) -> list[StageSpan]:
    spans, at = [], 0.0
    for number, (kind, seconds, start, end) in enumerate(stages, 1):
        until = at + seconds if cut_s is None else min(at + seconds, cut_s)
        if until > at:
            measured = kind not in ("warm_up", "ramp_up", "ramp_down", "cool_down")
            spans.append(
                StageSpan(
                    scenario=operation,
                    name=f"{kind} {number}",
                    kind=kind,
                    measured=measured,
                    from_s=at,
                    until_s=until,
                    start_level=start,
                    end_level=end,
                )
            )
        at += seconds
    return spans


def _slots(
    random: np.random.Generator,
    place: int,
    series: Series,
    spans: Sequence[StageSpan],
    servers: int,
    faults: Faults,
    slot_s: int,
) -> list[Slot]:
    """The slots of one series: arrivals of each second, what they took, and what became of them."""
    mine = [(number, span) for number, span in enumerate(spans) if span.scenario == series.scenario]
    median_us = 18_000.0 * (1 + 0.6 * place % 4)
    intended, stage, level = _arrivals(random, series.model, mine, servers, faults, median_us)
    if not len(intended):
        return []
    size = len(intended)
    first = next((span.from_s for _, span in mine if span.measured), 0.0)
    service = median_us * np.exp(0.35 * random.standard_normal(size))
    service *= np.where(random.random(size) < 0.01, 6.0, 1.0)
    service *= np.where((intended >= first) & (intended < first + faults.cold_s), 3.0, 1.0)
    use = level / servers / faults.capacity
    service *= 1 / np.maximum(0.12, 1 - use)
    for number, span in mine:
        over = max(0.0, 1 - faults.capacity * servers / max(span.end_level, 1e-9))
        service += np.where(stage == number, 1e6 * over * (intended - span.from_s), 0.0)
    late = 1000 * faults.wait_ms + 60 + 90 * np.abs(random.standard_normal(size))
    if faults.client_bound is not None:
        begin, end = faults.client_bound
        late += np.where((intended >= begin) & (intended < end), 40_000 * random.random(size), 0.0)
    if faults.freeze is not None:
        begin, end = faults.freeze
        service += np.where((intended >= begin) & (intended < end), 1e6 * (end - intended), 0.0)
    failed = random.random(size) < faults.failing_ratio * np.where(np.sin(intended / 5) > 0, 2.0, 0.4)
    reason = random.choice(len(REASONS), size, p=(0.5, 0.25, 0.15, 0.1))
    service = np.where(failed & (reason == 2), _TIMEOUT_US, service)
    return _counted(place, series, intended, stage, service, late, failed, reason, slot_s, faults, spans)


def _arrivals(
    random: np.random.Generator,
    model: str,
    spans: Sequence[tuple[int, StageSpan]],
    servers: int,
    faults: Faults,
    median_us: float,
) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
    """When each operation was due, in which stage, and the level then."""
    times, stages, levels = [], [], []
    for number, span in spans:
        for second in range(math.floor(span.from_s), math.ceil(span.until_s)):
            share = (second + 0.5 - span.from_s) / (span.until_s - span.from_s)
            level = span.start_level + min(1.0, share) * (span.end_level - span.start_level)
            count = level / servers
            if model == "closed":
                count *= 1e6 / (1.1 * median_us * (1 + level / 40))
                if faults.freeze is not None and faults.freeze[0] <= second < faults.freeze[1]:
                    count = level / servers if second == math.floor(faults.freeze[0]) else 0.0
            whole = int(count + random.random())
            times.append(second + (np.arange(whole) + 0.5) / max(1, whole))
            stages.append(np.full(whole, number))
            levels.append(np.full(whole, level if model == "open" else 0.0))
    intended = np.concatenate(times)
    inside = intended < max(span.until_s for _, span in spans)
    return intended[inside], np.concatenate(stages)[inside], np.concatenate(levels)[inside]


def _counted(
    place: int,
    series: Series,
    intended: Floats,
    stage: npt.NDArray[np.int64],
    service: Floats,
    late: Floats,
    failed: npt.NDArray[np.bool_],
    reason: npt.NDArray[np.int64],
    slot_s: int,
    faults: Faults,
    spans: Sequence[StageSpan],
) -> list[Slot]:
    at = (intended // slot_s).astype(np.int64) * slot_s
    done = ((intended + (late + service) / 1e6) // slot_s).astype(np.int64) * slot_s
    keys = sorted({*zip(stage.tolist(), at.tolist(), strict=True)})
    places = {key: number for number, key in enumerate(keys)}
    slot = np.array([places[key] for key in zip(stage.tolist(), at.tolist(), strict=True)])
    times = np.array([time for _, time in keys])
    order = np.argsort(times, kind="stable")
    after = np.searchsorted(times[order], done)
    ended = np.where(after < len(order), order[np.minimum(after, len(order) - 1)], -1)
    size, response = len(keys), service + late
    good = ~failed

    def count(mask: npt.NDArray[np.bool_], of: npt.NDArray[np.int64] = slot) -> list[int]:
        inside: list[int] = np.bincount(of[mask & (of >= 0)], minlength=size).tolist()
        return inside

    def packed(values: Floats, mask: npt.NDArray[np.bool_]) -> list[bytes]:
        return Cells.of_values(slot[mask], values[mask].astype(np.int64)).blobs(size)

    longest = np.zeros(size)
    np.maximum.at(longest, slot[good], response[good])
    spent = np.bincount(slot[good], service[good], size)
    every = np.ones(len(slot), bool)
    histograms = [
        packed(response, good),
        packed(service, good),
        packed(service * 0.8, good),
        packed(late, every),
        packed(response, failed),
    ]
    offered, ok, bad = count(every), count(good), count(failed)
    of_reasons = [count(failed & (reason == number)) for number in range(len(REASONS))]
    done_ok, done_failed = count(good, ended), count(failed, ended)
    phases = _PHASES.get(series.operation, {"wait": 1.0})
    last_s = max(span.until_s for span in spans)
    return [
        Slot(
            series=place,
            stage=key[0],
            at_s=key[1],
            offered=offered[n],
            ok=ok[n],
            failed=bad[n],
            censored=of_reasons[2][n],
            done_ok=done_ok[n],
            done_failed=done_failed[n],
            connections=offered[n] if faults.churn else int(key[1] == 0) * 8,
            received_bytes=612 * ok[n],
            refused=of_reasons[3][n],
            max_us=int(longest[n]),
            response=histograms[0][n],
            service=histograms[1][n],
            first_byte=histograms[2][n],
            late=histograms[3][n],
            failed_response=histograms[4][n],
            reasons={name: of_reasons[at][n] for at, name in enumerate(REASONS) if of_reasons[at][n]},
            phases_us={name: int(share * spent[n]) for name, share in phases.items()} if ok[n] else {},
        )
        for n, key in enumerate(keys)
        if key[1] < last_s
    ]


def _health(seed: int, workers: int, seconds: int, faults: Faults, slots: Sequence[Slot]) -> list[WorkerSecond]:
    random = np.random.default_rng((seed, 999))
    begun, ended = np.zeros(seconds), np.zeros(seconds)
    for slot in slots:
        begun[slot.at_s] += slot.offered - slot.dropped
        ended[slot.at_s] += slot.done_ok + slot.done_failed
    under_way = np.maximum(0, np.cumsum(begun) - np.cumsum(ended))
    found = []
    for worker in range(workers):
        for second in range(seconds):
            bound = faults.client_bound is not None and faults.client_bound[0] <= second < faults.client_bound[1]
            busy = worker == 0 and bound
            found.append(
                WorkerSecond(
                    worker=worker,
                    at_s=second,
                    cpu_ratio=0.97 if busy else float(0.3 + 0.1 * random.random()),
                    lag_p99_us=int((30_000 if busy else 300) * (1 + random.random())),
                    lag_max_us=int((60_000 if busy else 900) * (1 + random.random())),
                    late_p99_us=int((35_000 if busy else 250) * (1 + random.random())),
                    gc_us=int(2000 * random.random()),
                    in_flight=math.ceil(under_way[second] / workers) + int(5 * random.random()) + 1,
                    backlog=40 if busy else 0,
                    descriptors=60 + worker,
                    ports=16 + second % 5,
                    memory_bytes=70_000_000 + 20_000 * second,
                )
            )
    return found


def bench_report(
    run: BenchRun,
    saturation: Saturation = NO_LIMIT,
    comparison: Report | None = None,
    trend: Report | None = None,
) -> Report:
    """The report of a run of which nothing else was found than this."""
    return report_of(LoadTestOutcome(run=run, saturation=saturation, comparison=comparison, trend=trend))
