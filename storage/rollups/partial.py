"""Single parts of the buckets, read without the rest: reasons, standing, percentiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import orjson
from msgspec import Struct

from checker.stats.histogram import Integers
from storage.connections import DatabaseConnection
from storage.rollups.bucket_columns import joined_numbers, numbers_of
from storage.rollups.buckets import NUMBERS, LatencyBuckets, OutcomeBuckets
from storage.rollups.watermarks import STATES
from storage.rows import columns_of

PERCENTILES = joined_numbers("b.slot", "b.count", "b.p50_us", "b.p95_us")
"""What `read_percentiles` needs of the buckets ``b`` of each series ``s``."""
REASONS = "b.series_id, b.slot, b.reasons"
"""What `read_reasons` needs of buckets ``b``."""
STANDING = joined_numbers(
    "b.slot", "b.healthy_ms + b.degraded_ms", "b.unhealthy_ms", "b.healthy + b.degraded + b.unhealthy", "b.changes"
)
"""What `read_standing` needs of the buckets ``b`` of each series ``s``."""


class PercentileBuckets(Struct, frozen=True):
    """Percentile buckets, one for each series and slot with samples; every array has one entry per bucket."""

    series: Integers
    slot: Integers
    count: Integers
    p50_us: Integers
    p95_us: Integers

    def plus(self, other: PercentileBuckets) -> PercentileBuckets:
        """Both sets of buckets, concatenated."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in PercentileBuckets.__struct_fields__)
        return PercentileBuckets(*(np.concatenate(pair) for pair in pairs))

    def table_us(self, column: Integers, series: int, slots: range) -> npt.NDArray[np.float64]:
        """One of the columns as a table of shape (series, slots), NaN where there is no bucket."""
        table = np.full((series, len(slots)), np.nan)
        table[self.series, self.slot - slots.start] = column
        return table


def read_percentiles(connection: DatabaseConnection, found: str) -> PercentileBuckets:
    """The selected buckets."""
    ids, *texts = columns_of(connection, f"{found} group by s.id", len(PercentileBuckets.__struct_fields__))
    return PercentileBuckets(*numbers_of(ids, texts))


def percentiles_of(buckets: LatencyBuckets) -> PercentileBuckets:
    """Percentiles of buckets with histograms, rounded as the tables store them."""
    p50_us, p95_us = np.rint(buckets.quantiles_us((0.5, 0.95))).astype(np.int64).T
    return PercentileBuckets(buckets.series, buckets.slot, buckets.count, p50_us, p95_us)


class ReasonBuckets(Struct, frozen=True):
    """Buckets that have reasons; a series and slot can have several."""

    series: Integers
    slot: Integers
    reasons: Sequence[str]
    """JSON object: reason -> count."""

    def counts(self) -> ReasonCounts:
        """Counts of the reasons: one entry per bucket and reason."""
        numbers: dict[str, int] = {}
        texts = {one: place for place, one in enumerate(dict.fromkeys(self.reasons))}
        of_bucket = np.fromiter(map(texts.__getitem__, self.reasons), np.int64, len(self.reasons))
        entries = [
            (text, numbers.setdefault(reason, len(numbers)), times)
            for text, document in enumerate(map(orjson.loads, texts))
            for reason, times in document.items()
        ]
        table = np.array(entries, np.int64).reshape(-1, 3)
        sizes = np.bincount(table[:, 0], minlength=len(texts))
        repeats = sizes[of_bucket]
        bucket = np.repeat(np.arange(len(of_bucket)), repeats)
        # The entries of a text lie together: those of bucket i begin where those of its text do.
        within = np.arange(len(bucket)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        entry = (np.cumsum(sizes) - sizes)[of_bucket[bucket]] + within
        return ReasonCounts(tuple(numbers), self.series[bucket], self.slot[bucket], table[entry, 1], table[entry, 2])


class ReasonCounts(Struct, frozen=True):
    """Counts of reasons; every array has one entry per bucket and reason."""

    names: Sequence[str]
    series: Integers
    slot: Integers
    reason: Integers
    """Index in the names."""
    times: Integers


def read_reasons(connection: DatabaseConnection, found: str) -> ReasonBuckets:
    """The selected buckets, those without reasons left out."""
    columns = columns_of(connection, f"{found} and b.reasons is not null", 3)
    return ReasonBuckets(np.array(columns[0], np.int64), np.array(columns[1], np.int64), columns[2])


def reasons_of(buckets: OutcomeBuckets) -> ReasonBuckets:
    """Reasons of complete buckets."""
    there = [place for place, text in enumerate(buckets.reasons) if text is not None]
    texts = [text for text in buckets.reasons if text is not None]
    return ReasonBuckets(buckets.series[there], buckets.slot[there], texts)


def joined_reasons(parts: Iterable[ReasonBuckets]) -> ReasonBuckets:
    """The buckets of all parts, concatenated."""
    given = list(parts)
    return ReasonBuckets(
        np.concatenate([part.series for part in given]),
        np.concatenate([part.slot for part in given]),
        [text for part in given for text in part.reasons],
    )


_UP_MS = [NUMBERS.index(name) for name in ("healthy_ms", "degraded_ms")]


class StandingBuckets(Struct, frozen=True):
    """Up and down times of checks; a series and slot can have several buckets. Unknown time is in neither."""

    series: Integers
    slot: Integers
    up_ms: Integers
    """Time HEALTHY or DEGRADED."""
    down_ms: Integers
    checks: Integers
    """Number of checks that said anything about the server."""
    changes: Integers
    """Number of changes between up and down."""

    def only(self, kept: Integers) -> StandingBuckets:
        """A subset of the buckets."""
        return StandingBuckets(*(getattr(self, name)[kept] for name in StandingBuckets.__struct_fields__))

    def table(self, column: Integers, series: int, slots: range) -> npt.NDArray[np.float64]:
        """Sums of one of the columns, shape (series, slots)."""
        place = self.series * len(slots) + self.slot - slots.start
        return np.bincount(place, column, series * len(slots)).reshape(series, len(slots)).astype(np.float64)


def read_standing(connection: DatabaseConnection, found: str) -> StandingBuckets:
    """The selected buckets."""
    ids, *texts = columns_of(connection, f"{found} group by s.id", len(StandingBuckets.__struct_fields__))
    return StandingBuckets(*numbers_of(ids, texts))


def standing_of(buckets: OutcomeBuckets) -> StandingBuckets:
    """Standing of complete buckets."""
    numbers = buckets.numbers
    return StandingBuckets(
        series=buckets.series,
        slot=buckets.slot,
        up_ms=numbers[:, _UP_MS].sum(axis=1),
        down_ms=numbers[:, NUMBERS.index("unhealthy_ms")],
        checks=numbers[:, : STATES.index("unknown")].sum(axis=1),
        changes=numbers[:, NUMBERS.index("changes")],
    )


def joined_standing(parts: Iterable[StandingBuckets]) -> StandingBuckets:
    """The buckets of all parts, concatenated."""
    given = list(parts)
    return StandingBuckets(
        *(np.concatenate([getattr(part, name) for part in given]) for name in StandingBuckets.__struct_fields__)
    )
