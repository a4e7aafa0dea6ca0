"""Many latency histograms at once, as sparse cells: built from values, merged by addition, packed into short blobs.

The layout is fixed: bin ``i`` holds the durations from ``GROWTH**i`` to ``GROWTH**(i + 1)`` microseconds, so a quantile
that is read from it is within (GROWTH - 1) / (GROWTH + 1) = 0.99% of the sample at its rank, and the sum of two
histograms is the histogram of both sets of samples (the layout of DDSketch: Masson, Rim and Lee, VLDB 2019). Durations
above `LONGEST_US` are counted in the last bin; a bucket's own maximum stays exact.

A blob is a series of little-endian 16-bit words: the first bin, then a word for each bin that has samples, with the
distance from the previous bin in the low byte and the count in the high byte. Values that do not fit in a byte take
more words: a count of zero only moves on, a distance of zero adds to the same bin.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Integers = npt.NDArray[np.int64]

GROWTH = 1.02
LONGEST_US = 3_600_000_000
_LOG_GROWTH = math.log(GROWTH)
LAST_BIN = math.floor(math.log(LONGEST_US) / _LOG_GROWTH)
_LOWER = GROWTH ** np.arange(LAST_BIN + 1)
_MIDDLE_US = 2 * _LOWER * GROWTH / (1 + GROWTH)
"""The representative value of each bin: no sample of the bin differs from it by more than 0.99%."""
_BYTE = 255
BINS = LAST_BIN + 1
_AT_ONCE = 4096
"""Blobs unpacked at a time: few enough that the arrays stay in the processor's cache."""
_DENSE = 4
"""Cells of a full table per given cell, up to which adding in such a table is faster than sorting."""


class Cells(Struct, frozen=True):
    """Non-empty bins of several histograms: row ``i`` says that ``bin[i]`` occurs ``count[i]`` times in ``group[i]``.

    Sorted by group and bin, each pair once.
    """

    group: Integers
    bin: Integers
    count: Integers

    @classmethod
    def of_values(cls, group: Integers, values_us: Integers) -> Cells:
        """Histograms of microseconds, each value with the group that it belongs to."""
        clipped = np.clip(values_us, 1, LONGEST_US)
        bins = np.minimum((np.log(clipped) / _LOG_GROWTH).astype(np.int64), LAST_BIN)
        return _summed(group, bins, np.ones(len(bins), np.int64))

    @classmethod
    def of_blobs(cls, group: Integers, blobs: Sequence[bytes]) -> Cells:
        """The sum of packed histograms over each group: ``blobs[i]`` belongs to ``group[i]``."""
        return cls.of_joined(group, b"".join(blobs), np.fromiter(map(len, blobs), np.int64, len(blobs)))

    @classmethod
    def of_joined(cls, group: Integers, packed: bytes, lengths_bytes: Integers) -> Cells:
        """The same as `of_blobs`, for histograms one after the other, with the length of each."""
        parts = [_unpacked(group[some], piece, lengths_bytes[some]) for some, piece in pieces_of(packed, lengths_bytes)]
        return _joined(parts) if parts else empty()

    @classmethod
    def of_table(cls, table: npt.NDArray[Any]) -> Cells:
        """Histograms from the rows of a table with a column for each of the `BINS` bins."""
        there = np.flatnonzero(table)
        return cls(there // BINS, there % BINS, table.ravel()[there].astype(np.int64))

    def plus(self, other: Cells) -> Cells:
        """The histograms of both sets of samples."""
        return _joined((self, other))

    def regrouped(self, label: Integers) -> Cells:
        """The histograms merged into others: ``g`` becomes part of ``label[g]``, or of none if that is negative."""
        group = label[self.group]
        kept = group >= 0
        return _summed(group[kept], self.bin[kept], self.count[kept])

    def counts(self, groups: int) -> Integers:
        """The number of samples of each of the given number of histograms."""
        return np.bincount(self.group, self.count, groups).astype(np.int64)

    def blobs(self, groups: int) -> list[bytes]:
        """Each histogram packed; an empty one is a blob without words."""
        start = np.searchsorted(self.group, np.arange(groups + 1))
        distance = np.diff(self.bin, prepend=0)
        opens = np.zeros(len(self.bin), bool)
        opens[start[:-1][start[:-1] < start[1:]]] = True
        distance[opens] = 0
        if np.any(distance > _BYTE) or np.any(self.count > _BYTE):
            return [self._packed(low, high) for low, high in itertools.pairwise(start.tolist())]
        words = (distance | self.count << 8).astype("<u2").tobytes()
        heads = self.bin.astype("<u2").tobytes()
        return [
            heads[2 * low : 2 * low + 2] + words[2 * low : 2 * high] if low < high else b""
            for low, high in zip(start[:-1].tolist(), start[1:].tolist(), strict=True)
        ]

    def quantiles(self, groups: int, ratios: Sequence[float]) -> npt.NDArray[np.float64]:
        """The samples at these ranks in microseconds, shape (groups, ratios); NaN for a group without samples.

        The rank of ratio ``q`` of ``n`` samples is the nearest one, ``ceil(q * n)``, at least 1.
        """
        sizes = self.counts(groups)
        ranks = np.ceil(np.multiply.outer(sizes, ratios) - 1e-9).astype(np.int64)
        return self.at_ranks(np.where(sizes[:, None] > 0, np.maximum(1, ranks), 0))

    def at_ranks(self, ranks: Integers) -> npt.NDArray[np.float64]:
        """The samples at these ranks in microseconds; rank 1 is the smallest sample, NaN where there is none.

        Shape (groups, ranks): a row of ranks for each histogram.
        """
        there, bins = self._bins_at(ranks)
        found = np.full(ranks.shape, np.nan)
        found[there] = _MIDDLE_US[bins]
        return found

    def around_ranks(self, low: Integers, high: Integers) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Bounds in microseconds of the samples from rank ``low`` to rank ``high``, both of shape (groups, ranks).

        The lower edge of the first bin and the upper edge of the last: only the bin of a sample is known, so an
        interval between the middles could exclude part of its true range. NaN where there is no sample.
        """
        ends = []
        for ranks, edges in ((low, _LOWER), (high, _LOWER * GROWTH)):
            there, bins = self._bins_at(ranks)
            found = np.full(ranks.shape, np.nan)
            found[there] = edges[bins]
            ends.append(found)
        return ends[0], ends[1]

    def _bins_at(self, ranks: Integers) -> tuple[npt.NDArray[np.bool_], Integers]:
        """Mask of the ranks that exist, and the bins of these."""
        sizes = self.counts(len(ranks))
        there = (ranks >= 1) & (ranks <= sizes[:, None])
        place = np.searchsorted(np.cumsum(self.count), (ranks + (np.cumsum(sizes) - sizes)[:, None])[there])
        return there, self.bin[place]

    def _packed(self, low: int, high: int) -> bytes:
        """One packed histogram, with more than one word for values that do not fit in a byte."""
        if low == high:
            return b""
        words = [int(self.bin[low])]
        position = words[0]
        for bin_, count in zip(self.bin[low:high].tolist(), self.count[low:high].tolist(), strict=True):
            distance, left = bin_ - position, count
            while distance > _BYTE:
                words.append(_BYTE)
                distance -= _BYTE
            while left > 0:
                words.append(distance | min(left, _BYTE) << 8)
                left, distance = left - _BYTE, 0
            position = bin_
        return np.array(words, "<u2").tobytes()


def empty() -> Cells:
    """Cells without any histogram."""
    none = np.zeros(0, np.int64)
    return Cells(none, none, none)


def middle_us(bins: Integers) -> npt.NDArray[np.float64]:
    """The microseconds in the middle of each bin."""
    middles: Any = _MIDDLE_US[bins]
    return middles  # type: ignore[no-any-return] # numpy's indexing is not typed further


class Words(Struct, frozen=True):
    """The words of packed histograms, concatenated; empty histograms have none."""

    blob: Integers
    """Indices of the blobs with words; the next two have one entry for each of these."""
    lengths: Integers
    """Number of its words."""
    before: Integers
    """Subtract it from ``position`` to get the bin."""
    position: Integers
    """One entry per word, as in ``count``."""
    count: npt.NDArray[np.uint8]
    """Samples of the word, 0 if it only moves on."""


def pieces_of(packed: bytes, lengths_bytes: Integers) -> Iterator[tuple[slice, memoryview]]:
    """Pieces of packed histograms that fit in the processor's cache: which ones, and their bytes."""
    whole, ends = memoryview(packed), np.cumsum(lengths_bytes)
    for low in range(0, len(ends), _AT_ONCE):
        some = slice(low, low + _AT_ONCE)
        yield some, whole[int(ends[low] - lengths_bytes[low]) : int(ends[some][-1])]


def words_of(packed: bytes | memoryview, lengths_bytes: Integers) -> Words:
    """Packed histograms one after the other, with the length of each, split into words; words of one bin stay apart."""
    every = lengths_bytes // 2
    blob = np.flatnonzero(every)
    lengths = every[blob]
    joined = np.frombuffer(packed, np.uint8).reshape(-1, 2)
    first = np.cumsum(lengths) - lengths
    heads = joined[first].astype(np.int64)
    moved, count = joined[:, 0].astype(np.int64), joined[:, 1].copy()
    moved[first], count[first] = heads[:, 0] | heads[:, 1] << 8, 0
    position = np.cumsum(moved)
    return Words(blob, lengths, position[first] - moved[first], position, count)


def _unpacked(group: Integers, packed: memoryview, lengths_bytes: Integers) -> Cells:
    """The same as `Cells.of_joined`, for a number of histograms that fits in the cache."""
    words = words_of(packed, lengths_bytes)
    there = np.flatnonzero(words.count)
    bins = (words.position - np.repeat(words.before, words.lengths))[there]
    groups = np.repeat(group[words.blob], words.lengths)[there]
    return _summed(groups, bins, words.count[there].astype(np.int64))


def _joined(parts: Sequence[Cells]) -> Cells:
    """All cells, concatenated."""
    groups, bins, counts = zip(*((part.group, part.bin, part.count) for part in parts), strict=True)
    return _summed(np.concatenate(groups), np.concatenate(bins), np.concatenate(counts))


def _summed(group: Integers, bins: Integers, count: Integers) -> Cells:
    """Cells sorted, with the counts of equal ones summed."""
    if not len(group):
        return empty()
    key = group * BINS + bins
    if np.all(key[1:] > key[:-1]):
        return Cells(group, bins, count)
    if int(group.max()) * BINS < _DENSE * len(key):
        dense = np.bincount(key, count)
        distinct = np.flatnonzero(dense)
        return Cells(distinct // BINS, distinct % BINS, dense[distinct].astype(np.int64))
    if np.any(key[1:] < key[:-1]):
        order = np.argsort(key, kind="stable")
        key, count = key[order], count[order]
    starts = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    distinct = key[starts]
    return Cells(distinct // BINS, distinct % BINS, np.add.reduceat(count, starts))
