"""Late rows: servers whose rows arrive after their hour was rolled up are reset and rolled again from raw rows.

A row that is written once more after it was brought into the order of servers is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select, update

from checker.result_rows import ResultRows, rows_of
from storage.rollups.watermarks import DAY_MS
from storage.tables import rollup_marks, rollup_state, sorted_checks

_SORTED_BEFORE = "select sorted_before_run_id from rollup_marks"


def without_sorted(
    connection: Connection, run_id: int, results: ResultRows, server_ids: Mapping[str, int]
) -> ResultRows:
    """The results of a run whose rows are not among the sorted ones, of which the keys of the recent ones know nothing.

    Only runs that ended long ago have any, so results of other runs are not looked for.
    """
    if run_id >= connection.exec_driver_sql(_SORTED_BEFORE).scalar_one():
        return results
    there = set(connection.scalars(select(sorted_checks.c.server_id).where(sorted_checks.c.run_id == run_id)))
    return rows_of(one for one in results if server_ids[one.server] not in there)


_MARKS = "select first_run_id, raw_from_ms, (select max(rolled_until_ms) from rollup_state) from rollup_marks"
"""Literal SQL and one query, because it runs in every transaction."""


def note_written(connection: Connection, run_id: int, server_ids: Sequence[int], at_ms: Sequence[int]) -> None:
    """Register rows that were just written: their servers, and the starts of their checks.

    A row that is too late for its bucket resets its server to that day, to be rolled again from raw rows. A row from
    before the retention of raw rows is left out of the buckets.
    """
    first_run_id, raw_from_ms, rolled_until_ms = connection.exec_driver_sql(_MARKS).one()
    if run_id < first_run_id:
        connection.execute(update(rollup_marks).values(first_run_id=run_id))
    if min(at_ms) >= (rolled_until_ms or 0):
        return
    found = select(rollup_state.c.server_id, rollup_state.c.rolled_until_ms)
    rows = connection.execute(found.where(rollup_state.c.server_id.in_(list(server_ids))))
    until = {row.server_id: row.rolled_until_ms for row in rows}
    from storage.rollups.states import set_back  # numpy takes long to import, and rows are seldom late

    for server, late_ms in zip(server_ids, at_ms, strict=True):
        if raw_from_ms <= late_ms < until.get(server, 0):
            set_back(connection, [server], late_ms // DAY_MS * DAY_MS)
