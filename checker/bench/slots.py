"""Slots of the same key added together, many at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from checker.bench.results import Slot
from storage.rollups.histogram import Cells

KEY = ("series", "stage", "at_s")
HISTOGRAMS = tuple(one.name for one in fields(Slot) if one.type == "bytes")
MAPPINGS = tuple(one.name for one in fields(Slot) if str(one.type).startswith("Mapping"))
COUNTS = tuple(one.name for one in fields(Slot) if one.type == "int" and one.name not in (*KEY, "max_us"))


def merged(slots: Iterable[Slot]) -> list[Slot]:
    """One slot for each series, stage and time, in the order of time; the rest is added."""
    by_key: dict[tuple[int, int, int], list[Slot]] = {}
    for slot in slots:
        by_key.setdefault((slot.series, slot.stage, slot.at_s), []).append(slot)
    done = [some[0] for some in by_key.values() if len(some) == 1]
    several = {key: some for key, some in by_key.items() if len(some) > 1}
    if several:
        done += _added(several)
    return sorted(done, key=lambda slot: (slot.at_s, slot.stage, slot.series))


def _added(several: dict[tuple[int, int, int], list[Slot]]) -> list[Slot]:
    groups = np.repeat(np.arange(len(several)), [len(some) for some in several.values()])
    flat = [slot for some in several.values() for slot in some]
    histograms = {
        name: Cells.of_blobs(groups, [getattr(slot, name) for slot in flat]).blobs(len(several)) for name in HISTOGRAMS
    }
    return [
        _one(key, some, {name: histograms[name][place] for name in HISTOGRAMS})
        for place, (key, some) in enumerate(several.items())
    ]


def _one(key: tuple[int, int, int], some: list[Slot], histograms: dict[str, Any]) -> Slot:
    values: dict[str, Any] = dict(zip(KEY, key, strict=True))
    for name in COUNTS:
        values[name] = sum(getattr(slot, name) for slot in some)
    for name in MAPPINGS:
        total: Counter[str] = Counter()
        for slot in some:
            total.update(getattr(slot, name))
        values[name] = dict(total)
    return Slot(**values, **histograms, max_us=max(slot.max_us for slot in some))
