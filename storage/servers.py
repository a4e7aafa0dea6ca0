"""The list of servers: those removed from their configuration, and servers forgotten or renamed by hand."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

import orjson
from sqlalchemy import Connection, delete, func, select, text, update

from checker.errors import UsageError
from checker.model import RunInfo, Server
from storage import tables
from storage.retention import Pruned, drop_unused
from storage.rollups.watermarks import DAY_MS, marks
from storage.tables import series, servers

_OF_SERIES = (tables.hour_outcomes, tables.day_outcomes, tables.hour_latency, tables.day_latency)
_OF_SERVERS = (
    tables.probes,
    tables.checks,
    tables.contract_versions,
    tables.run_cached,
    tables.breakers,
    tables.incidents,
    tables.rollup_state,
    tables.series,
)
"""Tables with data of servers; tables that refer to others come first."""
_NAMED_AT_ONCE = 500


def server_rows(info: RunInfo, checked: Sequence[Server], configured: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a run's servers; their configuration is stored only if the names of all servers are given."""
    place = _origin(info, configured)
    return [
        {
            "name": one.name,
            "group_name": one.group,
            "tags": orjson.dumps(list(one.tags)).decode(),
            "objective_ratio": one.objective,
            "objective_window_ms": one.objective_window and round(1000 * one.objective_window),
            **place,
        }
        for one in checked
    ]


def _origin(info: RunInfo, configured: Collection[str]) -> dict[str, Any]:
    is_known = bool(configured) and info.config_path is not None
    return {
        "config_path": os.path.abspath(info.config_path or "") if is_known else None,
        "environment": info.environment if is_known else None,
        "retired_at_ms": None,
    }


def retire(connection: Connection, info: RunInfo, configured: Collection[str]) -> None:
    """Mark servers that were removed from the run's configuration as retired, and those that are back as active."""
    place = _origin(info, configured)
    if place["config_path"] is None:
        return
    ours = servers.c.config_path == place["config_path"]
    ours &= servers.c.environment.is_not_distinct_from(place["environment"])
    found = connection.execute(select(servers.c.id, servers.c.name, servers.c.retired_at_ms).where(ours)).all()
    wanted = set(configured)
    for numbers, at_ms in (
        ([row.id for row in found if row.name not in wanted and row.retired_at_ms is None], info.started_at_ms),
        ([row.id for row in found if row.name in wanted and row.retired_at_ms is not None], None),
    ):
        for low in range(0, len(numbers), _NAMED_AT_ONCE):
            some = servers.c.id.in_(numbers[low : low + _NAMED_AT_ONCE])
            connection.execute(update(servers).where(some).values(retired_at_ms=at_ms))


def forget(connection: Connection, name: str) -> dict[str, int]:
    """Delete a server and all its data; returns the number of deleted rows by table.

    Load tests stay: they are runs of their own. Raises UsageError if there is no such server.
    """
    pruned = Pruned()
    number = _number(connection, name)
    of_series = select(series.c.id).where(series.c.server_id == number)
    for table in _OF_SERIES:
        pruned.add(table.name, connection.execute(delete(table).where(table.c.series_id.in_(of_series))).rowcount)
    for table in _OF_SERVERS:
        pruned.add(table.name, connection.execute(delete(table).where(table.c.server_id == number)).rowcount)
    pruned.add("servers", connection.execute(delete(servers).where(servers.c.id == number)).rowcount)
    drop_unused(connection, pruned)
    return pruned.rows


def rename(connection: Connection, old: str, new: str) -> None:
    """Give a server another name, under which its history continues.

    An existing server with the new name is merged with it: changing a name in the configuration leaves two servers
    behind. Raises UsageError if no server has the old name, or if one run checked both.
    """
    number = _number(connection, old)
    other = connection.scalar(select(servers.c.id).where(servers.c.name == new))
    if other == number:
        raise UsageError(f"{old!r} is its name already")
    if other is not None:
        _join(connection, number, int(other), old, new)
    else:
        connection.execute(update(servers).where(servers.c.id == number).values(retired_at_ms=None))
    connection.execute(update(servers).where(servers.c.id == number).values(name=new))


def _join(connection: Connection, number: int, other: int, old: str, new: str) -> None:
    """Move all data of one server to the other and delete the first; the other is rolled again from its rows."""
    values = {"number": number, "other": other}
    both = "select c.run_id from checks c join checks o on o.run_id = c.run_id and o.server_id = :other"
    if (run := connection.scalar(text(f"{both} where c.server_id = :number limit 1"), values)) is not None:
        raise UsageError(f"{old!r} and {new!r} were both checked in run {run}: they are two servers")
    from storage.rollups.newest_rows import first_seen  # numpy takes long to import, and names are seldom taken
    from storage.rollups.states import set_back

    begins_ms = first_seen(connection, [other]).get(other)
    if begins_ms is not None and begins_ms < marks(connection).raw_from_ms:
        raise UsageError(f"{new!r} was checked for longer than its rows are kept; forget it first, or keep both")
    of_other = select(series.c.id).where(series.c.server_id == other)
    for table in _OF_SERIES:
        connection.execute(delete(table).where(table.c.series_id.in_(of_other)))
    for table in (series, tables.incidents, tables.rollup_state):
        connection.execute(delete(table).where(table.c.server_id == other))
    connection.execute(delete(tables.breakers).where(tables.breakers.c.server_id == number))
    newest = select(func.coalesce(func.max(tables.contract_versions.c.version), 0))
    versions = connection.scalar(newest.where(tables.contract_versions.c.server_id == number)) or 0
    of_versions = tables.contract_versions.c.server_id == other
    moved = {"server_id": number, "version": tables.contract_versions.c.version + versions}
    connection.execute(update(tables.contract_versions).where(of_versions).values(moved))
    for table in (tables.checks, tables.probes, tables.run_cached, tables.breakers):
        connection.execute(update(table).where(table.c.server_id == other).values(server_id=number))
    said = connection.execute(select(servers).where(servers.c.id == other)).one()._mapping
    connection.execute(delete(servers).where(servers.c.id == other))
    kept = {key: value for key, value in said.items() if key not in ("id", "name")}
    connection.execute(update(servers).where(servers.c.id == number).values(kept))
    if begins_ms is not None:
        set_back(connection, [number], begins_ms // DAY_MS * DAY_MS)


def _number(connection: Connection, name: str) -> int:
    number = connection.scalar(select(servers.c.id).where(servers.c.name == name))
    if number is None:
        close = get_close_matches(name, list(connection.scalars(select(servers.c.name))), n=3)
        alike = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
        raise UsageError(f"no server {name!r}{alike}")
    return int(number)
