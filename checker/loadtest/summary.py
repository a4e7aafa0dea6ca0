"""Sums of slots: counts, reasons, and percentiles, which are taken only after histograms have been merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from msgspec.structs import fields, replace

from checker.loadtest.results import BenchRun, Slot
from checker.stats.histogram import Cells, middle_us

_KEY = ("at_s", "stage", "series")
_LARGEST = ("max_us",)
_FIELDS = {field.name: field.type for field in fields(Slot) if field.name not in _KEY}


def merged(slots: Iterable[Slot]) -> tuple[Slot, ...]:
    """One slot for each time, stage and series, in this order."""
    by_key: dict[tuple[int, int, int], list[Slot]] = {}
    for slot in slots:
        by_key.setdefault((slot.at_s, slot.stage, slot.series), []).append(slot)
    return tuple(some[0] if len(some) == 1 else _together(some) for _, some in sorted(by_key.items()))


def _together(slots: Sequence[Slot]) -> Slot:
    first = slots[0]
    values = {name: _joined(name, kind, [getattr(one, name) for one in slots]) for name, kind in _FIELDS.items()}
    return Slot(series=first.series, stage=first.stage, at_s=first.at_s, **values)


def _joined(name: str, kind: Any, values: list[Any]) -> Any:
    if name in _LARGEST:
        return max(values)
    if kind is int:
        return sum(values)
    if kind is bytes:
        there = [blob for blob in values if blob]
        if len(there) < 2:
            return there[0] if there else b""
        return Cells.of_blobs(np.zeros(len(there), np.int64), there).blobs(1)[0]
    counted: Counter[str] = Counter()
    for value in values:
        counted.update(value)
    return dict(counted)


HistogramName = Literal["response", "service", "first_byte", "late", "failed_response"]
RATIOS = (0.5, 0.9, 0.95, 0.99, 0.999)
BLOCK_S = 10
"""Shortest period whose statistic is nearly independent of the next one's."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of one histogram, in microseconds; within 1% of the samples at the nearest ranks."""

    count: int
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    max: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The sum of several slots."""

    seconds: float
    """Time that they cover."""
    offered: int
    dropped: int
    ok: int
    failed: int
    censored: int
    done_ok: int
    done_failed: int
    connections: int
    received_bytes: int
    refused: int
    resent: int
    max_us: int
    reasons: Mapping[str, int]
    phases_us: Mapping[str, int]
    histograms: Mapping[HistogramName, Cells]
    """Each has one group, 0."""

    @property
    def offered_per_s(self) -> float:
        """Arrivals due per second."""
        return self.offered / self.seconds if self.seconds else 0.0

    @property
    def achieved_per_s(self) -> float:
        """Operations per second that ended within the time, successful or failed."""
        return (self.done_ok + self.done_failed) / self.seconds if self.seconds else 0.0

    @property
    def ok_per_s(self) -> float:
        """Successful operations per second that ended within the time: the throughput."""
        return self.done_ok / self.seconds if self.seconds else 0.0

    @property
    def failed_ratio(self) -> float:
        """Share of failures among offered operations that have ended; a dropped one counts as failed."""
        ended = self.ok + self.failed + self.dropped
        return (self.failed + self.dropped) / ended if ended else 0.0

    def quantile_us(self, ratio: float, histogram: HistogramName = "response") -> float | None:
        """One quantile in microseconds; None without samples."""
        (found,) = self.histograms[histogram].quantiles(1, (ratio,))[0].tolist()
        return None if found != found else self._capped(found, histogram)

    def percentiles(self, histogram: HistogramName = "response") -> Percentiles | None:
        """The usual percentiles; None without samples."""
        cells = self.histograms[histogram]
        if not len(cells.count):
            return None
        found = [self._capped(value, histogram) for value in cells.quantiles(1, (0.0, *RATIOS, 1.0))[0].tolist()]
        least, p50, p90, p95, p99, p999, most = found
        return Percentiles(int(cells.count.sum()), least, p50, p90, p95, p99, p999, most, _mean_us(cells))

    def mean_us(self, histogram: HistogramName = "response") -> float | None:
        """The mean in microseconds, within 1%; None without samples."""
        cells = self.histograms[histogram]
        return _mean_us(cells) if len(cells.count) else None

    def _capped(self, value: float, histogram: HistogramName) -> float:
        """The value, capped at the longest sample: a bin's middle may lie above it. Response times have it exactly."""
        return min(value, float(self.max_us)) if histogram == "response" and self.max_us else value


def summarize(slots: Iterable[Slot], seconds: float) -> Summary:
    """The slots added together; ``seconds`` is the time that they cover."""
    some = list(slots)
    reasons: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    for slot in some:
        reasons.update(slot.reasons)
        phases.update(slot.phases_us)

    def total(name: str) -> int:
        return sum(getattr(slot, name) for slot in some)

    return Summary(
        seconds=seconds,
        offered=total("offered"),
        dropped=total("dropped"),
        ok=total("ok"),
        failed=total("failed"),
        censored=total("censored"),
        done_ok=total("done_ok"),
        done_failed=total("done_failed"),
        connections=total("connections"),
        received_bytes=total("received_bytes"),
        refused=total("refused"),
        resent=total("resent"),
        max_us=max((slot.max_us for slot in some), default=0),
        reasons=dict(reasons.most_common()),
        phases_us=dict(phases),
        histograms={name: _merged([getattr(slot, name) for slot in some]) for name in _HISTOGRAMS},
    )


def measured_stages(run: BenchRun, scenario: str | None = None) -> list[int]:
    """Indexes of the measured stages, of one scenario or of all."""
    return [
        at for at, stage in enumerate(run.stages) if stage.measured and (scenario is None or stage.scenario == scenario)
    ]


def measured(run: BenchRun, keep: Callable[[Slot], bool] = lambda _slot: True) -> Summary:
    """The sum of the selected slots of all measured stages."""
    stages = measured_stages(run)
    return summarize(in_time(run, filter(keep, run.slots), stages), covered_s(run, stages))


def of_stage(run: BenchRun, stage: int, keep: Callable[[Slot], bool] = lambda _slot: True) -> Summary:
    """The sum of one stage."""
    return summarize(in_time(run, filter(keep, run.slots), [stage]), covered_s(run, [stage]))


def in_time(run: BenchRun, slots: Iterable[Slot], stages: Collection[int]) -> Iterator[Slot]:
    """The slots of these stages; operations that ended only after the last stage do not count as done."""
    chosen = frozenset(stages)
    until_s = max((run.stages[at].until_s for at in chosen), default=0.0)
    for slot in slots:
        if slot.stage in chosen:
            is_late = slot.at_s >= until_s - 1e-6 and (slot.done_ok or slot.done_failed)
            yield replace(slot, done_ok=0, done_failed=0) if is_late else slot


def covered_s(run: BenchRun, stages: Iterable[int]) -> float:
    """The time that stages cover together, in seconds: concurrent stages count once."""
    spans = sorted((run.stages[at].from_s, run.stages[at].until_s) for at in stages)
    seconds, reached = 0.0, float("-inf")
    for begin, end in spans:
        seconds += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return seconds


def blocks(
    run: BenchRun, keep: Callable[[Slot], bool] = lambda _slot: True, block_s: float = BLOCK_S
) -> Iterator[Summary]:
    """The measured stages cut into blocks of this length; a shorter remainder is dropped, unless it is the whole stage.

    In a suite, and for a stress test, each stage is one block.
    """
    by_stage: dict[int, list[Slot]] = {}
    for slot in run.slots:
        if keep(slot):
            by_stage.setdefault(slot.stage, []).append(slot)
    for at in measured_stages(run):
        stage, slots = run.stages[at], by_stage.get(at, [])
        length = stage.until_s - stage.from_s
        whole = int((length + 1e-6) // block_s)
        if stage.block is not None or whole < 1:
            if length > 0:
                yield summarize(in_time(run, slots, [at]), length)
            continue
        for block in range(whole):
            begin, end = stage.from_s + block * block_s, stage.from_s + (block + 1) * block_s
            yield summarize((slot for slot in slots if begin - 1e-6 <= slot.at_s < end - 1e-6), block_s)


def over_time(slots: Sequence[Slot], width_s: float) -> dict[int, Summary]:
    """Start of each slot of this width, in seconds from the epoch -> the slots due in it, in order."""
    by_time: dict[int, list[Slot]] = {}
    for slot in slots:
        by_time.setdefault(int(slot.at_s // width_s * width_s), []).append(slot)
    return {at: summarize(by_time[at], width_s) for at in sorted(by_time)}


_HISTOGRAMS: tuple[HistogramName, ...] = ("response", "service", "first_byte", "late", "failed_response")


def _merged(blobs: list[bytes]) -> Cells:
    there = [blob for blob in blobs if blob]
    return Cells.of_blobs(np.zeros(len(there), np.int64), there)


def _mean_us(cells: Cells) -> float:
    return float((cells.count * middle_us(cells.bin)).sum() / cells.count.sum())
