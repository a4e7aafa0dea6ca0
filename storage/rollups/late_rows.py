"""Late rows: servers whose rows arrive after their hour was rolled up are reset and rolled again from raw rows."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, func, select, update

from storage.rollups.watermarks import DAY_MS, marks
from storage.tables import rollup_marks, rollup_state


def note_written(connection: Connection, run_id: int, written: Mapping[int, int]) -> None:
    """Register rows that were just written: server id -> start of its check.

    A row that is too late for its bucket resets its server to that day, to be rolled again from raw rows. A row from
    before the retention of raw rows is left out of the buckets.
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
