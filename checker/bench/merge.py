"""Slots of the same key as one: counts added, histograms merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec.structs import fields

from checker.bench.results import Slot
from storage.rollups.histogram import Cells

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
