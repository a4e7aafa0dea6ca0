"""The state of thresholds while a run goes on, for its live view: the value so far, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from checker.loadtest.plan import Threshold
from checker.loadtest.protocols import Second
from checker.loadtest.results import BenchRun, Slot, ThresholdResult
from checker.loadtest.summary import Summary, in_time, summarize
from checker.loadtest.thresholds.grammar import Condition, condition
from checker.loadtest.thresholds.windows import HISTOGRAMS, selected, stretches, value_of, window_rows
from checker.stats.histogram import Cells, empty

SETTLED_S = 0.6
"""Every worker has reported what happened this many seconds ago: they report every 0.4 s."""
_COUNTS = ("offered", "dropped", "ok", "failed", "censored", "done_ok", "done_failed", "refused", "resent")


class ThresholdsSoFar:
    """The thresholds of a plan, judged by what is settled; late answers may still change a value."""

    def __init__(self, thresholds: Sequence[Threshold]) -> None:
        """Raises ValueError for an invalid threshold; those of a loaded plan are valid."""
        self._each = [_WindowsSoFar(one, one.over) if one.over is not None else _WholeSoFar(one) for one in thresholds]
        self._pending: list[Slot] = []

    def take(self, second: Second) -> tuple[ThresholdResult, ...]:
        """The results with an update, in the order of the plan; those without any sample have no value."""
        slot_s = second.run.slot_s
        until_s = (second.at_s - SETTLED_S) // slot_s * slot_s
        if second.at_s > second.until_s:  # only late answers are still coming
            until_s = math.inf
        self._pending += second.slots
        settled = [slot for slot in self._pending if slot.at_s < until_s]
        self._pending = [slot for slot in self._pending if slot.at_s >= until_s]
        return tuple(one.take(second.run, settled, until_s) for one in self._each)


class _WholeSoFar:
    """A threshold over all measured stages: a sum that grows."""

    def __init__(self, threshold: Threshold) -> None:
        self._threshold, self._condition = threshold, condition(threshold)
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._cells, self._max_us = empty(), 0

    def take(self, run: BenchRun, slots: Iterable[Slot], until_s: float) -> ThresholdResult:
        selection = selected(run, self._condition)
        mine = list(in_time(run, filter(selection.has, slots), selection.stages))
        for name in _COUNTS:
            self._counts[name] += sum(getattr(slot, name) for slot in mine)
        self._max_us = max(self._max_us, max((slot.max_us for slot in mine), default=0))
        histogram = HISTOGRAMS.get(self._condition.metric)
        if histogram is not None:
            blobs = [blob for slot in mine if (blob := getattr(slot, histogram))]
            self._cells = self._cells.plus(Cells.of_blobs(np.zeros(len(blobs), np.int64), blobs))
        seconds = sum(sum(rows.seconds) for rows in stretches(run, selection, until_s))
        return _result(self._threshold, self._condition, self._value(seconds), None)

    def _value(self, seconds: float) -> float | None:
        histogram = HISTOGRAMS.get(self._condition.metric)
        summary = Summary(
            seconds=seconds,
            connections=0,
            received_bytes=0,
            max_us=self._max_us,
            reasons={},
            phases_us={},
            histograms={} if histogram is None else {histogram: self._cells},
            **self._counts,
        )
        return value_of(summary, self._condition)


class _WindowsSoFar:
    """A threshold over windows: the worst of them so far."""

    def __init__(self, threshold: Threshold, over_s: float) -> None:
        self._threshold, self._condition, self._over_s = threshold, condition(threshold), over_s
        self._slots: list[Slot] = []
        self._judged_row = 0
        self._worst: float | None = None
        self._broken_at_s: float | None = None

    def take(self, run: BenchRun, slots: Iterable[Slot], until_s: float) -> ThresholdResult:
        selection = selected(run, self._condition)
        self._slots += filter(selection.has, slots)
        length = window_rows(self._over_s, run.slot_s)
        for rows in stretches(run, selection, until_s):
            first = max(rows.first + length, self._judged_row + 1)
            for end in range(first, rows.first + rows.count + 1):
                if sum(rows.seconds) < self._over_s - 1e-6 or end * run.slot_s > until_s:
                    break
                begin = end - length - rows.first
                self._judge(run, end, length, sum(rows.seconds[begin : begin + length]))
        kept_from_s = (self._judged_row - length) * run.slot_s
        self._slots = [slot for slot in self._slots if slot.at_s >= kept_from_s]
        return _result(self._threshold, self._condition, self._worst, self._broken_at_s)

    def _judge(self, run: BenchRun, end: int, length: int, seconds: float) -> None:
        """Take the window that ends with the row before ``end``."""
        self._judged_row = end
        from_s, until_s = (end - length) * run.slot_s, end * run.slot_s
        value = value_of(
            summarize((one for one in self._slots if from_s <= one.at_s < until_s), seconds), self._condition
        )
        if value is None:
            return
        if not self._condition.holds(value):
            self._broken_at_s = float(until_s) if self._broken_at_s is None else self._broken_at_s
        if self._worst is None or self._is_worse(value, self._worst):
            self._worst = value

    def _is_worse(self, value: float, than: float) -> bool:
        operator = self._condition.operator
        if operator.is_upper or operator.is_lower:
            return value > than if operator.is_upper else value < than
        return self._condition.holds(than) and not self._condition.holds(value)


def _result(threshold: Threshold, found: Condition, value: float | None, broken_at_s: float | None) -> ThresholdResult:
    return ThresholdResult(
        metric=threshold.metric,
        expression=threshold.expression,
        over_s=threshold.over,
        value=value,
        passed=broken_at_s is None and (value is None or found.holds(value)),
        aborted=False,
        at_s=broken_at_s,
    )
