"""What a period comes to for each server, added up by the database where whole buckets are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection, bindparam, func, select, text

from storage.rollups.buckets import NUMBERS
from storage.rollups.histogram import Integers
from storage.rollups.marks import DAY_HOURS, DAY_MS, HOUR_MS
from storage.rollups.read import Period, Rollups
from storage.rollups.samples import CHECK
from storage.tables import day_outcomes, hour_outcomes, rollup_state

_SUMS = """select s.server_id, {sums} from series s cross join {table} o
    on o.series_id = s.id and o.slot >= :first and o.slot < :end
    where s.kind = 'check' and s.stage = 'total' and s.server_id in :servers group by s.server_id"""
_COLUMNS = ", ".join(f"sum(o.{name})" for name in NUMBERS)


def outcome_sums(connection: Connection, rollups: Rollups, servers: Sequence[int], period: Period) -> Integers:
    """The sums of the columns `NUMBERS` over the period, shape (servers, 12), in the order of ``servers``.

    The period ends now. The same as adding up `Rollups.outcomes`, of which only what is not rolled is read.
    """
    place = {server: number for number, server in enumerate(servers)}
    total = np.zeros((len(servers), len(NUMBERS)), np.int64)
    rolled = connection.scalar(
        select(func.min(rollup_state.c.rolled_until_ms)).where(rollup_state.c.server_id.in_(servers))
    )
    open_ms = min(max(rolled or 0, period.since_ms), period.until_ms // HOUR_MS * HOUR_MS)
    day = open_ms // DAY_MS if period.slot_ms == DAY_MS else period.since_ms // DAY_MS
    hour = max(day * DAY_HOURS, period.since_ms // HOUR_MS)
    for name, first, end in (
        (day_outcomes.name, period.since_ms // DAY_MS, day),
        (hour_outcomes.name, hour, open_ms // HOUR_MS),
    ):
        if first < end:
            query = text(_SUMS.format(sums=_COLUMNS, table=name)).bindparams(bindparam("servers", expanding=True))
            for server, *numbers in connection.execute(query, {"servers": list(servers), "first": first, "end": end}):
                total[place[server]] += numbers
    found = rollups.outcomes(Period(open_ms, period.until_ms, HOUR_MS), (CHECK,))
    of_bucket = [place.get(found.series[one].server_id, -1) for one in found.buckets.series.tolist()]
    rows = np.array(of_bucket, np.int64)
    np.add.at(total, rows[rows >= 0], found.buckets.numbers[rows >= 0])
    return total
