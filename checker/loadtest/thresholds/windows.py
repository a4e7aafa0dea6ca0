"""Evaluation of thresholds: the selected part of a run, as a whole and in every window.

A sample belongs to the slot in which it was due, so the values are final once a run is over: every arrival has then
been answered, failed or dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from checker.loadtest.results import BenchRun, Slot
from checker.loadtest.summary import HistogramName, Summary, covered_s, in_time, summarize
from checker.loadtest.thresholds.grammar import Aggregate, Condition, Metric
from checker.stats.histogram import BINS, Cells, middle_us


@dataclass(frozen=True, slots=True)
class SlotRows:
    """A contiguous measured period, as rows of slots."""

    first: int
    """Row at which it begins: second 10 is row 10, or row 1 if slots are 10 s wide."""
    count: int
    seconds: tuple[float, ...]
    """Seconds that it covers of each row."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of a run that a condition selects."""

    stages: frozenset[int]
    series: frozenset[int]

    def has(self, slot: Slot) -> bool:
        """True if the slot counts."""
        return slot.stage in self.stages and slot.series in self.series


def selected(run: BenchRun, condition: Condition) -> Selection:
    """The measured stages and the series of a run that match the selectors."""
    where = condition.where
    stages = (
        at
        for at, stage in enumerate(run.stages)
        if stage.measured
        and where.get("scenario", stage.scenario) == stage.scenario
        and where.get("stage", stage.name) == stage.name
    )
    series = (
        at
        for at, one in enumerate(run.series)
        if where.get("scenario", one.scenario) == one.scenario
        and where.get("operation", one.operation) == one.operation
        and where.get("server", one.server) == one.server
    )
    return Selection(frozenset(stages), frozenset(series))


def seconds_of(run: BenchRun, selection: Selection) -> float:
    """The time that the selected stages cover together, in seconds."""
    return covered_s(run, selection.stages)


def stretches(run: BenchRun, selection: Selection, until_s: float = math.inf) -> list[SlotRows]:
    """The contiguous periods of the selected stages up to a moment; parallel and adjoining stages are merged."""
    spans: list[list[float]] = []
    chosen = (run.stages[at] for at in selection.stages)
    for begin, end in sorted((stage.from_s, min(stage.until_s, until_s)) for stage in chosen):
        if end <= begin:
            continue
        if spans and begin <= spans[-1][1] + _TOUCHING_S:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([begin, end])
    return [_rows(begin, end, run.slot_s) for begin, end in spans]


_TOUCHING_S = 1e-6


def _rows(begin: float, end: float, slot_s: int) -> SlotRows:
    first, last = math.floor(begin / slot_s + 1e-9), math.ceil(end / slot_s - 1e-9)
    seconds = tuple(min(end, (row + 1) * slot_s) - max(begin, row * slot_s) for row in range(first, last))
    return SlotRows(first, last - first, seconds)


Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", np.float64, np.int64)

HISTOGRAMS: dict[Metric, HistogramName] = {
    Metric.RESPONSE_TIME: "response",
    Metric.SERVICE_TIME: "service",
    Metric.FIRST_BYTE: "first_byte",
    Metric.LATE: "late",
}
_AT_ONCE = 512
"""Windows whose histograms are expanded at a time: a few megabytes."""


@dataclass(frozen=True, slots=True)
class ConditionWindow:
    """The value of a condition in one window."""

    until_s: float
    """The end, in seconds from the epoch."""
    value: float | None
    """None if something was due and there is no sample: the condition is not known to hold."""


def whole_value(run: BenchRun, condition: Condition) -> float | None:
    """The value over all selected measured stages, in the unit of the condition's limit; None without a sample."""
    selection = selected(run, condition)
    slots = in_time(run, filter(selection.has, run.slots), selection.stages)
    return value_of(summarize(slots, seconds_of(run, selection)), condition)


def value_of(summary: Summary, condition: Condition) -> float | None:
    """The value of a condition, in the unit of its limit; None if nothing was due, or nothing has an answer."""
    if condition.metric.is_time:
        return _time(summary, HISTOGRAMS[condition.metric], condition)
    if condition.aggregate is Aggregate.COUNT and not (summary.offered or summary.done_ok or summary.done_failed):
        return None
    events, of = counted(summary, condition.metric), summary.seconds
    if condition.metric.is_share:
        of = summary.ok + summary.failed + summary.dropped
    if condition.aggregate is Aggregate.COUNT:
        return float(events)
    return events / of if of else None


def counted(counts: Summary | Slot, metric: Metric) -> int:
    """The count of a metric's events; zero for metrics of time."""
    match metric:
        case Metric.FAILED:
            return counts.failed + counts.dropped
        case Metric.TIMEOUTS:
            return counts.censored
        case Metric.REFUSED:
            return counts.refused
        case Metric.RESENT:
            return counts.resent
        case Metric.OFFERED:
            return counts.offered
        case Metric.ACHIEVED:
            return counts.done_ok + counts.done_failed
        case Metric.OK:
            return counts.done_ok
    return 0


def windows(run: BenchRun, condition: Condition, over_s: float) -> Iterator[ConditionWindow]:
    """Every full window of this length within the selected stages, from slot to slot, in order.

    A length that is not a multiple of a slot is rounded up. Windows in which nothing was due have no value and are left
    out, except for a rate of operations: zero operations is a valid value.
    """
    selection = selected(run, condition)
    by_row: dict[int, list[Slot]] = {}
    for slot in filter(selection.has, run.slots):
        by_row.setdefault(slot.at_s // run.slot_s, []).append(slot)
    length = window_rows(over_s, run.slot_s)
    for rows in stretches(run, selection):
        if rows.count < length or sum(rows.seconds) < over_s - 1e-6:
            continue
        for begin in range(0, rows.count - length + 1, _AT_ONCE):
            count = min(_AT_ONCE, rows.count - length + 1 - begin)
            part = SlotRows(rows.first + begin, count + length - 1, rows.seconds[begin : begin + count + length - 1])
            yield from _of_rows(by_row, part, length, condition, run.slot_s)


def window_rows(over_s: float, slot_s: int) -> int:
    """The number of slots in a window of this length."""
    return max(1, int(np.ceil(over_s / slot_s - 1e-9)))


def _time(summary: Summary, histogram: HistogramName, condition: Condition) -> float | None:
    samples = int(summary.histograms[histogram].count.sum())
    if condition.aggregate is Aggregate.COUNT:
        return float(samples) if samples else None
    if condition.aggregate is Aggregate.AVG:
        us = summary.mean_us(histogram)
    elif condition.aggregate is Aggregate.MAX and histogram == "response" and samples:
        us = float(summary.max_us)
    else:
        us = summary.quantile_us(_ratio(condition), histogram)
    return None if us is None else us / 1000


def _ratio(condition: Condition) -> float:
    """The rank of an aggregate, as a share of the samples."""
    return {Aggregate.MIN: 0.0, Aggregate.MAX: 1.0}.get(condition.aggregate, condition.quantile)


def _of_rows(
    by_row: dict[int, list[Slot]], rows: SlotRows, length: int, condition: Condition, slot_s: int
) -> Iterator[ConditionWindow]:
    """The windows that begin at each row but the last ones."""
    slots = [by_row.get(row, []) for row in range(rows.first, rows.first + rows.count)]
    due = _sums([sum(slot.offered for slot in some) for some in slots], length)
    if condition.metric.is_time:
        values = _times(slots, length, condition)
    else:
        events = _sums([sum(counted(slot, condition.metric) for slot in some) for some in slots], length)
        ended = [sum(slot.ok + slot.failed + slot.dropped for slot in some) for some in slots]
        of = _sums(ended if condition.metric.is_share else rows.seconds, length)
        values = events if condition.aggregate is Aggregate.COUNT else _divided(events, of)
    is_always_there = not (condition.metric.is_time or condition.metric.is_share)
    for at, value in enumerate(values.tolist()):
        if due[at] or is_always_there:
            until_s = (rows.first + at + length) * slot_s
            yield ConditionWindow(float(until_s), value if value == value else None)


def _times(slots: Sequence[Sequence[Slot]], length: int, condition: Condition) -> Floats:
    """The aggregate of each window in milliseconds; NaN where it has no sample."""
    name = HISTOGRAMS[condition.metric]
    blobs = [(row, blob) for row, some in enumerate(slots) for slot in some if (blob := getattr(slot, name))]
    cells = Cells.of_blobs(np.array([row for row, _ in blobs], np.int64), [blob for _, blob in blobs])
    table = np.zeros((len(slots), BINS), np.int64)
    table[cells.group, cells.bin] = cells.count
    counts = sliding_sums(table, length)
    samples = counts.sum(axis=1)
    if condition.aggregate is Aggregate.COUNT:
        return np.where(samples > 0, samples, np.nan).astype(np.float64)
    middles = middle_us(np.arange(BINS))
    if condition.aggregate is Aggregate.AVG:
        return _divided((counts * middles).sum(axis=1), samples) / 1000
    ranks = np.maximum(1, np.ceil(_ratio(condition) * samples - 1e-9))
    found: Floats = middles[np.argmax(np.cumsum(counts, axis=1) >= ranks[:, None], axis=1)]
    if name == "response":  # a bin's middle may lie above the longest sample, which is known exactly
        longest = np.array([max((slot.max_us for slot in some), default=0) for some in slots], np.float64)
        most = np.lib.stride_tricks.sliding_window_view(longest, length).max(axis=1)
        found = most if condition.aggregate is Aggregate.MAX else np.where(most > 0, np.minimum(found, most), found)
    there: Floats = np.where(samples > 0, found / 1000, np.nan)
    return there


def _sums(values: Sequence[float], length: int) -> Floats:
    """The sum of each window of a row of numbers."""
    return sliding_sums(np.array(values, np.float64)[:, None], length)[:, 0]


def sliding_sums(table: npt.NDArray[Number], length: int) -> npt.NDArray[Number]:
    """The sum of each window of this many rows of a table, for as many windows as there are."""
    before = np.zeros((1, table.shape[1]), table.dtype)
    summed = np.concatenate((before, np.cumsum(table, axis=0)))
    found: npt.NDArray[Number] = summed[length:] - summed[:-length]
    return found


def _divided(parts: Floats, wholes: Floats) -> Floats:
    found: Floats = np.divide(parts, wholes, out=np.full(len(parts), np.nan), where=wholes > 0)
    return found
