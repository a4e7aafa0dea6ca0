"""Late rows: servers whose rows arrive after their hour was rolled up are reset and rolled again from raw rows.

A row that is written once more after it was brought into the order of servers is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from checker.result_rows import ResultRows, rows_of
from storage.connections import DatabaseConnection
from storage.rollups.watermarks import DAY_MS

_IN_ORDER = "select server_id from sorted_checks where run_id = ?"
_SORTED_BEFORE = "select sorted_before_run_id from rollup_marks"


def without_sorted(
    connection: DatabaseConnection, run_id: int, results: ResultRows, server_ids: Mapping[str, int]
) -> ResultRows:
    """The results of a run whose rows are not among the sorted ones, of which the keys of the recent ones know nothing.

    Only runs that ended long ago have any, so results of other runs are not looked for.
    """
    if run_id >= connection.exec_driver_sql(_SORTED_BEFORE).scalar():
        return results
    there = set(connection.exec_driver_sql(_IN_ORDER, (run_id,)).scalars())
    return rows_of(one for one in results if server_ids[one.server] not in there)


_ROLLED = """select server_id, rolled_until_ms from rollup_state
    where server_id in (select value from json_each(?))"""
_MARKS = "select first_run_id, raw_from_ms, (select max(rolled_until_ms) from rollup_state) from rollup_marks"
"""Literal SQL and one query, because it runs in every transaction."""


def note_written(connection: DatabaseConnection, run_id: int, server_ids: Sequence[int], at_ms: Sequence[int]) -> None:
    """Register rows that were just written: their servers, and the starts of their checks.

    A row that is too late for its bucket resets its server to that day, to be rolled again from raw rows. A row from
    before the retention of raw rows is left out of the buckets.
    """
    first_run_id, raw_from_ms, rolled_until_ms = connection.exec_driver_sql(_MARKS).one()
    if run_id < first_run_id:
        connection.exec_driver_sql("update rollup_marks set first_run_id = ?", (run_id,))
    if min(at_ms) >= (rolled_until_ms or 0):
        return
    until = dict(connection.exec_driver_sql(_ROLLED, (orjson.dumps(list(server_ids)).decode(),)).all())
    from storage.rollups.states import set_back  # numpy takes long to import, and rows are seldom late

    for server, late_ms in zip(server_ids, at_ms, strict=True):
        if raw_from_ms <= late_ms < until.get(server, 0):
            set_back(connection, [server], late_ms // DAY_MS * DAY_MS)
