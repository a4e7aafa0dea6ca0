"""The state of each server before its next row, as it is saved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson

from storage.connections import DatabaseConnection
from storage.rollups.check_interval import rhythm_of
from storage.rollups.fold import States
from storage.rows import of_ids

FIELDS = ("at_ms", "outcome", "known", "down_ms", "maintenance_ms", "down_until_ms")
"""The numbers of a state; its columns have a prefix."""
_COLUMNS = ("server_id", "rolled_until_ms", *FIELDS)
_NONE = dict.fromkeys(("down_ms", "maintenance_ms", "down_until_ms"), 0)
"""Values that stand for null, if not -1."""


def states_of(connection: DatabaseConnection, servers: Sequence[int] | None, prefix: str = "last") -> States:
    """The states of these servers, or of all, after the rolled rows or, with ``prefix`` base, after the pruned ones."""
    columns = ", ".join(f"{prefix}_{name}" for name in (*FIELDS, "rhythm"))
    those = "" if servers is None else f"where server_id in {of_ids(servers)}"
    found = f"select server_id, rolled_until_ms, {columns} from rollup_state {those} order by server_id"  # noqa: S608
    rows = connection.exec_driver_sql(found).all()
    numbers = [
        [_NONE.get(name, -1) if one is None else one for name, one in zip(_COLUMNS, row[:-1], strict=True)]
        for row in rows
    ]
    table = np.array(numbers, np.int64).reshape(-1, len(_COLUMNS))
    rhythm = [rhythm_of(None if row[-1] is None else orjson.loads(row[-1])) for row in rows]
    server, from_ms, at_ms, outcome, known, down_ms, maintenance_ms, down_until_ms = table.T
    return States(server, from_ms, at_ms, outcome, known, down_ms, maintenance_ms, down_until_ms, rhythm)
