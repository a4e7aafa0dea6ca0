"""The count, median and p95 of latency buckets, without the histograms that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Select, Table

from storage.rollups.buckets import LatencyBuckets, columns_of
from storage.rollups.histogram import Integers

_NAMES = ("series_id", "slot", "count", "p50_us", "p95_us")


@dataclass(frozen=True, slots=True)
class PercentileBuckets:
    """Buckets, one for each series and slot that has any; every array has one entry a bucket."""

    series: Integers
    slot: Integers
    count: Integers
    p50_us: Integers
    p95_us: Integers

    def plus(self, other: PercentileBuckets) -> PercentileBuckets:
        """The buckets of both."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in PercentileBuckets.__slots__)
        return PercentileBuckets(*(np.concatenate(pair) for pair in pairs))

    def table_us(self, column: Integers, series: int, slots: range) -> npt.NDArray[np.float64]:
        """One of the columns as a table of shape (series, slots), NaN where there is no bucket."""
        table = np.full((series, len(slots)), np.nan)
        table[self.series, self.slot - slots.start] = column
        return table


def percentile_columns(table: Table) -> list[Any]:
    """What `read_percentiles` wants selected."""
    return [table.c[name] for name in _NAMES]


def read_percentiles(connection: Connection, found: Select[Any]) -> PercentileBuckets:
    """The selected buckets."""
    columns = columns_of(connection, found, len(_NAMES))
    return PercentileBuckets(*(np.array(column, np.int64) for column in columns))


def percentiles_of(buckets: LatencyBuckets) -> PercentileBuckets:
    """Those of buckets with histograms, as the tables would keep them."""
    p50_us, p95_us = np.rint(buckets.quantiles_us((0.5, 0.95))).astype(np.int64).T
    return PercentileBuckets(buckets.series, buckets.slot, buckets.count, p50_us, p95_us)
