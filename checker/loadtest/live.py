"""The live state of a load test: the updates of each second summed into one record at a time.

Rates are those of whole slots of time: updates come at moments of their own, and would make a constant rate jump.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from checker.loadtest.judging.client_symptoms import ClientLimits, symptoms
from checker.loadtest.plan import Threshold
from checker.loadtest.protocols import Second
from checker.loadtest.results import BenchRun, Slot, ThresholdResult, WorkerSecond
from checker.loadtest.thresholds.so_far import SETTLED_S, ThresholdsSoFar
from checker.stats.histogram import Cells, empty

RECENT_S = 5.0
"""The length of "the last seconds"."""
HISTORY = 120
"""Number of slots kept for the sparklines."""
_RATIOS = (0.5, 0.95, 0.99)
_SHORTEST_S = 0.2
"""A run that is younger is divided by this all the same: a rate would jump."""


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
    """Of the newest slot that is complete; before the first one, of the run so far."""
    recent: Rates
    """Of the complete slots of the last `RECENT_S` seconds."""
    history: tuple[float, ...]
    """Achieved rates, slot after slot, the newest last."""
    p95_history: tuple[float | None, ...]
    """p95 of the response times of the same slots in milliseconds; None without answers."""
    updates: Times
    recent_times: Times
    run_times: Times
    """Of the measured stages so far."""
    ok: int
    """Total over all stages, measured or not; the next two fields likewise."""
    failed: int
    reasons: Mapping[str, int]
    """Of the failures, the most frequent first."""
    excluded: Mapping[str, int]
    """Operations of stages that are not measured, by the name of the stage: they count in no result."""
    new_reasons: Mapping[str, int]
    client: ClientNow | None
    """None before the first report of a worker."""
    thresholds: Sequence[ThresholdResult]
    note: str


@dataclass(frozen=True, slots=True)
class _Updates:
    """The updates of one second."""

    at_s: float
    cells: Cells
    max_us: int


@dataclass(slots=True)
class _SecondSums:
    """The sums of one slot of time over all series."""

    offered: int = 0
    done_ok: int = 0
    done_failed: int = 0
    p95_ms: float | None = None


class _NewestSlots:
    """The newest slots of a run, each complete once every worker has told what happened in it."""

    def __init__(self) -> None:
        self._sums: dict[int, _SecondSums] = {}
        self._cells = empty()
        self._first: int | None = None
        self._width_s = 1

    def add(self, slots: Sequence[Slot], width_s: int) -> None:
        """Take what is new; answers of earlier slots still come."""
        self._width_s = width_s
        if not slots:
            return
        numbers = [slot.at_s // width_s for slot in slots]
        self._first = min(numbers) if self._first is None else min(self._first, *numbers)
        for number, slot in zip(numbers, slots, strict=True):
            sums = self._sums.setdefault(number, _SecondSums())
            sums.offered += slot.offered
            sums.done_ok += slot.done_ok
            sums.done_failed += slot.done_failed
        oldest = max(self._sums) - HISTORY - 2
        self._sums = {number: sums for number, sums in self._sums.items() if number > oldest}
        there = [(number, slot.response) for number, slot in zip(numbers, slots, strict=True) if slot.response]
        told = Cells.of_blobs(np.array([number for number, _ in there], np.int64), [blob for _, blob in there])
        self._cells = self._cells.plus(told)
        kept = self._cells.group > oldest
        self._cells = Cells(self._cells.group[kept], self._cells.bin[kept], self._cells.count[kept])
        changed = sorted({number for number, _ in there if number in self._sums})
        label = np.full(max(numbers) + 1, -1, np.int64)
        label[changed] = np.arange(len(changed))
        found = self._cells.regrouped(label).quantiles(len(changed), (0.95,))[:, 0].tolist()
        for number, us in zip(changed, found, strict=True):
            self._sums[number].p95_ms = us / 1000

    def complete(self, at_s: float) -> list[_SecondSums]:
        """The complete slots up to a moment, the newest last, with those in which nothing happened."""
        if self._first is None:
            return []
        end = int((at_s - SETTLED_S) // self._width_s)
        begin = max(self._first, end - HISTORY)
        return [self._sums.get(number, _SecondSums()) for number in range(begin, end)]

    def rates(self, some: Sequence[_SecondSums], at_s: float) -> Rates:
        """The rates of these slots, or if there is none of the run so far."""
        seconds = len(some) * self._width_s
        some = some or list(self._sums.values())
        return _rates(some, seconds or max(_SHORTEST_S, at_s))


class Live:
    """The sum of the updates of one run; ``thresholds`` are those of its plan, to be judged as it goes on."""

    def __init__(self, thresholds: Sequence[Threshold] = ()) -> None:
        self._recent: deque[_Updates] = deque()
        self._slots = _NewestSlots()
        self._thresholds = ThresholdsSoFar(thresholds) if thresholds else None
        self._excluded: Counter[str] = Counter()
        self._run_cells, self._run_max_us = empty(), 0
        self._ok = self._failed = 0
        self._reasons: Counter[str] = Counter()
        self._client: ClientNow | None = None
        self._bound_s: set[int] = set()

    def take(self, second: Second) -> Moment:
        """The run with this second's updates."""
        updates = self._updates(second)
        self._slots.add(second.slots, second.run.slot_s)
        complete = self._slots.complete(second.at_s)
        recent_slots = complete[-max(1, round(RECENT_S / second.run.slot_s)) :]
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
            stage = second.run.stages[slot.stage]
            if not stage.measured and (ended := slot.ok + slot.failed):
                self._excluded[stage.name or stage.kind] += ended
        self._reasons.update(new_reasons)
        recent_times = self._recent_times()
        self._take_health(second.health, recent_times, ClientLimits.of_environment(second.run.environment))
        return Moment(
            name=second.run.name,
            kind=second.run.kind,
            at_s=second.at_s,
            until_s=second.until_s,
            stages=tuple(_stage_now(second.run, at, second.at_s) for at in second.stages),
            now=self._slots.rates(complete[-1:], second.at_s),
            recent=self._slots.rates(recent_slots, second.at_s),
            history=tuple((one.done_ok + one.done_failed) / second.run.slot_s for one in complete),
            p95_history=tuple(one.p95_ms for one in complete),
            updates=_times(updates.cells, updates.max_us),
            recent_times=recent_times,
            run_times=_times(self._run_cells, self._run_max_us),
            ok=self._ok,
            failed=self._failed,
            reasons=dict(self._reasons.most_common()),
            new_reasons=dict(new_reasons.most_common()),
            client=self._client,
            excluded=dict(self._excluded),
            thresholds=second.run.thresholds if self._thresholds is None else self._thresholds.take(second),
            note=second.note,
        )

    def _updates(self, second: Second) -> _Updates:
        updates = _Updates(
            at_s=second.at_s,
            cells=_cells(second.slots),
            max_us=max((slot.max_us for slot in second.slots), default=0),
        )
        self._recent.append(updates)
        while self._recent[0].at_s <= second.at_s - RECENT_S:
            self._recent.popleft()
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


def _rates(some: Iterable[_SecondSums], seconds: float) -> Rates:
    offered = ok = failed = 0
    for one in some:
        offered, ok, failed = offered + one.offered, ok + one.done_ok, failed + one.done_failed
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
