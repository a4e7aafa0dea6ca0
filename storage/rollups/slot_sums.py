"""Latency buckets of very many series summed by few rows and slots, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from checker.stats.histogram import BINS, Cells, Integers, words_of_joined
from storage.rollups.buckets import PackedBuckets, Sums

JOINED = """s.id, group_concat(b.slot), group_concat(b.min_us), group_concat(b.max_us),
    group_concat(length(b.histogram)), cast(group_concat(b.histogram, '') as blob)"""
"""What `joined_of` needs of the buckets ``b`` of each series ``s``.

A row for each series, not for each bucket: the driver takes longer to make the numbers and bytes of a row than SQLite
to read and join a hundred. Aggregates of one row see the same rows in the same order, whichever it is.
"""
_NONE = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class JoinedBuckets:
    """Latency buckets with their packed histograms one after the other; every array has one entry per bucket."""

    series: Integers
    slot: Integers
    min_us: Integers
    max_us: Integers
    lengths_bytes: Integers
    packed: bytes

    def only(self, kept: npt.NDArray[np.bool_]) -> JoinedBuckets:
        """A subset of the buckets."""
        packed = np.frombuffer(self.packed, np.uint8)[np.repeat(kept, self.lengths_bytes)].tobytes()
        numbers = (self.series[kept], self.slot[kept], self.min_us[kept], self.max_us[kept])
        return JoinedBuckets(*numbers, self.lengths_bytes[kept], packed)


def joined_of(columns: Sequence[Any]) -> JoinedBuckets:
    """The buckets of some series from the columns `JOINED`."""
    ids, *texts, packed = columns
    # numpy reads a text of numbers itself, as integers
    slot, min_us, max_us, lengths_bytes = (np.fromstring(",".join(one), np.int64, sep=",") for one in texts)
    buckets = [one.count(",") + 1 for one in texts[0]]
    series = np.repeat(np.array(ids, np.int64), buckets)
    return JoinedBuckets(series, slot, min_us, max_us, lengths_bytes, b"".join(packed))


def joined(buckets: PackedBuckets) -> JoinedBuckets:
    """These buckets with their histograms joined."""
    lengths_bytes = np.fromiter(map(len, buckets.blobs), np.int64, len(buckets.blobs))
    numbers = (buckets.series, buckets.slot, buckets.min_us, buckets.max_us, lengths_bytes)
    return JoinedBuckets(*numbers, b"".join(buckets.blobs))


@dataclass(frozen=True, slots=True)
class SlotSums:
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


def slot_sums(parts: Iterable[JoinedBuckets], row: Integers, rows: int, slots: range) -> SlotSums:
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
        some = part if kept.all() else part.only(kept)
        label = of_row[kept] * len(slots) + some.slot - slots.start
        if len(label):
            np.minimum.at(least, label, some.min_us)
            np.maximum.at(most, label, some.max_us)
            _add(label, some, counts)
    return found


def _add(label: Integers, buckets: JoinedBuckets, counts: npt.NDArray[np.uint32]) -> None:
    """Add each histogram to those of its label."""
    words = words_of_joined(buckets.packed, buckets.lengths_bytes)
    first = int(label.min()) * BINS
    end = (int(label.max()) + 1) * BINS
    starts = label[words.blob] * BINS - first - words.before
    added = np.bincount(words.position + np.repeat(starts, words.lengths), words.count, end - first)
    counts[first:end] += added.astype(np.uint32)
