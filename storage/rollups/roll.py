"""The steps that roll raw rows into buckets, each for a transaction of its own.

A server is rolled up to a full hour, its watermark. The hour's buckets are made once, from the rows behind the
watermark, and the day's from its hours once the day has ended. If a roll is killed, its committed steps stay and the
next roll does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select, update

from storage.connections import DatabaseConnection
from storage.rollups.buckets import (
    LATENCIES,
    LATENCY_COLUMNS,
    OUTCOME_COLUMNS,
    OUTCOMES,
    SeriesOf,
    latency_buckets,
    outcome_buckets,
    read_latencies,
    read_outcomes,
)
from storage.rollups.fold import Keys, Spell, States, fold_checks, fold_probes
from storage.rollups.raw_rows import Checks, Probes, probes_of, unrolled_checks
from storage.rollups.read_states import states_of
from storage.rollups.states import save_states, set_back
from storage.rollups.watermarks import DAY_HOURS, DAY_MS, STAGES, marks
from storage.rows import insert_rows, of_ids
from storage.tables import day_latency, day_outcomes, hour_latency, hour_outcomes, incidents, series


def roll_servers(connection: DatabaseConnection, servers: Sequence[int], until_ms: int) -> int:
    """Roll these servers up to a full hour; returns the number of checks rolled."""
    checks = unrolled_checks(connection, servers, marks(connection).first_run_id, until_ms)
    fold_rows(connection, states_of(connection, servers), checks, probes_of(connection, checks), until_ms)
    return len(checks.server)


def fold_rows(connection: DatabaseConnection, before: States, checks: Checks, probes: Probes, until_ms: int) -> None:
    """Write the buckets of these rows: all rows between the states before and ``until_ms``."""
    of_checks, spells, after = fold_checks(checks, before, until_ms)
    of_probes, latencies = fold_probes(probes, checks)
    keys = (of_checks.keys, of_probes.keys, latencies.keys)
    ids = _series_ids(connection, before.server.tolist(), probes.kinds, keys)
    insert_rows(connection, hour_outcomes.name, OUTCOME_COLUMNS, outcome_buckets(of_checks, ids).rows())
    insert_rows(connection, hour_outcomes.name, OUTCOME_COLUMNS, outcome_buckets(of_probes, ids).rows())
    insert_rows(connection, hour_latency.name, LATENCY_COLUMNS, latency_buckets(latencies, ids).rows())
    _note_incidents(connection, spells)
    _close_days(connection, before, until_ms)
    save_states(connection, after)


def rebuild_servers(connection: DatabaseConnection, servers: Sequence[int], until_ms: int) -> int:
    """Rebuild the buckets of these servers from their raw rows; buckets of pruned rows stay as they are."""
    set_back(connection, servers, marks(connection).raw_from_ms)
    return roll_servers(connection, servers, until_ms)


def _series_ids(
    connection: DatabaseConnection, servers: Sequence[int], kinds: Sequence[str], keys: Sequence[Keys]
) -> SeriesOf:
    """The mapping from keys to series ids; new series are created."""
    wanted = {
        (server, kinds[kind], STAGES[stage])
        for one in keys
        for server, kind, stage in set(zip(one.server.tolist(), one.kind.tolist(), one.stage.tolist(), strict=True))
    }
    found = select(series).where(series.c.server_id.in_(servers))
    known = {(row.server_id, row.kind, row.stage) for row in connection.execute(found)}
    insert_rows(connection, series.name, ("server_id", "kind", "stage"), sorted(wanted - known))
    ids = {(row.server_id, row.kind, row.stage): row.id for row in connection.execute(found)}
    return SeriesOf(kinds, STAGES, ids)


def _note_incidents(connection: DatabaseConnection, spells: Sequence[Spell]) -> None:
    """Write these incidents; a server has at most one open incident."""
    for one in spells:
        values: dict[str, Any] = {
            "ended_at_ms": one.ended_at_ms,
            "down_ms": one.down_ms,
            "maintenance_ms": one.maintenance_ms,
            "down_until_ms": one.down_until_ms,
        }
        if one.started_at_ms is None:
            is_open = (incidents.c.server_id == one.server) & incidents.c.ended_at_ms.is_(None)
            connection.execute(update(incidents).where(is_open).values(values))
        else:
            key = {"server_id": one.server, "started_at_ms": one.started_at_ms, "reason": one.reason}
            connection.execute(insert(incidents).values(key | values))


def _close_days(connection: DatabaseConnection, before: States, until_ms: int) -> None:
    """Make the buckets of completed days from those of their hours."""
    first_day, end_day = before.from_ms // DAY_MS, until_ms // DAY_MS
    if not len(before.server) or int(first_day.min()) >= end_day:
        return
    from_slot = {
        server: day * DAY_HOURS for server, day in zip(before.server.tolist(), first_day.tolist(), strict=True)
    }
    for hours, days, columns, read, names in (
        (hour_outcomes, day_outcomes, OUTCOMES, read_outcomes, OUTCOME_COLUMNS),
        (hour_latency, day_latency, LATENCIES, read_latencies, LATENCY_COLUMNS),
    ):
        of_day: list[tuple[Any, ...]] = []
        for first, servers in _grouped(from_slot).items():
            mine = f"""select {columns} from series s cross join {hours.name} b on b.series_id = s.id
            where s.server_id in {of_ids(servers)} and b.slot between {first} and {end_day * DAY_HOURS - 1}"""  # noqa: S608
            buckets: Any = read(connection, mine)
            of_day += buckets.merged(buckets.series, buckets.slot // DAY_HOURS).rows()
        insert_rows(connection, days.name, names, of_day)


def _grouped(values: Mapping[int, int]) -> dict[int, list[int]]:
    """Value -> keys that have it."""
    found: dict[int, list[int]] = {}
    for key, value in values.items():
        found.setdefault(value, []).append(key)
    return found
