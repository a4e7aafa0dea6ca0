"""The watermark of the rollup: its position, the work left, late rows, and the outcome that a row counts as."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from checker.probe_kinds import STAGES as _STAGES
from storage.connections import DatabaseConnection
from storage.raw_parts import in_both


class Outcome(IntEnum):
    """Outcome that a check or a probe counts as; those up to UNHEALTHY say something about the server."""

    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2
    UNKNOWN = 3
    MAINTENANCE = 4
    """The server was under maintenance; the result does not matter."""
    SUSPECT = 5
    """Its worker was too late for its times to be trusted."""


TOTAL = "total"
STAGES: tuple[str, ...] = (TOTAL, *_STAGES)
"""The timed parts of a probe: the total first, then its stages."""
CHECK = "check"
"""The kind of the buckets of whole checks."""
STATES = tuple(one.name.lower() for one in Outcome)
"""The columns of counts; those of times are the same with _ms, without the last."""

HOUR_MS = 3_600_000
DAY_HOURS = 24
DAY_MS = DAY_HOURS * HOUR_MS
_LONGEST_RUN_MS = DAY_MS
"""A run that has been running for longer has died on another machine."""
_CHECKS_AT_ONCE = 100_000
_UNROLLED_RUNS = in_both(
    """select c.run_id from rollup_state t cross join {checks} c
    on c.server_id = t.server_id and c.run_id >= :first_run where c.started_at_ms >= t.rolled_until_ms"""
)
_FIRST_UNROLLED = f"select min(run_id) from ({_UNROLLED_RUNS})"  # noqa: S608 # our names


class Marks(NamedTuple):
    """Start of the unrolled raw rows, and of all remaining raw rows."""

    first_run_id: int
    """No earlier run has unrolled rows."""
    raw_from_ms: int
    """Rows of checks that began earlier were pruned."""
    sorted_before_run_id: int
    """No run from this one on has rows in the order of servers."""


_MARKS = f"select {', '.join(Marks._fields)} from rollup_marks"  # noqa: S608 # our names


def marks(connection: DatabaseConnection) -> Marks:
    """The current marks."""
    return Marks(*connection.exec_driver_sql(_MARKS).one())


def add_servers(connection: DatabaseConnection, at_ms: int = 0) -> None:
    """Give every new server a state that is empty before the full hour that contains ``at_ms``."""
    new = (
        "insert into rollup_state (server_id, rolled_until_ms) select id, ? from servers "
        "where id not in (select server_id from rollup_state)"
    )
    connection.exec_driver_sql(new, (at_ms // HOUR_MS * HOUR_MS,))


def is_behind(connection: DatabaseConnection, now_ms: int) -> bool:
    """True if an hour has ended that is not rolled."""
    behind = "select 1 from rollup_state where rolled_until_ms < ? limit 1"
    return connection.exec_driver_sql(behind, (now_ms // HOUR_MS * HOUR_MS,)).scalar() is not None


def plan(connection: DatabaseConnection, now_ms: int) -> tuple[int, list[list[int]]]:
    """Time to roll up to, and servers in batches; no servers if there is nothing to do."""
    add_servers(connection)
    until_ms = rolled_until(connection, now_ms)
    behind = "select server_id from rollup_state where rolled_until_ms < ? order by server_id"
    servers = connection.exec_driver_sql(behind, (until_ms,)).scalars()
    return until_ms, _blocks(connection, servers, marks(connection).first_run_id)


def plan_rebuild(connection: DatabaseConnection, now_ms: int) -> tuple[int, list[list[int]]]:
    """Time to rebuild up to, and servers in batches: all of them, from their first raw row on."""
    add_servers(connection)
    servers = connection.exec_driver_sql("select server_id from rollup_state order by server_id").scalars()
    return rolled_until(connection, now_ms), _blocks(connection, servers, 0)


def rolled_until(connection: DatabaseConnection, now_ms: int) -> int:
    """Time up to which everything can be rolled: a full hour that no run is still writing to."""
    running = "select min(started_at_ms) from runs where state = 'running' and started_at_ms >= ?"
    first_ms = connection.exec_driver_sql(running, (now_ms - _LONGEST_RUN_MS,)).scalar()
    return int(min(now_ms, now_ms if first_ms is None else first_ms)) // HOUR_MS * HOUR_MS


def advance_first_run(connection: DatabaseConnection, now_ms: int) -> None:
    """Advance the mark of the first run that may have unrolled rows as far as possible."""
    at_least = marks(connection).first_run_id
    running = "select min(id) from runs where state = 'running' and started_at_ms >= ?"
    candidates = (
        connection.exec_driver_sql(_FIRST_UNROLLED, {"first_run": at_least}).scalar(),
        connection.exec_driver_sql(running, (now_ms - _LONGEST_RUN_MS,)).scalar(),
        (connection.exec_driver_sql("select max(id) from runs").scalar() or 0) + 1,
    )
    newest = min(one for one in candidates if one is not None)
    connection.exec_driver_sql("update rollup_marks set first_run_id = ?", (max(at_least, newest),))


def _blocks(connection: DatabaseConnection, servers: Sequence[int], first_run: int) -> list[list[int]]:
    """Batches of servers whose checks since this run fit in memory."""
    runs_since = connection.exec_driver_sql("select count(*) from runs where id >= ?", (first_run,)).scalar()
    size = max(1, _CHECKS_AT_ONCE // max(1, runs_since))
    return [list(servers[low : low + size]) for low in range(0, len(servers), size)]
