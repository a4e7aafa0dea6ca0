"""The live state of a load test: the updates of each second summed into one record at a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from checker.loadtest.judging.client_symptoms import ClientLimits, symptoms
from checker.loadtest.protocols import Second
from checker.loadtest.results import BenchRun, Slot, ThresholdResult, WorkerSecond
from checker.stats.histogram import Cells, empty

RECENT_S = 5.0
"""The length of "the last seconds"."""
HISTORY = 120
"""Number of rates kept for the sparkline."""
_RATIOS = (0.5, 0.95, 0.99)
_SHORTEST_S = 0.2
"""Updates that follow each other faster are divided by this all the same: a rate would jump."""


@dataclass(frozen=True, slots=True)
class Times:
    """Response times of successful operations, in milliseconds; None without samples."""

    samples: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates per second."""

    offered: float
    achieved: float
    """Operations that ended, successful or failed."""
    ok: float
    failed: float


@dataclass(frozen=True, slots=True)
class StageNow:
    """A stage in progress."""

    scenario: str
    name: str
    kind: str
    measured: bool
    progress_ratio: float
    level: float
    """The present level; on a ramp it moves."""
    unit: str
    """/s or users."""


@dataclass(frozen=True, slots=True)
class ClientNow:
    """The load generator in its newest second: the worst worker, but the sum of the operations in flight."""

    workers: int
    cpu_ratio: float
    lag_p99_ms: float
    late_p99_ms: float
    in_flight: int
    backlog: int
    bound: str
    """The reason why the load generator is the limit in this second; empty if it is not."""
    bound_s: int
    """Seconds of the run in which it was."""


class Moment(Struct, frozen=True, kw_only=True):
    """The state of a run at one moment."""

    name: str
    kind: str
    at_s: float
    until_s: float
    stages: tuple[StageNow, ...]
    now: Rates
    """Of the newest updates."""
    recent: Rates
    """Of the last `RECENT_S` seconds."""
    history: tuple[float, ...]
    """Achieved rates, update after update, the newest last."""
    updates: Times
    recent_times: Times
    run_times: Times
    """Of the measured stages so far."""
    ok: int
    """Total over all stages, measured or not; the next two fields likewise."""
    failed: int
    reasons: Mapping[str, int]
    """Of the failures, the most frequent first."""
    new_reasons: Mapping[str, int]
    client: ClientNow | None
    """None before the first report of a worker."""
    thresholds: Sequence[ThresholdResult]
    note: str


@dataclass(frozen=True, slots=True)
class _Updates:
    """The updates of one second."""

    at_s: float
    seconds: float
    cells: Cells
    max_us: int
    offered: int
    done_ok: int
    done_failed: int


class Live:
    """The sum of the updates of one run."""

    def __init__(self) -> None:
        self._before_s = 0.0
        self._recent: deque[_Updates] = deque()
        self._history: deque[float] = deque(maxlen=HISTORY)
        self._run_cells, self._run_max_us = empty(), 0
        self._ok = self._failed = 0
        self._reasons: Counter[str] = Counter()
        self._client: ClientNow | None = None
        self._bound_s: set[int] = set()

    def take(self, second: Second) -> Moment:
        """The run with this second's updates."""
        updates = self._updates(second)
        measured = [slot for slot in second.slots if second.run.stages[slot.stage].measured]
        self._run_cells = self._run_cells.plus(
            updates.cells if len(measured) == len(second.slots) else _cells(measured)
        )
        self._run_max_us = max(self._run_max_us, max((slot.max_us for slot in measured), default=0))
        new_reasons: Counter[str] = Counter()
        for slot in second.slots:
            self._ok += slot.ok
            self._failed += slot.failed
            new_reasons.update(slot.reasons)
        self._reasons.update(new_reasons)
        recent_times = self._recent_times()
        self._take_health(second.health, recent_times, ClientLimits.of_environment(second.run.environment))
        return Moment(
            name=second.run.name,
            kind=second.run.kind,
            at_s=second.at_s,
            until_s=second.until_s,
            stages=tuple(_stage_now(second.run, at, second.at_s) for at in second.stages),
            now=_rates((updates,)),
            recent=_rates(self._recent),
            history=tuple(self._history),
            updates=_times(updates.cells, updates.max_us),
            recent_times=recent_times,
            run_times=_times(self._run_cells, self._run_max_us),
            ok=self._ok,
            failed=self._failed,
            reasons=dict(self._reasons.most_common()),
            new_reasons=dict(new_reasons.most_common()),
            client=self._client,
            thresholds=second.run.thresholds,
            note=second.note,
        )

    def _updates(self, second: Second) -> _Updates:
        seconds = max(_SHORTEST_S, second.at_s - self._before_s)
        self._before_s = max(self._before_s, second.at_s)
        updates = _Updates(
            at_s=second.at_s,
            seconds=seconds,
            cells=_cells(second.slots),
            max_us=max((slot.max_us for slot in second.slots), default=0),
            offered=sum(slot.offered for slot in second.slots),
            done_ok=sum(slot.done_ok for slot in second.slots),
            done_failed=sum(slot.done_failed for slot in second.slots),
        )
        self._recent.append(updates)
        while self._recent[0].at_s <= second.at_s - RECENT_S:
            self._recent.popleft()
        self._history.append((updates.done_ok + updates.done_failed) / seconds)
        return updates

    def _recent_times(self) -> Times:
        cells = empty()
        for updates in self._recent:
            cells = cells.plus(updates.cells)
        return _times(cells, max(updates.max_us for updates in self._recent))

    def _take_health(self, health: Sequence[WorkerSecond], recent: Times, client_limits: ClientLimits) -> None:
        if not health:
            return
        p50_us = None if recent.p50_ms is None else recent.p50_ms * 1000
        newest = {second.worker: second for second in sorted(health, key=lambda second: second.at_s)}
        bound = ""
        for second in health:
            if found := min(symptoms(second, p50_us, client_limits), key=lambda symptom: symptom.cause, default=None):
                self._bound_s.add(second.at_s)
                bound = f"worker {second.worker} {found.what}" if newest[second.worker] is second else bound
        workers = newest.values()
        self._client = ClientNow(
            workers=len(newest),
            cpu_ratio=max(second.cpu_ratio for second in workers),
            lag_p99_ms=max(second.lag_p99_us for second in workers) / 1000,
            late_p99_ms=max(second.late_p99_us for second in workers) / 1000,
            in_flight=sum(second.in_flight for second in workers),
            backlog=sum(second.backlog for second in workers),
            bound=bound,
            bound_s=len(self._bound_s),
        )


def _stage_now(run: BenchRun, at: int, now_s: float) -> StageNow:
    stage = run.stages[at]
    length = stage.until_s - stage.from_s
    progress = min(1.0, max(0.0, (now_s - stage.from_s) / length)) if length > 0 else 1.0
    model = next((series.model for series in run.series if series.scenario == stage.scenario), "open")
    return StageNow(
        scenario=stage.scenario,
        name=stage.name,
        kind=stage.kind,
        measured=stage.measured,
        progress_ratio=progress,
        level=stage.start_level + progress * (stage.end_level - stage.start_level),
        unit="/s" if model == "open" else " users",
    )


def _rates(updates: Iterable[_Updates]) -> Rates:
    some = list(updates)
    seconds = sum(one.seconds for one in some)
    offered, ok = sum(one.offered for one in some), sum(one.done_ok for one in some)
    failed = sum(one.done_failed for one in some)
    return Rates(offered / seconds, (ok + failed) / seconds, ok / seconds, failed / seconds)


def _cells(slots: Iterable[Slot]) -> Cells:
    blobs = [slot.response for slot in slots if slot.response]
    return Cells.of_blobs(np.zeros(len(blobs), np.int64), blobs)


def _times(cells: Cells, max_us: int) -> Times:
    if not len(cells.count):
        return Times(0, None, None, None, None)
    # A bin's middle may lie above the longest sample, which is exact.
    p50, p95, p99 = (min(value, max_us or value) / 1000 for value in cells.quantiles(1, _RATIOS)[0].tolist())
    return Times(int(cells.count.sum()), p50, p95, p99, max_us / 1000)
