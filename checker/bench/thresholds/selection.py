"""The part of a run that a threshold speaks of: its measured stages and series, and when they were under way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from checker.bench.results import BenchRun, Slot
from checker.bench.summary import covered_s
from checker.bench.thresholds.grammar import Condition


@dataclass(frozen=True, slots=True)
class SlotRows:
    """A stretch of time without a gap in which something is measured, as rows of slots."""

    first: int
    """Row that it begins in: of the second 10 that is row 10, and row 1 where slots are 10 s wide."""
    count: int
    seconds: tuple[float, ...]
    """How much of each row it covers."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a condition chooses of a run."""

    stages: frozenset[int]
    series: frozenset[int]

    def has(self, slot: Slot) -> bool:
        """Whether the slot counts."""
        return slot.stage in self.stages and slot.series in self.series


def selected(run: BenchRun, condition: Condition) -> Selection:
    """The measured stages and the series of a run that the selectors leave."""
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
    """The time that the chosen stages cover together."""
    return covered_s(run, selection.stages)


def stretches(run: BenchRun, selection: Selection, until_s: float = math.inf) -> list[SlotRows]:
    """The stretches that the chosen stages cover up to a moment; stages side by side and end to end are one."""
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
