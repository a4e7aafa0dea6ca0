"""How far the history is rolled, what is left to do, and what a row means that comes late; without numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text, update

from storage.tables import rollup_marks, rollup_state, runs

HOUR_MS = 3_600_000
DAY_HOURS = 24
DAY_MS = DAY_HOURS * HOUR_MS
_LONGEST_RUN_MS = DAY_MS
"""A run that says it is running for longer has died on another machine."""
_CHECKS_AT_ONCE = 100_000
_RUN_RANGE = """select min(c.run_id) from rollup_state t cross join checks c
    on c.server_id = t.server_id and c.run_id >= :first_run where c.started_at_ms >= t.rolled_until_ms"""


@dataclass(frozen=True, slots=True)
class Marks:
    """Where raw rows begin that are not rolled, and that are there at all."""

    first_run_id: int
    """No run before it has rows that are not rolled."""
    raw_from_ms: int
    """Rows of checks that began before it were pruned."""


def marks(connection: Connection) -> Marks:
    """The marks as they stand."""
    return Marks(*connection.execute(select(rollup_marks.c.first_run_id, rollup_marks.c.raw_from_ms)).one())


def add_servers(connection: Connection, at_ms: int = 0) -> None:
    """Give every new server a state: there is nothing of it before the full hour that ``at_ms`` is in."""
    new = text(
        "insert into rollup_state (server_id, rolled_until_ms) select id, :until_ms from servers "
        "where id not in (select server_id from rollup_state)"
    )
    connection.execute(new, {"until_ms": at_ms // HOUR_MS * HOUR_MS})


def is_behind(connection: Connection, now_ms: int) -> bool:
    """Whether an hour is over that is not rolled."""
    behind = select(rollup_state.c.server_id).where(rollup_state.c.rolled_until_ms < now_ms // HOUR_MS * HOUR_MS)
    return connection.scalar(behind.limit(1)) is not None


def plan(connection: Connection, now_ms: int) -> tuple[int, list[list[int]]]:
    """Up to where to roll, and which servers at a time; no servers where nothing is to be done."""
    add_servers(connection)
    until_ms = rolled_until(connection, now_ms)
    behind = select(rollup_state.c.server_id).where(rollup_state.c.rolled_until_ms < until_ms)
    servers = list(connection.scalars(behind.order_by(rollup_state.c.server_id)))
    return until_ms, _blocks(connection, servers, marks(connection).first_run_id)


def plan_rebuild(connection: Connection, now_ms: int) -> tuple[int, list[list[int]]]:
    """Up to where to roll anew, and which servers at a time: all of them, from their first raw row on."""
    add_servers(connection)
    servers = list(connection.scalars(select(rollup_state.c.server_id).order_by(rollup_state.c.server_id)))
    return rolled_until(connection, now_ms), _blocks(connection, servers, 0)


def rolled_until(connection: Connection, now_ms: int) -> int:
    """Up to where everything can be rolled: a full hour that no run is still writing to."""
    running = select(func.min(runs.c.started_at_ms)).where(
        runs.c.state == "running", runs.c.started_at_ms >= now_ms - _LONGEST_RUN_MS
    )
    first_ms = connection.scalar(running)
    return int(min(now_ms, now_ms if first_ms is None else first_ms)) // HOUR_MS * HOUR_MS


def advance_first_run(connection: Connection, now_ms: int) -> None:
    """Move the mark of runs that may have rows that are not rolled as far as it goes."""
    at_least = marks(connection).first_run_id
    running = select(func.min(runs.c.id)).where(
        runs.c.state == "running", runs.c.started_at_ms >= now_ms - _LONGEST_RUN_MS
    )
    candidates = (
        connection.scalar(text(_RUN_RANGE), {"first_run": at_least}),
        connection.scalar(running),
        (connection.scalar(select(func.max(runs.c.id))) or 0) + 1,
    )
    newest = min(one for one in candidates if one is not None)
    connection.execute(update(rollup_marks).values(first_run_id=max(at_least, newest)))


def note_written(connection: Connection, run_id: int, written: Mapping[int, int]) -> None:
    """Take account of rows that were just written: server id -> when its check began.

    A row that is late for its bucket sets its server back to that day, to be rolled again from raw rows. One that is
    older than what raw rows are kept of is left out of the buckets.
    """
    if not written:
        return
    mark = marks(connection)
    if run_id < mark.first_run_id:
        connection.execute(update(rollup_marks).values(first_run_id=run_id))
    if min(written.values()) >= (connection.scalar(select(func.max(rollup_state.c.rolled_until_ms))) or 0):
        return
    found = select(rollup_state.c.server_id, rollup_state.c.rolled_until_ms)
    rows = connection.execute(found.where(rollup_state.c.server_id.in_(list(written))))
    until = {row.server_id: row.rolled_until_ms for row in rows}
    from storage.rollups.states import set_back  # numpy takes long to import, and rows are seldom late

    for server, at_ms in written.items():
        if mark.raw_from_ms <= at_ms < until.get(server, 0):
            set_back(connection, [server], at_ms // DAY_MS * DAY_MS)


def _blocks(connection: Connection, servers: Sequence[int], first_run: int) -> list[list[int]]:
    """So many servers at a time that their checks since this run fit in memory."""
    runs_since = connection.scalar(select(func.count()).select_from(runs).where(runs.c.id >= first_run)) or 0
    size = max(1, _CHECKS_AT_ONCE // max(1, runs_since))
    return [list(servers[low : low + size]) for low in range(0, len(servers), size)]
