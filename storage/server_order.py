"""Bringing recent rows into the order of servers, in bulk.

A row in the order of servers goes to the page of its server: with one row at a time each costs pages of its own, the
more the larger the history is. So rows are appended in the order of runs, and move when there is a page of each server
at once. They move in slices of servers, each a transaction: check and probes leave one part and come to the other
together, so that a move can be killed between any two slices, and nobody ever sees a row twice or not at all.
"""

from __future__ import annotations

import orjson
from msgspec import Struct
from sqlalchemy import Table, func, select, text, update

from storage.connections import DatabaseConnection
from storage.rollups.watermarks import marks
from storage.tables import recent_checks, rollup_marks, runs, sorted_checks, sorted_probes

ROWS_OF_A_PAGE = 50
"""Checks of a server that fill about a page: with so many of each, on average, they are moved."""
CHECKS_AT_ONCE = 2000
"""Checks in a slice, unless one server alone has more: others can write after some hundredths of a second."""
CHECKS_AFTER_A_ROLL = 200_000
"""Checks moved after a roll, unless it rolled half as many: some seconds; the others are moved after the next."""
_OF_SERVERS = "server_id in (select value from json_each(:servers)) and run_id < :before"


class Slice(Struct, frozen=True):
    """Rows that move together: of these servers, and of runs before this one."""

    servers: list[int]
    before_run: int


def plan(
    connection: DatabaseConnection,
    rolled: int,
    rows_of_a_page: int = ROWS_OF_A_PAGE,
    checks_at_once: int = CHECKS_AT_ONCE,
) -> list[Slice]:
    """The slices to move after a roll of so many checks; none as long as there are too few rolled ones of each server.

    Servers that have less than half of what fills a page wait for more.
    """
    before = marks(connection).first_run_id
    first = connection.scalar(select(func.min(recent_checks.c.run_id)))
    if first is None or not _is_enough(connection, first, before, rows_of_a_page):
        return []
    connection.execute(
        update(rollup_marks).values(sorted_before_run_id=func.max(rollup_marks.c.sorted_before_run_id, before))
    )
    number = func.count()
    of_each = select(recent_checks.c.server_id, number).where(recent_checks.c.run_id < before)
    of_each = of_each.group_by(recent_checks.c.server_id).having(number >= rows_of_a_page // 2)
    slices: list[Slice] = []
    left, room = max(CHECKS_AFTER_A_ROLL, 2 * rolled), 0
    for server, checks in connection.execute(of_each.order_by(recent_checks.c.server_id)).all():
        if left <= 0:
            break
        if room < checks:
            slices.append(Slice([], before))
            room = checks_at_once
        slices[-1].servers.append(server)
        room -= checks
        left -= checks
    return slices


def move(connection: DatabaseConnection, one: Slice) -> None:
    """Move the rows of a slice."""
    values = {"servers": orjson.dumps(one.servers).decode(), "before": one.before_run}
    for statement in _MOVE:
        connection.execute(statement, values)


def _is_enough(connection: DatabaseConnection, first: int, before: int, rows_of_a_page: int) -> bool:
    """True if the runs in this range have so many checks of each server, as far as their own numbers say.

    Runs of the same configuration check the same servers: the rows themselves need not be counted.
    """
    checked = runs.c.servers_expected - runs.c.servers_cached
    of_each = (
        select(func.sum(checked).label("checks"), func.max(checked).label("servers"))
        .where(runs.c.id >= first, runs.c.id < before)
        .group_by(runs.c.config_path, runs.c.environment)
        .subquery()
    )
    made, servers = connection.execute(select(func.sum(of_each.c.checks), func.sum(of_each.c.servers))).one()
    return (made or 0) >= rows_of_a_page * (servers or 1)


def _columns(table: Table, prefix: str = "") -> str:
    return ", ".join(f"{prefix}{column.name}" for column in table.columns)


_CHECK_COLUMNS, _PROBE_COLUMNS = _columns(sorted_checks), _columns(sorted_probes)
# By time, which is nearly the order of runs, and the one that the index has.
_MOVE = (
    text(
        f"""insert into sorted_checks ({_CHECK_COLUMNS}) select {_CHECK_COLUMNS} from recent_checks
        where {_OF_SERVERS} order by server_id, started_at_ms on conflict do nothing"""  # noqa: S608 # our names
    ),
    text(
        f"""insert into sorted_probes ({_PROBE_COLUMNS}) select {_columns(sorted_probes, "p.")}
        from recent_checks c cross join recent_probes p on p.run_id = c.run_id and p.server_id = c.server_id
        where c.{_OF_SERVERS.replace(" run_id", " c.run_id")}
        order by c.server_id, c.started_at_ms on conflict do nothing"""  # noqa: S608 # our names
    ),
    text(
        f"""delete from recent_probes where (run_id, server_id) in (
        select run_id, server_id from recent_checks where {_OF_SERVERS})"""  # noqa: S608 # our names
    ),
    text(f"delete from recent_checks where {_OF_SERVERS}"),  # noqa: S608 # our names
)
