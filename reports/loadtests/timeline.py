"""Slots over the time of a run: sums, rates and percentiles, at a width that fits a chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from checker.loadtest.results import BenchRun, Slot
from checker.loadtest.summary import HistogramName
from checker.stats.histogram import Cells, Integers
from reports.loadtests.verdict import reached_s
from reports.report_model import Chart, Line, Look, Scale, Shape, Span

MOST_SLOTS = 600
"""Maximum number of slots in a chart over time."""
_WIDTHS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
_KEY = ("series", "stage", "at_s")
_HISTOGRAMS = ("response", "service", "first_byte", "late", "failed_response")
_MAPPINGS = ("reasons", "phases_us")
_COUNTS = tuple(
    name for name in Slot.__struct_fields__ if name not in (*_KEY, *_HISTOGRAMS, *_MAPPINGS) and name != "max_us"
)


def width_s(run: BenchRun, most: int = MOST_SLOTS) -> int:
    """The slot width at which a run of this length has at most the maximum number of slots, a multiple of its own."""
    seconds = max((stage.until_s for stage in run.stages), default=0.0)
    wide = next((one for one in _WIDTHS_S if one % run.slot_s == 0 and seconds / one <= most), None)
    return wide or -(-int(seconds) // most // run.slot_s) * run.slot_s


def widened(run: BenchRun, most: int = MOST_SLOTS) -> BenchRun:
    """The run with wider slots if it has too many; sums and histograms of any period stay the same."""
    width = width_s(run, most)
    if width <= run.slot_s:
        return run
    keys = [(slot.series, slot.stage, slot.at_s // width * width) for slot in run.slots]
    places = {key: place for place, key in enumerate(sorted(set(keys)))}
    label = np.array([places[key] for key in keys], np.int64)
    columns: dict[str, list[Any]] = {
        **{name: _counts(run.slots, name, label, len(places)) for name in _COUNTS},
        **{name: _packed(run.slots, name, label, len(places)) for name in _HISTOGRAMS},
        **{name: _mapped(run.slots, name, label, len(places)) for name in _MAPPINGS},
    }
    longest = np.zeros(len(places), np.int64)
    np.maximum.at(longest, label, np.array([slot.max_us for slot in run.slots], np.int64))
    slots = [
        Slot(
            series=series,
            stage=stage,
            at_s=at_s,
            max_us=int(longest[place]),
            **{name: column[place] for name, column in columns.items()},
        )
        for (series, stage, at_s), place in places.items()
    ]
    return replace(run, slots=slots, slot_s=width)


def _counts(slots: Sequence[Slot], name: str, label: Integers, size: int) -> list[int]:
    # Weights are floating numbers: exact up to 2**53.
    found: list[int] = np.bincount(label, [getattr(slot, name) for slot in slots], size).astype(np.int64).tolist()
    return found


def _packed(slots: Sequence[Slot], name: str, label: Integers, size: int) -> list[bytes]:
    return Cells.of_blobs(label, [getattr(slot, name) for slot in slots]).blobs(size)


def _mapped(slots: Sequence[Slot], name: str, label: Integers, size: int) -> list[dict[str, int]]:
    found: list[Counter[str]] = [Counter() for _ in range(size)]
    for slot, place in zip(slots, label.tolist(), strict=True):
        if values := getattr(slot, name):
            found[place].update(values)
    return [dict(one) for one in found]


Floats = npt.NDArray[np.float64]


class Timeline(Struct, frozen=True):
    """Slots in their positions on the time axis."""

    starts: Sequence[int]
    """Starts of the positions, in seconds from the epoch."""
    seconds: Floats
    """Lengths of the positions; the last one may be shorter."""
    slots: Sequence[Slot]
    place: npt.NDArray[np.int64]
    """Position of each slot."""

    @classmethod
    def of(cls, run: BenchRun, width_s: int | None = None) -> Timeline:
        """All slots of the run, in positions of this width, by default a slot's."""
        width, end = width_s or run.slot_s, reached_s(run)
        starts = list(range(0, max(1, int(np.ceil(end))), width))
        seconds = np.minimum(width, np.maximum(1e-9, end - np.array(starts, np.float64)))
        place = np.array([min(slot.at_s // width, len(starts) - 1) for slot in run.slots], np.int64)
        return cls(starts, seconds, run.slots, place)

    def of_slots(self, keep: Callable[[Slot], bool]) -> Timeline:
        """The selected slots, on the same axis."""
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
        """A chart of lines with a value for each position, over the time of the run."""
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
        """The sum of the named counts at each position."""
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
        """The longest response time of successful operations; None without any."""
        found = np.zeros(len(self.starts))
        np.maximum.at(found, self.place, np.array([slot.max_us for slot in self.slots], np.float64))
        return [one / 1000 if one else None for one in found.tolist()]

    def cells(self, histogram: HistogramName) -> Cells:
        """A histogram for each position."""
        return Cells.of_blobs(self.place, [getattr(slot, histogram) for slot in self.slots])

    def quantiles_ms(self, histogram: HistogramName, ratios: Sequence[float]) -> list[list[float | None]]:
        """A row for each ratio, with the quantile at each position; None without samples."""
        found = self.cells(histogram).quantiles(len(self.starts), ratios).T / 1000
        return [[None if one != one else one for one in row] for row in found.tolist()]


def of_series(places: Iterable[int]) -> Callable[[Slot], bool]:
    """A filter for slots of these series."""
    wanted = frozenset(places)
    return lambda slot: slot.series in wanted


def stage_spans(run: BenchRun) -> list[Span]:
    """The stages along the axis, unmeasured ones shaded; for parallel scenarios, the stages of the first one."""
    first = run.stages[0].scenario if run.stages else ""
    return [
        Span(stage.from_s, stage.until_s, stage.name, Look.PLAIN if stage.measured else Look.SHADED)
        for stage in run.stages
        if stage.scenario == first
    ]
