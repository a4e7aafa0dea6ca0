"""Buckets as arrays, keyed by series and slot: out of the tables, merged into wider ones, and made rows again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import orjson
from sqlalchemy import Connection, Select, Table

from storage.rollups.fold import distinct, reasons_text
from storage.rollups.histogram import Cells, Integers, empty
from storage.rollups.outcomes import STATES
from storage.rows import columns_of

NUMBERS = (*STATES, *(f"{state}_ms" for state in STATES[:-1]), "changes")
QUANTILES = (0.5, 0.95, 0.99)
"""Those that are kept beside the histogram, for queries in SQL."""

OUTCOME_COLUMNS = ("series_id", "slot", *NUMBERS, "reasons")
_SUMS = ("series_id", "slot", "count", "sum_us", "min_us", "max_us")
LATENCY_COLUMNS = (*_SUMS, "p50_us", "p95_us", "p99_us", "histogram")


@dataclass(frozen=True, slots=True)
class OutcomeBuckets:
    """Buckets of outcomes; every array has one entry a bucket."""

    series: Integers
    slot: Integers
    numbers: Integers
    """Shape (buckets, 12): the columns `NUMBERS`."""
    reasons: Sequence[str | None]
    """JSON object, reason to count."""

    def merged(self, series: Integers, slot: Integers) -> OutcomeBuckets:
        """The sums over the new key of each bucket, sorted by it."""
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


@dataclass(frozen=True, slots=True)
class LatencyBuckets:
    """Buckets of latencies in microseconds; every array has one entry a bucket."""

    series: Integers
    slot: Integers
    count: Integers
    sum_us: Integers
    min_us: Integers
    max_us: Integers
    cells: Cells
    """Group ``i`` is bucket ``i``."""

    def merged(self, series: Integers, slot: Integers) -> LatencyBuckets:
        """The sums over the new key of each bucket, sorted by it."""
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
        """The samples at these ranks, shape (buckets, ratios), never outside the smallest and the largest sample."""
        found = self.cells.quantiles(len(self.count), ratios)
        return np.clip(found, self.min_us[:, None], self.max_us[:, None])

    def rows(self) -> list[tuple[Any, ...]]:
        """Rows of the tables that keep latencies, of `LATENCY_COLUMNS`."""
        quantiles = np.rint(self.quantiles_us(QUANTILES)).astype(np.int64)
        numbers = (self.series, self.slot, self.count, self.sum_us, self.min_us, self.max_us, *quantiles.T)
        columns = (*(column.tolist() for column in numbers), self.cells.blobs(len(self.count)))
        return list(zip(*columns, strict=True))


_Buckets = TypeVar("_Buckets", OutcomeBuckets, LatencyBuckets)


def outcome_columns(table: Table) -> list[Any]:
    """What `read_outcomes` wants selected."""
    return [table.c[name] for name in OUTCOME_COLUMNS]


def latency_columns(table: Table) -> list[Any]:
    """What `read_latencies` wants selected."""
    return [table.c[name] for name in (*_SUMS, "histogram")]


def read_outcomes(connection: Connection, found: Select[Any]) -> OutcomeBuckets:
    """The selected buckets of outcomes."""
    columns = columns_of(connection, found, 3 + len(NUMBERS))
    numbers = np.array(columns[2:-1], np.int64).reshape(len(NUMBERS), -1).T
    return OutcomeBuckets(np.array(columns[0], np.int64), np.array(columns[1], np.int64), numbers, columns[-1])


def read_latencies(connection: Connection, found: Select[Any]) -> LatencyBuckets:
    """The selected buckets of latencies."""
    columns = columns_of(connection, found, 7)
    of_series, slot, count, sum_us, min_us, max_us = (np.array(column, np.int64) for column in columns[:6])
    cells = Cells.of_blobs(np.arange(len(count)), columns[6])
    return LatencyBuckets(of_series, slot, count, sum_us, min_us, max_us, cells)


def joined_outcomes(parts: Iterable[OutcomeBuckets]) -> OutcomeBuckets:
    """The buckets of all parts, one after the other."""
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
    """The buckets of all parts, one after the other."""
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
    """No bucket at all."""
    none = np.zeros(0, np.int64)
    return LatencyBuckets(none, none, none, none, none, none, empty())


def _merged_reasons(bucket: Integers, texts: Sequence[str | None], size: int) -> list[str | None]:
    """The reasons of each bucket's texts, added up; a text that is alone stays as it is, which most do."""
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
    """The parts that have buckets, and at least one."""
    given = list(parts)
    return [part for part in given if len(part.series)] or given[:1]


def ascending(series: Integers, slot: Integers) -> bool:
    """Whether these keys are sorted and each is there once, so that there is nothing to merge."""
    further = (series[1:] > series[:-1]) | ((series[1:] == series[:-1]) & (slot[1:] > slot[:-1]))
    return bool(further.all())
