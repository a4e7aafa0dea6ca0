"""Why probes were not HEALTHY, bucket by bucket, without what else the buckets hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, Select, Table

from storage.rollups.buckets import OutcomeBuckets, columns_of
from storage.rollups.histogram import Integers


@dataclass(frozen=True, slots=True)
class ReasonBuckets:
    """Buckets that have reasons; of one series and slot there can be several."""

    series: Integers
    slot: Integers
    reasons: Sequence[str]
    """JSON object, reason to count."""

    def counts(self) -> ReasonCounts:
        """The reasons counted: an entry for each bucket and reason."""
        numbers: dict[str, int] = {}
        texts: dict[str, int] = {}
        of_bucket = np.fromiter((texts.setdefault(one, len(texts)) for one in self.reasons), np.int64)
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


@dataclass(frozen=True, slots=True)
class ReasonCounts:
    """How often what happened; every array has one entry a bucket and reason."""

    names: Sequence[str]
    series: Integers
    slot: Integers
    reason: Integers
    """Position in the names."""
    times: Integers


def reason_columns(table: Table) -> list[Any]:
    """What `read_reasons` wants selected."""
    return [table.c.series_id, table.c.slot, table.c.reasons]


def read_reasons(connection: Connection, found: Select[Any]) -> ReasonBuckets:
    """Those of the selected buckets that have reasons."""
    column = found.selected_columns["reasons"]
    columns = columns_of(connection, found.where(column.is_not(None)), 3)
    return ReasonBuckets(np.array(columns[0], np.int64), np.array(columns[1], np.int64), columns[2])


def reasons_of(buckets: OutcomeBuckets) -> ReasonBuckets:
    """Those of whole buckets."""
    there = [place for place, text in enumerate(buckets.reasons) if text is not None]
    texts = [text for text in buckets.reasons if text is not None]
    return ReasonBuckets(buckets.series[there], buckets.slot[there], texts)


def joined_reasons(parts: Iterable[ReasonBuckets]) -> ReasonBuckets:
    """The buckets of all parts, one after the other."""
    given = list(parts)
    return ReasonBuckets(
        np.concatenate([part.series for part in given]),
        np.concatenate([part.slot for part in given]),
        [text for part in given for text in part.reasons],
    )
