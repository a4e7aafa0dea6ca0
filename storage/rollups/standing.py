"""How long servers were up and down and how often that changed, bucket by bucket, without what else buckets hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Select, Table

from storage.rollups.buckets import NUMBERS, OutcomeBuckets, columns_of
from storage.rollups.histogram import Integers
from storage.rollups.outcomes import STATES

_UP_MS = [NUMBERS.index(name) for name in ("healthy_ms", "degraded_ms")]


@dataclass(frozen=True, slots=True)
class StandingBuckets:
    """Buckets of checks; of one series and slot there can be several. Time that is not known is in neither."""

    series: Integers
    slot: Integers
    up_ms: Integers
    """HEALTHY or DEGRADED."""
    down_ms: Integers
    checks: Integers
    """Those that said something of the server."""
    changes: Integers
    """Between up and down."""

    def only(self, kept: Integers) -> StandingBuckets:
        """Some of the buckets."""
        return StandingBuckets(*(getattr(self, name)[kept] for name in StandingBuckets.__slots__))

    def table(self, column: Integers, series: int, slots: range) -> npt.NDArray[np.float64]:
        """The sums of one of the columns, shape (series, slots)."""
        place = self.series * len(slots) + self.slot - slots.start
        return np.bincount(place, column, series * len(slots)).reshape(series, len(slots)).astype(np.float64)


def standing_columns(table: Table) -> list[Any]:
    """What `read_standing` wants selected."""
    known = table.c.healthy + table.c.degraded + table.c.unhealthy
    up_ms = table.c.healthy_ms + table.c.degraded_ms
    return [table.c.series_id, table.c.slot, up_ms, table.c.unhealthy_ms, known, table.c.changes]


def read_standing(connection: Connection, found: Select[Any]) -> StandingBuckets:
    """The selected buckets."""
    columns = columns_of(connection, found, len(StandingBuckets.__slots__))
    return StandingBuckets(*(np.array(column, np.int64) for column in columns))


def standing_of(buckets: OutcomeBuckets) -> StandingBuckets:
    """That of whole buckets."""
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
    """The buckets of all parts, one after the other."""
    given = list(parts)
    return StandingBuckets(
        *(np.concatenate([getattr(part, name) for part in given]) for name in StandingBuckets.__slots__)
    )
