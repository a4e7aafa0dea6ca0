"""Buckets as arrays, keyed by series and slot, and latency buckets in their packed form from the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
from msgspec import Struct

from checker.stats.histogram import BINS, Cells, Integers, Words, empty, middle_us, pieces_of, words_of
from storage.connections import DatabaseConnection
from storage.rollups.bucket_columns import joined_numbers, numbers_of
from storage.rollups.fold import FoldedLatencies, Keys, Outcomes, distinct, reasons_text
from storage.rollups.watermarks import STATES
from storage.rows import columns_of

NUMBERS = (*STATES, *(f"{state}_ms" for state in STATES[:-1]), "changes")
QUANTILES = (0.5, 0.95, 0.99)
"""Quantiles stored beside the histogram, for queries in SQL."""

OUTCOME_COLUMNS = ("series_id", "slot", *NUMBERS, "reasons")
_SUMS = ("series_id", "slot", "count", "sum_us", "min_us", "max_us")
LATENCY_COLUMNS = (*_SUMS, "p50_us", "p95_us", "p99_us", "histogram")

OUTCOMES = ", ".join(f"b.{name}" for name in OUTCOME_COLUMNS)
"""What `read_outcomes` needs of buckets ``b``."""
LATENCIES = ", ".join(f"b.{name}" for name in (*_SUMS, "histogram"))
"""What `read_latencies` needs of buckets ``b``."""
PACKED = (
    f"{joined_numbers('b.slot', 'b.min_us', 'b.max_us', 'length(b.histogram)')}, "
    "cast(group_concat(b.histogram, '') as blob)"
)
"""What `read_packed` needs of the buckets ``b`` of each series ``s``."""


class OutcomeBuckets(Struct, frozen=True):
    """Buckets of outcomes; every array has one entry per bucket."""

    series: Integers
    slot: Integers
    numbers: Integers
    """Shape (buckets, 12): the columns `NUMBERS`."""
    reasons: Sequence[str | None]
    """JSON object: reason -> count."""

    def merged(self, series: Integers, slot: Integers) -> OutcomeBuckets:
        """Buckets merged by a new key for each bucket, sorted by that key."""
        if ascending(series, slot):
            return OutcomeBuckets(series, slot, self.numbers, self.reasons)
        (of_series, slots), bucket = distinct(series, slot)
        order = np.argsort(bucket, kind="stable")
        starts = np.searchsorted(bucket[order], np.arange(len(slots)))
        numbers = np.add.reduceat(self.numbers[order], starts)
        return OutcomeBuckets(of_series, slots, numbers, _merged_reasons(bucket, self.reasons, len(slots)))

    def rows(self) -> list[tuple[Any, ...]]:
        """Rows of the tables that keep outcomes, of `OUTCOME_COLUMNS`."""
        return list(zip(self.series.tolist(), self.slot.tolist(), *self.numbers.T.tolist(), self.reasons, strict=True))


class LatencyBuckets(Struct, frozen=True):
    """Buckets of latencies in microseconds; every array has one entry per bucket."""

    series: Integers
    slot: Integers
    count: Integers
    sum_us: Integers
    min_us: Integers
    max_us: Integers
    cells: Cells
    """Group ``i`` is bucket ``i``."""

    def merged(self, series: Integers, slot: Integers) -> LatencyBuckets:
        """Buckets merged by a new key for each bucket, sorted by that key."""
        if ascending(series, slot):
            return LatencyBuckets(series, slot, self.count, self.sum_us, self.min_us, self.max_us, self.cells)
        (of_series, slots), bucket = distinct(series, slot)
        order = np.argsort(bucket, kind="stable")
        starts = np.searchsorted(bucket[order], np.arange(len(slots)))
        return LatencyBuckets(
            of_series,
            slots,
            np.add.reduceat(self.count[order], starts),
            np.add.reduceat(self.sum_us[order], starts),
            np.minimum.reduceat(self.min_us[order], starts),
            np.maximum.reduceat(self.max_us[order], starts),
            self.cells.regrouped(bucket),
        )

    def quantiles_us(self, ratios: Sequence[float]) -> Any:
        """The samples at these ratios' ranks, shape (buckets, ratios), clipped to the exact minimum and maximum."""
        found = self.cells.quantiles(len(self.count), ratios)
        return np.clip(found, self.min_us[:, None], self.max_us[:, None])

    def rows(self) -> list[tuple[Any, ...]]:
        """Rows of the tables that keep latencies, of `LATENCY_COLUMNS`."""
        quantiles = np.rint(self.quantiles_us(QUANTILES)).astype(np.int64)
        numbers = (self.series, self.slot, self.count, self.sum_us, self.min_us, self.max_us, *quantiles.T)
        columns = (*(column.tolist() for column in numbers), self.cells.blobs(len(self.count)))
        return list(zip(*columns, strict=True))


_Buckets = TypeVar("_Buckets", OutcomeBuckets, LatencyBuckets)


def read_outcomes(connection: DatabaseConnection, found: str) -> OutcomeBuckets:
    """The selected buckets of outcomes."""
    columns = columns_of(connection, found, 3 + len(NUMBERS))
    numbers = np.array(columns[2:-1], np.int64).reshape(len(NUMBERS), -1).T
    return OutcomeBuckets(np.array(columns[0], np.int64), np.array(columns[1], np.int64), numbers, columns[-1])


def read_latencies(connection: DatabaseConnection, found: str) -> LatencyBuckets:
    """The selected buckets of latencies."""
    columns = columns_of(connection, found, 7)
    of_series, slot, count, sum_us, min_us, max_us = (np.array(column, np.int64) for column in columns[:6])
    cells = Cells.of_blobs(np.arange(len(count)), columns[6])
    return LatencyBuckets(of_series, slot, count, sum_us, min_us, max_us, cells)


def joined_outcomes(parts: Iterable[OutcomeBuckets]) -> OutcomeBuckets:
    """The buckets of all parts, concatenated."""
    all_parts = _some(parts)
    if len(all_parts) == 1:
        return all_parts[0]
    return OutcomeBuckets(
        np.concatenate([part.series for part in all_parts]),
        np.concatenate([part.slot for part in all_parts]),
        np.concatenate([part.numbers for part in all_parts]),
        [reason for part in all_parts for reason in part.reasons],
    )


def joined_latencies(parts: Iterable[LatencyBuckets]) -> LatencyBuckets:
    """The buckets of all parts, concatenated."""
    all_parts = _some(parts)
    if len(all_parts) == 1:
        return all_parts[0]
    before = np.cumsum([0, *(len(part.count) for part in all_parts)])
    return LatencyBuckets(
        series=np.concatenate([part.series for part in all_parts]),
        slot=np.concatenate([part.slot for part in all_parts]),
        count=np.concatenate([part.count for part in all_parts]),
        sum_us=np.concatenate([part.sum_us for part in all_parts]),
        min_us=np.concatenate([part.min_us for part in all_parts]),
        max_us=np.concatenate([part.max_us for part in all_parts]),
        cells=Cells(
            group=np.concatenate([part.cells.group + first for part, first in zip(all_parts, before, strict=False)]),
            bin=np.concatenate([part.cells.bin for part in all_parts]),
            count=np.concatenate([part.cells.count for part in all_parts]),
        ),
    )


def no_latencies() -> LatencyBuckets:
    """Empty latency buckets."""
    none = np.zeros(0, np.int64)
    return LatencyBuckets(none, none, none, none, none, none, empty())


def _merged_reasons(bucket: Integers, texts: Sequence[str | None], size: int) -> list[str | None]:
    """The reasons of each bucket, summed; a single text, the usual case, stays as it is."""
    merged: list[str | None] = [None] * size
    several: dict[int, list[str]] = {}
    for one, text in zip(bucket.tolist(), texts, strict=True):
        if text is not None:
            first = merged[one]
            if first is None:
                merged[one] = text
            else:
                several.setdefault(one, [first]).append(text)
    for one, of_bucket in several.items():
        counts: dict[str, int] = {}
        for text in of_bucket:
            for reason, times in orjson.loads(text).items():
                counts[reason] = counts.get(reason, 0) + times
        merged[one] = reasons_text(counts)
    return merged


def _some(parts: Iterable[_Buckets]) -> list[_Buckets]:
    """The non-empty parts, or one part if all are empty."""
    given = list(parts)
    return [part for part in given if len(part.series)] or given[:1]


def ascending(series: Integers, slot: Integers) -> bool:
    """True if the keys are sorted and distinct, so that nothing has to be merged."""
    further = (series[1:] > series[:-1]) | ((series[1:] == series[:-1]) & (slot[1:] > slot[:-1]))
    return bool(further.all())


class SeriesOf(Struct, frozen=True):
    """Numbers of the series."""

    kinds: Sequence[str]
    """The probe kinds, in the order used by the keys."""
    stages: Sequence[str]
    numbers: Mapping[tuple[int, str, str], int]
    """Server id, kind and stage -> number."""

    def of(self, keys: Keys) -> Integers:
        """The series number of each key."""
        named = zip(keys.server.tolist(), keys.kind.tolist(), keys.stage.tolist(), strict=True)
        found = (self.numbers[server, self.kinds[kind], self.stages[stage]] for server, kind, stage in named)
        return np.fromiter(found, np.int64, len(keys.server))


def outcome_buckets(folded: Outcomes, numbers: SeriesOf) -> OutcomeBuckets:
    """Folded hours of outcomes with their series numbers."""
    table = np.column_stack((folded.counts, folded.times_ms, folded.changes))
    return OutcomeBuckets(numbers.of(folded.keys), folded.keys.hour, table, folded.reasons)


def latency_buckets(folded: FoldedLatencies, numbers: SeriesOf) -> LatencyBuckets:
    """Folded hours of latencies with their series numbers."""
    sums = (folded.count, folded.sum_us, folded.min_us, folded.max_us)
    return LatencyBuckets(numbers.of(folded.keys), folded.keys.hour, *sums, folded.cells)


class Sums(Struct, frozen=True):
    """Merged latencies in microseconds; most arrays have one entry per label."""

    count: Integers
    min_us: Integers
    """0 if the label has no samples."""
    max_us: Integers
    cells: Cells
    """Group ``i`` is label ``i``."""

    @property
    def sum_us(self) -> npt.NDArray[np.float64]:
        """Sum of all samples, within 1%: from the middles of their bins."""
        times = self.cells.count * middle_us(self.cells.bin)
        return np.bincount(self.cells.group, times, len(self.count)).astype(np.float64)

    def around_ranks_us(self, low: Integers, high: Integers) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Bounds of the samples from rank ``low`` to rank ``high`` (1 is the smallest), one row per label.

        Outer edges of their bins, within the exact minimum and maximum; NaN for ranks that a label does not have.
        """
        ends = self.cells.around_ranks(low, high)
        return (
            np.clip(ends[0], self.min_us[:, None], self.max_us[:, None]),
            np.clip(ends[1], self.min_us[:, None], self.max_us[:, None]),
        )

    def quantiles_us(self, ratios: Sequence[float]) -> npt.NDArray[np.float64]:
        """The samples at the nearest ranks, shape (labels, ratios); NaN for a label without samples."""
        found = self.cells.quantiles(len(self.count), ratios)
        return np.clip(found, self.min_us[:, None], self.max_us[:, None])


class PackedBuckets(Struct, frozen=True):
    """Packed buckets of latencies; every array has one entry per bucket, and a series and slot can have several."""

    series: Integers
    slot: Integers
    min_us: Integers
    max_us: Integers
    lengths_bytes: Integers
    """Of the histograms."""
    histograms: bytes
    """One after the other."""

    def only(self, kept: npt.NDArray[np.bool_]) -> PackedBuckets:
        """A subset of the buckets."""
        if kept.all():
            return self
        histograms = np.frombuffer(self.histograms, np.uint8)[np.repeat(kept, self.lengths_bytes)].tobytes()
        numbers = (self.series[kept], self.slot[kept], self.min_us[kept], self.max_us[kept])
        return PackedBuckets(*numbers, self.lengths_bytes[kept], histograms)

    def cells(self, label: Integers) -> Cells:
        """Histograms for many labels of few buckets each: bucket ``i`` belongs to ``label[i]``, or to none if < 0."""
        there = label >= 0
        some = self.only(there)
        return Cells.of_joined(label[there], some.histograms, some.lengths_bytes)

    def sums(self, *labellings: tuple[Integers, int]) -> tuple[Sums, ...]:
        """Sums for each labelling, with bucket ``i`` in ``label[i]``, or in none if that is negative.

        A labelling comes with the number of its labels. All are done in one pass, since unpacking is the most expensive
        part.
        """
        tables = [np.zeros((labels if np.any(label >= 0) else 0, BINS)) for label, labels in labellings]
        used = [place for place, table in enumerate(tables) if len(table)]
        for some, histograms in pieces_of(self.histograms, self.lengths_bytes) if used else ():
            words = words_of(histograms, self.lengths_bytes[some])
            _add(words, [labellings[place][0][some] for place in used], [tables[place] for place in used])
        return tuple(
            Sums(
                np.resize(table.sum(axis=1).astype(np.int64), labels),
                _extreme(np.minimum, self.min_us, label, labels),
                _extreme(np.maximum, self.max_us, label, labels),
                Cells.of_table(table),
            )
            for (label, labels), table in zip(labellings, tables, strict=True)
        )


def _add(words: Words, labels: Sequence[Integers], tables: Sequence[npt.NDArray[np.float64]]) -> None:
    """Add these histograms to their rows of the tables, which have a column per bin."""
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
    """The smallest or largest value per label."""
    found = np.full(labels, np.iinfo(np.int64).max if best is np.minimum else 0)
    kept = label >= 0
    best.at(found, label[kept], values[kept])
    return np.where(found == np.iinfo(np.int64).max, 0, found)


def read_packed(connection: DatabaseConnection, found: str) -> PackedBuckets:
    """The selected buckets."""
    return packed_of(columns_of(connection, f"{found} group by s.id", 6))


def packed_of(columns: Sequence[Any]) -> PackedBuckets:
    """Packed buckets from the columns `PACKED`."""
    ids, *texts, histograms = columns
    series, slot, min_us, max_us, lengths_bytes = numbers_of(ids, texts)
    return PackedBuckets(series, slot, min_us, max_us, lengths_bytes, b"".join(histograms))


def packed(buckets: LatencyBuckets) -> PackedBuckets:
    """Latency buckets in packed form."""
    blobs = buckets.cells.blobs(len(buckets.count))
    lengths_bytes = np.fromiter(map(len, blobs), np.int64, len(blobs))
    numbers = (buckets.series, buckets.slot, buckets.min_us, buckets.max_us, lengths_bytes)
    return PackedBuckets(*numbers, b"".join(blobs))


def joined_packed(parts: Iterable[PackedBuckets]) -> PackedBuckets:
    """The buckets of all parts, concatenated."""
    given = list(parts)
    return PackedBuckets(
        series=np.concatenate([part.series for part in given]),
        slot=np.concatenate([part.slot for part in given]),
        min_us=np.concatenate([part.min_us for part in given]),
        max_us=np.concatenate([part.max_us for part in given]),
        lengths_bytes=np.concatenate([part.lengths_bytes for part in given]),
        histograms=b"".join(part.histograms for part in given),
    )
