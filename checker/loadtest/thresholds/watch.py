"""Thresholds of a run: watched while it runs, so that some can end it early, and judged at its end.

A sample belongs to the slot in which it was due, and counts once it has ended. For operations in flight the best case
is assumed: one that could still answer below the limit will, and one in flight for longer than the limit will fail,
which takes it out of response times. So a window is judged as soon as it is over, without waiting for late answers,
again whenever one of them arrives, and never because of missing ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from checker.loadtest.plan import Threshold
from checker.loadtest.protocols import Second
from checker.loadtest.results import BenchRun, Slot, ThresholdResult
from checker.loadtest.thresholds.grammar import Aggregate, Condition, Metric, Operator, condition
from checker.loadtest.thresholds.windows import (
    HISTOGRAMS,
    Selection,
    counted,
    selected,
    sliding_sums,
    stretches,
    whole_value,
    window_rows,
    windows,
)
from checker.stats.histogram import Cells, middle_us

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

SETTLE_S = 2.0
"""Every worker has reported arrivals due before this many seconds ago: they report once a second."""
_OFFERED, _ENDED, _EVENTS, _PASSING, _FAILING, _SUM_US = range(6)
"""Columns: arrivals due, those that have ended, events that the metric counts, samples that satisfy the condition and
that do not, and the sum of their times."""
_COLUMNS = 6
_FAILS = {
    Operator.LT: np.greater_equal,
    Operator.LE: np.greater,
    Operator.GT: np.less_equal,
    Operator.GE: np.less,
    Operator.EQ: np.not_equal,
    Operator.NE: np.equal,
}


class Early:
    """One condition during a run: its state so far, slot by slot."""

    def __init__(self, condition: Condition, over_s: float | None) -> None:
        self._condition, self._over_s = condition, over_s
        self._rows: Integers = np.zeros((64, _COLUMNS), np.int64)
        self._again_from = 0
        """The first row whose windows are to be judged next time."""

    def add(self, second: Second) -> None:
        """Take what is new."""
        run = second.run
        selection = selected(run, self._condition)
        slots = [slot for slot in second.slots if selection.has(slot)]
        if not slots:
            return
        rows = np.array([slot.at_s // run.slot_s for slot in slots], np.int64)
        self._again_from = min(self._again_from, int(rows.min()))
        while len(self._rows) <= rows.max():
            self._rows = np.concatenate((self._rows, np.zeros_like(self._rows)))
        metric = self._condition.metric
        counts = [(one.offered, one.ok + one.failed + one.dropped, counted(one, metric)) for one in slots]
        np.add.at(self._rows[:, : _EVENTS + 1], rows, np.array(counts, np.int64))
        if metric.is_time:
            self._add_times(rows, slots)

    def broken(self, run: BenchRun, now_s: float) -> str | None:
        """A description of the broken part; None if the condition holds, or may still hold in the end."""
        ready = math.floor((now_s - SETTLE_S) / run.slot_s + 1e-9)
        if ready <= 0:
            return None
        selection = selected(run, self._condition)
        if self._over_s is None:
            return self._broken_so_far(run, selection, ready, now_s)
        return self._broken_window(run, selection, ready, now_s)

    def _add_times(self, rows: Integers, slots: Sequence[Slot]) -> None:
        name = HISTOGRAMS[self._condition.metric]
        if self._condition.metric is Metric.RESPONSE_TIME and self._condition.aggregate is Aggregate.MAX:
            longest_ms = np.array([slot.max_us for slot in slots], np.float64) / 1000
            fails = _fails(self._condition, longest_ms)
            np.add.at(self._rows[:, _FAILING], rows, (fails & (longest_ms > 0)).astype(np.int64))
            np.add.at(self._rows[:, _PASSING], rows, (~fails & (longest_ms > 0)).astype(np.int64))
            return
        blobs = [(row, blob) for row, slot in zip(rows.tolist(), slots, strict=True) if (blob := getattr(slot, name))]
        if not blobs:
            return
        cells = Cells.of_blobs(np.array([row for row, _ in blobs], np.int64), [blob for _, blob in blobs])
        times_us = middle_us(cells.bin)
        if name == "response" and self._condition.operator.is_upper:  # a bin's middle may lie above its longest sample
            longest_us = np.zeros(len(self._rows))
            np.maximum.at(longest_us, rows, [slot.max_us for slot in slots])
            times_us = np.minimum(times_us, longest_us[cells.group])
        fails = _fails(self._condition, times_us / 1000)
        np.add.at(self._rows[:, _FAILING], cells.group, np.where(fails, cells.count, 0))
        np.add.at(self._rows[:, _PASSING], cells.group, np.where(fails, 0, cells.count))
        spent_us = np.round(cells.count * times_us).astype(np.int64)
        np.add.at(self._rows[:, _SUM_US], cells.group, spent_us)

    def _broken_so_far(self, run: BenchRun, selection: Selection, ready: int, now_s: float) -> str | None:
        seconds = sum(sum(rows.seconds) for rows in stretches(run, selection, ready * run.slot_s))
        rows, fresh = self._known(0, ready, run.slot_s, now_s)
        sums = rows.sum(axis=0, keepdims=True)
        known = _broken(self._condition, sums, fresh.sum(keepdims=True), np.array([seconds]), is_over=False)
        return f"in {seconds:g}s" if known[0] else None

    def _broken_window(self, run: BenchRun, selection: Selection, ready: int, now_s: float) -> str | None:
        length = window_rows(self._over_s or 0.0, run.slot_s)
        found = None
        for rows in stretches(run, selection, ready * run.slot_s):
            begin = max(rows.first, self._again_from - length + 1)
            end = rows.first + rows.count
            if end - begin < length or sum(rows.seconds) < (self._over_s or 0.0) - 1e-6:
                continue
            table, fresh = self._known(begin, end, run.slot_s, now_s)
            seconds = sliding_sums(np.array(rows.seconds[begin - rows.first :])[:, None], length)[:, 0]
            sums, out = sliding_sums(table, length), sliding_sums(fresh[:, None], length)[:, 0]
            known = np.flatnonzero(_broken(self._condition, sums, out, seconds, is_over=True))
            if len(known):
                at = (begin + int(known[0])) * run.slot_s
                found = f"from {at}s to {at + length * run.slot_s}s"
                break
        self._again_from = ready  # windows that end later reach back from there
        return found

    def _known(self, begin: int, end: int, slot_s: int, now_s: float) -> tuple[Integers, Integers]:
        """The rows in a range, and for each the number in flight that can still satisfy the condition."""
        rows = np.zeros((end - begin, _COLUMNS), np.int64)
        there = self._rows[begin:end]
        rows[: len(there)] = there
        out = np.maximum(0, rows[:, _OFFERED] - rows[:, _ENDED])
        if self._condition.metric.is_time and self._condition.operator.is_upper:
            out_for_ms = (now_s - SETTLE_S - (np.arange(begin, end) + 1) * slot_s) * 1000
            out = np.where(out_for_ms <= self._condition.limit, out, 0)
        return rows, out


def _broken(condition: Condition, rows: Integers, out: Integers, seconds: Floats, *, is_over: bool) -> Booleans:
    """The sums that are broken for good; ``is_over`` says that no more operations will be due in them."""
    offered, ended, events = rows[:, _OFFERED], rows[:, _ENDED], rows[:, _EVENTS]
    complete = offered <= ended
    is_upper, counts = condition.operator.is_upper, condition.aggregate is Aggregate.COUNT
    if condition.metric.is_time:
        if not counts:
            return _broken_times(condition, rows, out)
        events = rows[:, _PASSING] + rows[:, _FAILING]
    if counts:
        judged = (offered > 0) | (not condition.metric.is_time and not condition.metric.is_share)
        final = np.full(len(rows), True) if is_upper else complete & is_over & judged
        return final & _fails(condition, events)
    if not condition.metric.is_share:
        return (seconds > 0) & _fails(condition, _ratio(events, seconds))
    if is_upper:
        return (events > 0) & _fails(condition, _ratio(events, np.maximum(offered, ended)))
    return complete & (ended > 0) & _fails(condition, _ratio(events, ended))


def _broken_times(condition: Condition, rows: Integers, out: Integers) -> Booleans:
    passing, failing = rows[:, _PASSING], rows[:, _FAILING]
    samples, complete = passing + failing, rows[:, _OFFERED] <= rows[:, _ENDED]
    is_upper = condition.operator.is_upper
    match condition.aggregate:
        case Aggregate.AVG if is_upper:
            return (samples > 0) & _fails(condition, _ratio(rows[:, _SUM_US], samples + out) / 1000)
        case Aggregate.AVG:
            return complete & (samples > 0) & _fails(condition, _ratio(rows[:, _SUM_US], samples) / 1000)
        case Aggregate.MAX | Aggregate.MIN:
            one_is_enough = is_upper == (condition.aggregate is Aggregate.MAX)
            return _booleans(failing > 0 if one_is_enough else complete & (samples > 0) & (passing == 0))
    rank = np.maximum(1, np.ceil(condition.quantile * (samples + out) - 1e-9))
    return _booleans((failing > 0) & ((passing + out < rank) if is_upper else (failing >= rank)))


def _booleans(values: Any) -> Booleans:
    """The boolean result of a numpy comparison, with its type."""
    found: Booleans = values
    return found


def _fails(condition: Condition, values: Integers | Floats) -> Booleans:
    found: Booleans = _FAILS[condition.operator](values, condition.limit)
    return found


def _ratio(parts: Integers, wholes: Integers | Floats) -> Floats:
    found: Floats = np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)
    return found


class Watch:
    """A `checker.loadtest.protocols.Watcher` that ends the run when a threshold with ``abort`` is broken."""

    def __init__(self, thresholds: Sequence[Threshold]) -> None:
        """Raises ValueError for an invalid threshold; those of a loaded plan are valid."""
        self._thresholds = [(threshold, condition(threshold)) for threshold in thresholds]
        self._early = {
            number: Early(found, threshold.over)
            for number, (threshold, found) in enumerate(self._thresholds)
            if threshold.abort
        }
        self._aborted_at_s: dict[int, float] = {}
        """Number of a threshold -> the moment at which it ended the run."""

    def take(self, second: Second) -> str | None:
        """Take an update; the reason to end the run, once."""
        reasons = []
        for number, early in self._early.items():
            early.add(second)
            threshold, found = self._thresholds[number]
            if self._aborted_at_s or second.at_s < threshold.delay:
                continue
            if (where := early.broken(second.run, second.at_s)) is not None:
                reasons.append((number, f"{found.metric_text} {found.expression_text} {where}"))
        self._aborted_at_s |= {number: second.at_s for number, _ in reasons}
        return f"threshold broken: {'; '.join(text for _, text in reasons)}" if reasons else None

    __call__ = take

    def results(self, run: BenchRun) -> tuple[ThresholdResult, ...]:
        """The result of every threshold, in the order of the plan, once the run is over.

        A threshold without any measurement has no value and is not passed; neither is one that ended the run, or one
        with windows in a run without a single full window.
        """
        return tuple(
            _result(run, threshold, found, self._aborted_at_s.get(number))
            for number, (threshold, found) in enumerate(self._thresholds)
        )


def value_over(run: BenchRun, found: Condition, over_s: float | None) -> float | None:
    """The value of a condition over all measured stages, or in the worst window of this length."""
    return whole_value(run, found) if over_s is None else _over_windows(run, found, over_s)[0]


def _result(run: BenchRun, threshold: Threshold, found: Condition, aborted_at_s: float | None) -> ThresholdResult:
    if threshold.over is None:
        value, at_s = whole_value(run, found), None
        passed = value is not None and found.holds(value)
    else:
        value, passed, at_s = _over_windows(run, found, threshold.over)
    return ThresholdResult(
        metric=threshold.metric,
        expression=threshold.expression,
        over_s=threshold.over,
        value=value,
        passed=passed and aborted_at_s is None,
        aborted=aborted_at_s is not None,
        at_s=at_s if aborted_at_s is None else aborted_at_s,
    )


def _over_windows(run: BenchRun, found: Condition, over_s: float) -> tuple[float | None, bool, float | None]:
    """The worst value, True if there are windows and all hold the condition, and the end of the first that does not."""
    worst: float | None = None
    broken_at_s: float | None = None
    judged = 0
    for window in windows(run, found, over_s):
        judged += 1
        holds = window.value is not None and found.holds(window.value)
        if not holds and broken_at_s is None:
            broken_at_s = window.until_s
        if window.value is not None and (worst is None or _is_worse(found, window.value, worst)):
            worst = window.value
    return worst, judged > 0 and broken_at_s is None, broken_at_s


def _is_worse(found: Condition, value: float, than: float) -> bool:
    if found.operator.is_upper:
        return value > than
    if found.operator.is_lower:
        return value < than
    return found.holds(than) and not found.holds(value)
