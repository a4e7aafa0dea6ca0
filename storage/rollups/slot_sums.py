"""Latency buckets of very many series summed by few rows and slots, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from checker.stats.histogram import BINS, Cells, Integers, words_of
from storage.rollups.buckets import PackedBuckets, Sums

_NONE = np.iinfo(np.int64).max


class SlotSums(Struct, frozen=True):
    """Merged latencies in microseconds of each row in each slot; every array begins with these two axes."""

    slots: range
    counts: npt.NDArray[np.uint32]
    """Samples in each of the `BINS` bins of a histogram."""
    min_us: Integers
    """The largest integer where there are no samples."""
    max_us: Integers

    def of_rows(self, slots: range) -> Sums:
        """The sums over these slots, a label for each row."""
        some = self._places(slots)
        return _sums(
            self.counts[:, some].sum(axis=1, dtype=np.int64),
            self.min_us[:, some].min(axis=1, initial=_NONE),
            self.max_us[:, some].max(axis=1, initial=0),
        )

    def of_slots(self, slots: range, rows: Sequence[int] | None = None) -> Sums:
        """The sums of each of these slots: label ``place * len(slots) + slot`` for the row at a place in ``rows``.

        All rows without ``rows``; one that is negative has no samples.
        """
        some = self._places(slots)
        if rows is None:
            rows = range(len(self.counts))
        wanted = np.array(rows, np.int64)
        there, shape = wanted >= 0, (len(wanted), len(slots))
        counts, least, most = np.zeros((*shape, BINS), np.uint32), np.full(shape, _NONE), np.zeros(shape, np.int64)
        counts[there] = self.counts[wanted[there], some]
        least[there], most[there] = self.min_us[wanted[there], some], self.max_us[wanted[there], some]
        return _sums(counts.reshape(-1, BINS), least.ravel(), most.ravel())

    def _places(self, slots: range) -> slice:
        return slice(slots.start - self.slots.start, slots.stop - self.slots.start)


def _sums(counts: npt.NDArray[Any], least: Integers, most: Integers) -> Sums:
    return Sums(counts.sum(axis=1, dtype=np.int64), np.where(least == _NONE, 0, least), most, Cells.of_table(counts))


def slot_sums(parts: Iterable[PackedBuckets], row: Integers, rows: int, slots: range) -> SlotSums:
    """The sum of all these buckets: a series ``s`` counts for row ``row[s]``, or for none if that is negative."""
    size = rows * len(slots)
    found = SlotSums(
        slots,
        np.zeros((rows, len(slots), BINS), np.uint32),
        np.full((rows, len(slots)), _NONE),
        np.zeros((rows, len(slots)), np.int64),
    )
    least, most, counts = found.min_us.reshape(size), found.max_us.reshape(size), found.counts.reshape(-1)
    for part in parts:
        of_row = row[part.series]
        kept = of_row >= 0
        some = part.only(kept)
        label = of_row[kept] * len(slots) + some.slot - slots.start
        if len(label):
            np.minimum.at(least, label, some.min_us)
            np.maximum.at(most, label, some.max_us)
            _add(label, some, counts)
    return found


def _add(label: Integers, buckets: PackedBuckets, counts: npt.NDArray[np.uint32]) -> None:
    """Add each histogram to those of its label."""
    words = words_of(buckets.histograms, buckets.lengths_bytes)
    first = int(label.min()) * BINS
    end = (int(label.max()) + 1) * BINS
    starts = label[words.blob] * BINS - first - words.before
    added = np.bincount(words.position + np.repeat(starts, words.lengths), words.count, end - first)
    counts[first:end] += added.astype(np.uint32)
