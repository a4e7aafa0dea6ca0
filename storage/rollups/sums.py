"""Sums over a period for each server or group, computed by the database for complete buckets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from checker.stats.histogram import Integers
from storage.connections import DatabaseConnection
from storage.rollups.buckets import NUMBERS, OutcomeBuckets
from storage.rollups.read import FoundBuckets, Period, Rollups
from storage.rollups.watermarks import CHECK, DAY_HOURS, DAY_MS, HOUR_MS
from storage.rows import of_ids

_SUMS = ", ".join(f"sum(o.{name})" for name in NUMBERS)
_OF_SERVERS = f"""select s.server_id, {_SUMS} from series s cross join {{table}} o
    on o.series_id = s.id and o.slot >= :first and o.slot < :end
    where s.kind = 'check' and s.stage = 'total' and s.server_id in (select value from json_each(:servers))
    group by s.server_id"""  # noqa: S608
_OF_GROUPS = """select t.group_name, o.slot, sum(o.healthy_ms + o.degraded_ms), sum(o.unhealthy_ms)
    from series s cross join {table} o on o.series_id = s.id and o.slot >= :first and o.slot < :end
    join servers t on t.id = s.server_id
    where s.kind = 'check' and s.stage = 'total' and s.server_id in (select value from json_each(:servers))
    group by t.group_name, o.slot"""


def outcome_sums(connection: DatabaseConnection, rollups: Rollups, servers: Sequence[int], period: Period) -> Integers:
    """Sums over a period that ends now, shape (servers, 12): the columns `NUMBERS`, servers in the given order.

    The same as summing `Rollups.outcomes`, but only unrolled rows are read from it.
    """
    place = {server: number for number, server in enumerate(servers)}
    numbers = np.zeros((len(servers), len(NUMBERS)), np.int64)
    for _, found in _rolled(connection, servers, period, _OF_SERVERS):
        ids, *added = zip(*found, strict=True)
        numbers[[place[server] for server in ids]] += np.array(added, np.int64).T  # a server has one row
    tail = _tail(connection, rollups, servers, period)
    row_of_series = np.array([place.get(one.server_id, -1) for one in tail.series], np.int64)
    rows = row_of_series[tail.buckets.series]
    kept = rows >= 0
    np.add.at(numbers, rows[kept], tail.buckets.numbers[kept])
    return numbers


def group_times(
    connection: DatabaseConnection, rollups: Rollups, groups: Mapping[int, str], period: Period
) -> dict[tuple[str, int], tuple[int, int]]:
    """(Group, slot) -> milliseconds up and down of its servers, given by id; the period ends now."""
    found: dict[tuple[str, int], tuple[int, int]] = {}

    def add(group: str, slot: int, up_ms: int, down_ms: int) -> None:
        before = found.get((group, slot), (0, 0))
        found[group, slot] = before[0] + up_ms, before[1] + down_ms

    for slot_ms, rows in _rolled(connection, list(groups), period, _OF_GROUPS):
        for group, slot, up_ms, down_ms in rows:
            add(group, slot * slot_ms // period.slot_ms, up_ms, down_ms)
    tail = _tail(connection, rollups, list(groups), period)
    spent = zip(
        tail.buckets.series.tolist(), tail.buckets.slot.tolist(), tail.buckets.numbers[:, 6:9].tolist(), strict=True
    )
    for one, hour, (healthy_ms, degraded_ms, unhealthy_ms) in spent:
        if (server := tail.series[one].server_id) in groups:
            add(groups[server], hour * HOUR_MS // period.slot_ms, healthy_ms + degraded_ms, unhealthy_ms)
    return found


def _rolled(
    connection: DatabaseConnection, servers: Sequence[int], period: Period, sums: str
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Rows of the query over full days, if the period is of days, and over hours, after the length of their slots."""
    open_ms = _open_ms(connection, servers, period)
    day = open_ms // DAY_MS if period.slot_ms == DAY_MS else period.since_ms // DAY_MS
    hour = max(day * DAY_HOURS, period.since_ms // HOUR_MS)
    for slot_ms, table, first, end in (
        (DAY_MS, "day_outcomes", period.since_ms // DAY_MS, day),
        (HOUR_MS, "hour_outcomes", hour, open_ms // HOUR_MS),
    ):
        if first < end:
            asked = {"servers": orjson.dumps(list(servers)).decode(), "first": first, "end": end}
            if rows := connection.exec_driver_sql(sums.format(table=table), asked).all():
                yield slot_ms, rows


def _tail(
    connection: DatabaseConnection, rollups: Rollups, servers: Sequence[int], period: Period
) -> FoundBuckets[OutcomeBuckets]:
    """The hours from the first that may be unrolled on."""
    since_ms = _open_ms(connection, servers, period)
    return rollups.outcomes(Period(since_ms, period.until_ms, HOUR_MS), (CHECK,))


def _open_ms(connection: DatabaseConnection, servers: Sequence[int], period: Period) -> int:
    """Time up to which all of these servers are rolled, within the period."""
    rolled = f"select min(rolled_until_ms) from rollup_state where server_id in {of_ids(servers)}"  # noqa: S608 # ids
    return min(
        max(connection.exec_driver_sql(rolled).scalar() or 0, period.since_ms), period.until_ms // HOUR_MS * HOUR_MS
    )
