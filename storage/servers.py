"""The list of servers: those removed from their configuration, and servers forgotten or renamed by hand."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson

from checker.ad_hoc_names import AD_HOC, free_name
from checker.errors import UsageError
from checker.model import RunInfo, Server
from storage import result_entries
from storage.connections import DatabaseConnection
from storage.raw_parts import BOTH, in_both
from storage.rollups.watermarks import DAY_MS, marks
from storage.rows import insert_or_update

_OF_SERIES = ("hour_outcomes", "day_outcomes", "hour_latency", "day_latency")
_OF_SERVERS = ("contract_versions", "run_cached", "breakers", "incidents", "rollup_state", "series")
"""Tables with data of servers, beside their raw rows; tables that refer to others come first."""
_RUNS_OF = in_both("select run_id from {checks} where server_id = :server")
_ID = "select id from servers where name = ?"
_ITS_OWN = "server_id = ?"
_IN_ITS_SERIES = "series_id in (select id from series where server_id = ?)"
COLUMNS = (
    *("id", "name", "group_name", "tags", "objective_ratio", "objective_window_ms"),
    *("config_path", "environment", "retired_at_ms"),
)
"""The id and the name first."""
_CONFIG_PATH = COLUMNS.index("config_path")
_ALL = f"select {', '.join(COLUMNS)} from servers"  # noqa: S608 # our names


def stored(connection: DatabaseConnection) -> dict[str, tuple[Any, ...]]:
    """All servers, each with the values of its columns (`COLUMNS`), by name."""
    return {row[1]: row for row in connection.exec_driver_sql(_ALL)}


def ids(connection: DatabaseConnection) -> dict[str, int]:
    """The id of every server by its name."""
    return dict(connection.exec_driver_sql("select name, id from servers").all())


def keep(
    connection: DatabaseConnection,
    info: RunInfo,
    checked: Sequence[Server],
    configured: Collection[str],
    before: Mapping[str, tuple[Any, ...]],
    ad_hoc: bool = False,
) -> dict[str, int]:
    """Store the servers of a run as far as they are new or have changed; returns the id of every server by its name.

    Their configuration is stored only if the names of all its servers are given. A server of a command line that has
    the name of one of a fleet leaves it to that one.
    """
    place = tuple(origin(info, configured, ad_hoc).values())
    if not ad_hoc:
        for one in checked:
            if one.name in before and before[one.name][_CONFIG_PATH] == AD_HOC:
                rename(connection, one.name, free_name(one.name, before))
                before = stored(connection)
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

    insert_or_update(connection, "servers", "name", COLUMNS[1:], changed())
    if are_known:
        return {name: row[0] for name, row in before.items()}
    return ids(connection)


def origin(info: RunInfo, configured: Collection[str], ad_hoc: bool = False) -> dict[str, Any]:
    """The columns of a server that say which configuration it is from; null without the names of all its servers."""
    is_known = bool(configured) and info.config_path is not None
    return {
        "config_path": os.path.abspath(info.config_path or "") if is_known else AD_HOC if ad_hoc else None,
        "environment": info.environment if is_known else None,
        "retired_at_ms": None,
    }


def retire(
    connection: DatabaseConnection, info: RunInfo, configured: Collection[str], before: Mapping[str, tuple[Any, ...]]
) -> None:
    """Mark servers that were removed from the run's configuration as retired, and those that are back as active.

    ``before`` are the servers as they were `stored`.
    """
    place = origin(info, configured)
    if not place["config_path"]:
        return
    ours, wanted = (place["config_path"], place["environment"]), set(configured)
    gone: list[int] = []
    back: list[int] = []
    for number, name, *_, config_path, environment, retired_at_ms in before.values():
        if (config_path, environment) == ours and (name in wanted) == (retired_at_ms is not None):
            (gone if retired_at_ms is None else back).append(number)
    for numbers, at_ms in ((gone, info.started_at_ms), (back, None)):
        if numbers:
            connection.exec_driver_sql(
                "update servers set retired_at_ms = ? where id = ?", [(at_ms, number) for number in numbers]
            )


def forget(connection: DatabaseConnection, name: str) -> dict[str, int]:
    """Delete a server and all its data; returns the number of deleted rows by table.

    Load tests stay: they are runs of their own. Raises UsageError if there is no such server.
    """
    from storage.retention import Pruned, drop_unused  # seldom needed, and it loads SQLAlchemy

    pruned = Pruned()
    number = _number(connection, name)

    def drop(counted: str, table: str, condition: str) -> None:
        gone = connection.exec_driver_sql(f"delete from {table} where {condition}", (number,))  # noqa: S608 # our names
        pruned.add(counted, gone.rowcount)

    for table in _OF_SERIES:
        drop(table, table, _IN_ITS_SERIES)
    for part in BOTH:
        drop("probes", part.probes, _ITS_OWN)
        drop("checks", part.checks, _ITS_OWN)
    for table in _OF_SERVERS:
        drop(table, table, _ITS_OWN)
    drop("servers", "servers", "id = ?")
    result_entries.forget(connection, number)
    drop_unused(connection, pruned)
    return pruned.rows


def rename(connection: DatabaseConnection, old: str, new: str) -> None:
    """Give a server another name, under which its history continues.

    An existing server with the new name is merged with it: changing a name in the configuration leaves two servers
    behind. Raises UsageError if no server has the old name, or if one run checked both.
    """
    number = _number(connection, old)
    other = connection.exec_driver_sql(_ID, (new,)).scalar()
    if other == number:
        raise UsageError(f"{old!r} is its name already")
    if other is not None:
        _join(connection, number, int(other), old, new)
    else:
        connection.exec_driver_sql("update servers set retired_at_ms = null where id = ?", (number,))
    connection.exec_driver_sql("update servers set name = ? where id = ?", (new, number))
    result_entries.forget(connection, number)


def _join(connection: DatabaseConnection, number: int, other: int, old: str, new: str) -> None:
    """Move all data of one server to the other and delete the first; the other is rolled again from its rows."""
    values = {"number": number, "other": other}
    first, second = (f"select run_id from ({_RUNS_OF.replace(':server', f':{name}')})" for name in values)  # noqa: S608 # our names
    if (run := connection.exec_driver_sql(f"{first} intersect {second} limit 1", values).scalar()) is not None:
        raise UsageError(f"{old!r} and {new!r} were both checked in run {run}: they are two servers")
    from storage.rollups.newest_rows import first_seen  # numpy takes long to import, and names are seldom taken
    from storage.rollups.states import set_back

    begins_ms = first_seen(connection, [other]).get(other)
    if begins_ms is not None and begins_ms < marks(connection).raw_from_ms:
        raise UsageError(f"{new!r} was checked for longer than its rows are kept; forget it first, or keep both")
    for table in _OF_SERIES:
        connection.exec_driver_sql(f"delete from {table} where {_IN_ITS_SERIES}", (other,))  # noqa: S608 # our names
    for table, server in (("series", other), ("incidents", other), ("rollup_state", other), ("breakers", number)):
        connection.exec_driver_sql(f"delete from {table} where {_ITS_OWN}", (server,))  # noqa: S608 # our names
    versions = connection.exec_driver_sql(
        "select coalesce(max(version), 0) from contract_versions where server_id = ?", (number,)
    ).scalar()
    connection.exec_driver_sql(
        "update contract_versions set server_id = ?, version = version + ? where server_id = ?",
        (number, versions, other),
    )
    of_parts = [table for part in BOTH for table in (part.checks, part.probes)]
    for table in (*of_parts, "run_cached", "breakers"):
        moved = f"update {table} set server_id = ? where server_id = ?"  # noqa: S608 # our names
        connection.exec_driver_sql(moved, (number, other))
    said = connection.exec_driver_sql(f"{_ALL} where id = ?", (other,)).one()[2:]
    connection.exec_driver_sql("delete from servers where id = ?", (other,))
    result_entries.forget(connection, other)
    kept = ", ".join(f"{name} = ?" for name in COLUMNS[2:])
    connection.exec_driver_sql(f"update servers set {kept} where id = ?", (*said, number))  # noqa: S608 # our names
    if begins_ms is not None:
        set_back(connection, [number], begins_ms // DAY_MS * DAY_MS)


def _number(connection: DatabaseConnection, name: str) -> int:
    number = connection.exec_driver_sql(_ID, (name,)).scalar()
    if number is None:
        from difflib import get_close_matches

        close = get_close_matches(name, connection.exec_driver_sql("select name from servers").scalars(), n=3)
        alike = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
        raise UsageError(f"no server {name!r}{alike}")
    return int(number)
