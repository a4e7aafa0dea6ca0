"""Slots added together into wider ones, so that a run of any length has as many as a picture can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from checker.bench.results import BenchRun, Slot
from storage.rollups.histogram import Cells, Integers

MOST_SLOTS = 600
"""Of a chart over time."""
_WIDTHS_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
_KEY = ("series", "stage", "at_s")
_HISTOGRAMS = ("response", "service", "first_byte", "late", "failed_response")
_MAPPINGS = ("reasons", "phases_us")
_COUNTS = tuple(
    name for name in Slot.__struct_fields__ if name not in (*_KEY, *_HISTOGRAMS, *_MAPPINGS) and name != "max_us"
)


def width_s(run: BenchRun, most: int = MOST_SLOTS) -> int:
    """The width that lets a run of this length have at most so many slots, a multiple of its own."""
    seconds = max((stage.until_s for stage in run.stages), default=0.0)
    wide = next((one for one in _WIDTHS_S if one % run.slot_s == 0 and seconds / one <= most), None)
    return wide or -(-int(seconds) // most // run.slot_s) * run.slot_s


def widened(run: BenchRun, most: int = MOST_SLOTS) -> BenchRun:
    """The run with wider slots where it has more than so many; sums and histograms of any time stay what they were."""
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
