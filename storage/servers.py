"""The list of servers: those removed from their configuration, and servers forgotten or renamed by hand."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, delete, func, select, text, update

from checker.errors import UsageError
from checker.model import RunInfo, Server
from storage import tables
from storage.raw_parts import BOTH, in_both
from storage.retention import Pruned, drop_unused
from storage.rollups.watermarks import DAY_MS, marks
from storage.rows import insert_or_update
from storage.tables import series, servers

_OF_SERIES = (tables.hour_outcomes, tables.day_outcomes, tables.hour_latency, tables.day_latency)
_OF_SERVERS = (
    tables.contract_versions,
    tables.run_cached,
    tables.breakers,
    tables.incidents,
    tables.rollup_state,
    tables.series,
)
"""Tables with data of servers, beside their raw rows; tables that refer to others come first."""
_RUNS_OF = in_both("select run_id from {checks} where server_id = :server")
_NAMED_AT_ONCE = 500
COLUMNS = tuple(column.name for column in servers.columns)
"""The id and the name first."""
_ALL = f"select {', '.join(COLUMNS)} from servers"  # noqa: S608 # our names


def stored(connection: Connection) -> dict[str, tuple[Any, ...]]:
    """All servers, each with the values of its columns (`COLUMNS`), by name."""
    return {row[1]: row for row in _rows(connection, _ALL)}


def _rows(connection: Connection, query: str) -> Sequence[Any]:
    """The rows as the driver returns them: SQLAlchemy's own would take longer, and there may be many."""
    with connection.exec_driver_sql(query) as result:
        return result.cursor.fetchall() if result.cursor is not None else ()


def keep(
    connection: Connection,
    info: RunInfo,
    checked: Sequence[Server],
    configured: Collection[str],
    before: Mapping[str, tuple[Any, ...]],
) -> dict[str, int]:
    """Store the servers of a run as far as they are new or have changed; returns the id of every server by its name.

    Their configuration is stored only if the names of all its servers are given.
    """
    place = tuple(_origin(info, configured).values())
    tags: dict[tuple[str, ...], str] = {(): "[]"}
    are_known = True

    def changed() -> Iterator[tuple[Any, ...]]:
        nonlocal are_known
        for one in checked:
            if one.tags not in tags:
                tags[one.tags] = orjson.dumps(list(one.tags)).decode()
            window_ms = one.objective_window and round(1000 * one.objective_window)
            values = (one.name, one.group, tags[one.tags], one.objective, window_ms, *place)
            known = before.get(one.name)
            if known is None or known[1:] != values:
                are_known = are_known and known is not None
                yield values

    insert_or_update(connection, servers, "name", COLUMNS[1:], changed())
    if are_known:
        return {name: row[0] for name, row in before.items()}
    return dict(_rows(connection, "select name, id from servers"))


def _origin(info: RunInfo, configured: Collection[str]) -> dict[str, Any]:
    is_known = bool(configured) and info.config_path is not None
    return {
        "config_path": os.path.abspath(info.config_path or "") if is_known else None,
        "environment": info.environment if is_known else None,
        "retired_at_ms": None,
    }


def retire(
    connection: Connection, info: RunInfo, configured: Collection[str], before: Mapping[str, tuple[Any, ...]]
) -> None:
    """Mark servers that were removed from the run's configuration as retired, and those that are back as active.

    ``before`` are the servers as they were `stored`.
    """
    place = _origin(info, configured)
    if place["config_path"] is None:
        return
    ours, wanted = (place["config_path"], place["environment"]), set(configured)
    gone: list[int] = []
    back: list[int] = []
    for number, name, *_, config_path, environment, retired_at_ms in before.values():
        if (config_path, environment) == ours and (name in wanted) == (retired_at_ms is not None):
            (gone if retired_at_ms is None else back).append(number)
    for numbers, at_ms in ((gone, info.started_at_ms), (back, None)):
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
    for part in BOTH:
        for name, table in (("probes", part.probes), ("checks", part.checks)):
            pruned.add(name, connection.execute(delete(table).where(table.c.server_id == number)).rowcount)
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
    first, second = (f"select run_id from ({_RUNS_OF.replace(':server', f':{name}')})" for name in values)  # noqa: S608 # our names
    if (run := connection.scalar(text(f"{first} intersect {second} limit 1"), values)) is not None:
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
    of_parts = [table for part in BOTH for table in (part.checks, part.probes)]
    for table in (*of_parts, tables.run_cached, tables.breakers):
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
        from difflib import get_close_matches

        close = get_close_matches(name, list(connection.scalars(select(servers.c.name))), n=3)
        alike = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
        raise UsageError(f"no server {name!r}{alike}")
    return int(number)
