"""Late rows: servers whose rows arrive after their hour was rolled up are reset and rolled again from raw rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from storage.rollups.watermarks import DAY_MS
from storage.tables import rollup_marks, rollup_state

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
