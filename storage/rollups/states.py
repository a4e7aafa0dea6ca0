"""The state of each server before its next row: saved, and reset when a row arrives late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from msgspec.structs import replace
from sqlalchemy import Select, Table, bindparam, delete, func, select, update

from storage.connections import DatabaseConnection
from storage.rollups.fold import States, fold_checks
from storage.rollups.raw_rows import checks_between
from storage.rollups.read_states import FIELDS, states_of
from storage.rollups.watermarks import DAY_HOURS, HOUR_MS, marks
from storage.tables import (
    day_latency,
    day_outcomes,
    hour_latency,
    hour_outcomes,
    incidents,
    recent_checks,
    rollup_marks,
    rollup_state,
    series,
    sorted_checks,
)


def save_states(connection: DatabaseConnection, states: States, prefix: str = "last") -> None:
    """Save the states, and how far these servers are rolled."""
    values: dict[str, Any] = {f"{prefix}_{name}": bindparam(name) for name in (*FIELDS, "rhythm")}
    if prefix == "last":
        values |= {"rolled_until_ms": bindparam("from_ms"), "hold_ms": bindparam("hold")}
    columns = (getattr(states, name).tolist() for name in ("server", "from_ms", *FIELDS))
    rows = [
        {
            **dict(zip(("server", "from_ms", *FIELDS), row, strict=True)),
            "rhythm": orjson.dumps(rhythm.as_list()).decode(),
            "hold": rhythm.hold_ms,
        }
        for *row, rhythm in zip(*columns, states.rhythm, strict=True)
    ]
    if rows:
        connection.execute(
            update(rollup_state).where(rollup_state.c.server_id == bindparam("server")).values(values), rows
        )


def advance_base(connection: DatabaseConnection, servers: Sequence[int], raw_ms: int) -> None:
    """Advance the base states over the rows about to be pruned: checks before ``raw_ms``."""
    mark = marks(connection)
    before = _base(connection, servers, mark.raw_from_ms)
    going = checks_between(connection, servers, mark.raw_from_ms, raw_ms)
    save_states(connection, fold_checks(going, before, raw_ms)[2], "base")


def set_back(connection: DatabaseConnection, servers: Sequence[int], from_ms: int) -> None:
    """Remove the buckets and incidents of these servers from this full day on, as if never rolled."""
    raw_from_ms = marks(connection).raw_from_ms
    earlier = checks_between(connection, servers, raw_from_ms, from_ms)
    states = fold_checks(earlier, _base(connection, servers, raw_from_ms), from_ms)[2]
    save_states(connection, states)
    of_servers = select(series.c.id).where(series.c.server_id.in_(servers))
    hour = from_ms // HOUR_MS
    for table, slot in (
        (hour_outcomes, hour),
        (hour_latency, hour),
        (day_outcomes, hour // DAY_HOURS),
        (day_latency, hour // DAY_HOURS),
    ):
        connection.execute(delete(table).where(table.c.series_id.in_(of_servers), table.c.slot >= slot))
    own = incidents.c.server_id.in_(servers)
    connection.execute(delete(incidents).where(own, incidents.c.started_at_ms >= from_ms))
    connection.execute(update(incidents).where(own, incidents.c.ended_at_ms >= from_ms).values(ended_at_ms=None))
    _reopen(connection, states)
    found = (connection.scalar(_first_run(checks, servers, from_ms)) for checks in (sorted_checks, recent_checks))
    first = min((run for run in found if run is not None), default=None)
    if first is not None and first < marks(connection).first_run_id:
        connection.execute(update(rollup_marks).values(first_run_id=first))


def _first_run(checks: Table, servers: Sequence[int], from_ms: int) -> Select[int | None]:
    """The first run with a check of these servers from this time on."""
    return select(func.min(checks.c.run_id)).where(checks.c.server_id.in_(servers), checks.c.started_at_ms >= from_ms)


def _reopen(connection: DatabaseConnection, states: States) -> None:
    """Set the times of the incidents that are open in these states."""
    is_open = incidents.c.ended_at_ms.is_(None) & (incidents.c.server_id == bindparam("server"))
    parts = ("down_ms", "maintenance_ms", "down_until_ms")
    rows = [
        dict(zip(("server", *(f"new_{name}" for name in parts)), row, strict=True))
        for row in zip(*(getattr(states, name).tolist() for name in ("server", *parts)), strict=True)
    ]
    if rows:
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in parts}
        connection.execute(update(incidents).where(is_open).values(values), rows)


def _base(connection: DatabaseConnection, servers: Sequence[int], raw_from_ms: int) -> States:
    """The state before the first raw row of each server."""
    base = states_of(connection, servers, "base")
    return replace(base, from_ms=np.full(len(base.server), raw_from_ms))
