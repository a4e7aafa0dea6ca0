"""Latency buckets left as they lie in the tables: histograms that are summed without taking each apart first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Select, Table

from storage.rollups.buckets import LatencyBuckets
from storage.rollups.histogram import BINS, Cells, Integers, middle_us, words_of
from storage.rows import columns_of

_AT_ONCE = 8192
"""Blobs taken apart at a time: few enough that the arrays stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Merged latencies in microseconds; every array has one entry a label, most of all that were summed under it."""

    count: Integers
    min_us: Integers
    """0 where nothing was summed."""
    max_us: Integers
    cells: Cells
    """Group ``i`` is label ``i``."""

    @property
    def sum_us(self) -> npt.NDArray[np.float64]:
        """The sum of all samples, within 1%: that of the middles of their bins."""
        times = self.cells.count * middle_us(self.cells.bin)
        return np.bincount(self.cells.group, times, len(self.count)).astype(np.float64)

    def around_ranks_us(self, low: Integers, high: Integers) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """What encloses the samples from rank ``low`` to rank ``high`` (1 is the smallest), a row for each label.

        Outer edges of their bins, within the exact minimum and maximum; NaN for ranks that a label has not.
        """
        ends = self.cells.around_ranks(low, high)
        return (
            np.clip(ends[0], self.min_us[:, None], self.max_us[:, None]),
            np.clip(ends[1], self.min_us[:, None], self.max_us[:, None]),
        )

    def quantiles_us(self, ratios: Sequence[float]) -> npt.NDArray[np.float64]:
        """The samples at the nearest ranks, shape (labels, ratios); NaN where nothing was summed."""
        found = self.cells.quantiles(len(self.count), ratios)
        return np.clip(found, self.min_us[:, None], self.max_us[:, None])


@dataclass(frozen=True, slots=True)
class PackedBuckets:
    """Buckets of latencies; of one series and slot there can be several."""

    series: Integers
    slot: Integers
    min_us: Integers
    max_us: Integers
    blobs: Sequence[bytes]

    def only(self, kept: Integers) -> PackedBuckets:
        """Some of the buckets."""
        numbers = (self.series[kept], self.slot[kept], self.min_us[kept], self.max_us[kept])
        return PackedBuckets(*numbers, [self.blobs[one] for one in kept.tolist()])

    def cells(self, label: Integers) -> Cells:
        """The histograms under many labels, each of few buckets: ``label[i]`` is where bucket ``i`` belongs, or < 0."""
        kept = np.flatnonzero(label >= 0)
        blobs = self.blobs if len(kept) == len(label) else [self.blobs[one] for one in kept.tolist()]
        return Cells.of_blobs(label[kept], blobs)

    def sums(self, *labellings: tuple[Integers, int]) -> tuple[Sums, ...]:
        """For each labelling the sums under its labels, ``label[i]`` being where bucket ``i`` belongs, or below 0.

        A labelling is given with the number of its labels. All of them in one pass: taking apart costs the most.
        """
        tables = [np.zeros((labels if np.any(label >= 0) else 0, BINS)) for label, labels in labellings]
        used = [place for place, table in enumerate(tables) if len(table)]
        for low in range(0, len(self.blobs) if used else 0, _AT_ONCE):
            high = low + _AT_ONCE
            some = [labellings[place][0][low:high] for place in used]
            _add(some, self.blobs[low:high], [tables[place] for place in used])
        return tuple(
            Sums(
                np.resize(table.sum(axis=1).astype(np.int64), labels),
                _extreme(np.minimum, self.min_us, label, labels),
                _extreme(np.maximum, self.max_us, label, labels),
                Cells.of_table(table),
            )
            for (label, labels), table in zip(labellings, tables, strict=True)
        )


def _add(labels: Sequence[Integers], blobs: Sequence[bytes], tables: Sequence[npt.NDArray[np.float64]]) -> None:
    """Add these histograms to the rows of the tables that they belong to; tables have a column for each bin."""
    words = words_of(blobs)
    lengths, times = words.lengths, words.count.astype(np.float64)
    for label, table in zip(labels, tables, strict=True):
        kept = label[words.blob]
        low = max(0, int(kept.min(initial=0)))
        high = int(kept.max(initial=-1)) + 1
        if high <= low:
            continue
        low = int(kept[kept >= 0].min())
        weights = times if kept.min() >= 0 else np.where(np.repeat(kept >= 0, lengths), times, 0.0)
        rows = np.maximum(kept - low, 0)
        places = words.position + np.repeat(rows * BINS - words.before, lengths)
        table[low:high] += np.bincount(places, weights, (high - low) * BINS).reshape(-1, BINS)


def _extreme(best: np.ufunc, values: Integers, label: Integers, labels: int) -> Integers:
    """The smallest or largest value under each label."""
    found = np.full(labels, np.iinfo(np.int64).max if best is np.minimum else 0)
    kept = label >= 0
    best.at(found, label[kept], values[kept])
    return np.where(found == np.iinfo(np.int64).max, 0, found)


def packed_columns(table: Table) -> list[Any]:
    """What `read_packed` wants selected."""
    return [table.c[name] for name in ("series_id", "slot", "min_us", "max_us", "histogram")]


def read_packed(connection: Connection, found: Select[Any]) -> PackedBuckets:
    """The selected buckets."""
    columns = columns_of(connection, found, 5)
    of_series, slot, min_us, max_us = (np.array(column, np.int64) for column in columns[:4])
    return PackedBuckets(of_series, slot, min_us, max_us, columns[4])


def packed(buckets: LatencyBuckets) -> PackedBuckets:
    """Buckets of latencies packed."""
    blobs = buckets.cells.blobs(len(buckets.count))
    return PackedBuckets(buckets.series, buckets.slot, buckets.min_us, buckets.max_us, blobs)


def joined_packed(parts: Iterable[PackedBuckets]) -> PackedBuckets:
    """The buckets of all parts, one after the other."""
    given = list(parts)
    return PackedBuckets(
        series=np.concatenate([part.series for part in given]),
        slot=np.concatenate([part.slot for part in given]),
        min_us=np.concatenate([part.min_us for part in given]),
        max_us=np.concatenate([part.max_us for part in given]),
        blobs=[blob for part in given for blob in part.blobs],
    )
