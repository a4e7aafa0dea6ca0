"""Slots along the time of a run: sums, rates and percentiles of each slot, with gaps where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from checker.bench.results import BenchRun, Slot
from checker.bench.summary import HistogramName
from reports.bench.verdict import reached_s
from reports.report import Chart, Line, Look, Scale, Shape, Span
from storage.rollups.histogram import Cells

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Some slots, each at its place in time."""

    starts: Sequence[int]
    """Of the places, in seconds from the epoch."""
    seconds: Floats
    """How long each of them is; the last may be shorter."""
    slots: Sequence[Slot]
    place: npt.NDArray[np.int64]
    """Of each slot."""

    @classmethod
    def of(cls, run: BenchRun, width_s: int | None = None) -> Timeline:
        """All slots of the run, at places of this width, or of a slot's."""
        width, end = width_s or run.slot_s, reached_s(run)
        starts = list(range(0, max(1, int(np.ceil(end))), width))
        seconds = np.minimum(width, np.maximum(1e-9, end - np.array(starts, np.float64)))
        place = np.array([min(slot.at_s // width, len(starts) - 1) for slot in run.slots], np.int64)
        return cls(starts, seconds, run.slots, place)

    def of_slots(self, keep: Callable[[Slot], bool]) -> Timeline:
        """Those to keep, on the same axis."""
        kept = [at for at, slot in enumerate(self.slots) if keep(slot)]
        return replace(self, slots=[self.slots[at] for at in kept], place=self.place[kept])

    def chart(
        self,
        title: str,
        shape: Shape,
        lines: Sequence[Line],
        unit: str,
        spans: Sequence[Span],
        *,
        log: bool = False,
        threshold: float | None = None,
    ) -> Chart:
        """Lines with a value for each place, along the time of the run."""
        return Chart(
            title=title,
            shape=shape,
            x=self.starts,
            lines=lines,
            unit=unit,
            x_is_time=False,
            threshold=threshold,
            log=log,
            scale=Scale.CLOCK,
            x_label="from the start of the run",
            spans=spans,
        )

    def sums(self, *names: str) -> Floats:
        """The counts of these names added together."""
        weights = [sum(getattr(slot, name) for name in names) for slot in self.slots]
        return np.bincount(self.place, weights, len(self.starts)).astype(np.float64)

    def mapped(self, name: str, key: str) -> Floats:
        """The values under a key of ``reasons`` or ``phases_us``."""
        weights = [getattr(slot, name).get(key, 0) for slot in self.slots]
        return np.bincount(self.place, weights, len(self.starts)).astype(np.float64)

    def per_second(self, *names: str) -> list[float | None]:
        """The counts as rates."""
        return [float(one) for one in self.sums(*names) / self.seconds]

    def longest_ms(self) -> list[float | None]:
        """The longest response time of the good ones; None where there is none."""
        found = np.zeros(len(self.starts))
        np.maximum.at(found, self.place, np.array([slot.max_us for slot in self.slots], np.float64))
        return [one / 1000 if one else None for one in found.tolist()]

    def cells(self, histogram: HistogramName) -> Cells:
        """A histogram for each place."""
        return Cells.of_blobs(self.place, [getattr(slot, histogram) for slot in self.slots])

    def quantiles_ms(self, histogram: HistogramName, ratios: Sequence[float]) -> list[list[float | None]]:
        """A row for each ratio, with the quantile at each place; None where there is no sample."""
        found = self.cells(histogram).quantiles(len(self.starts), ratios).T / 1000
        return [[None if one != one else one for one in row] for row in found.tolist()]


def of_series(places: Iterable[int]) -> Callable[[Slot], bool]:
    """Whether a slot is of these series."""
    wanted = frozenset(places)
    return lambda slot: slot.series in wanted


def stage_spans(run: BenchRun) -> list[Span]:
    """The stages along the axis, those that are not measured shaded; of scenarios side by side, the first one's."""
    first = run.stages[0].scenario if run.stages else ""
    return [
        Span(stage.from_s, stage.until_s, stage.name, Look.PLAIN if stage.measured else Look.SHADED)
        for stage in run.stages
        if stage.scenario == first
    ]
