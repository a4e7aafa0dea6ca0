"""Random histories of a few servers, written through the store as runs would, and what buckets a database holds."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import builders
from checker.model import Batch, Reason, RunState, Status
from storage.store import Store, open_store

THOROUGH = "MCP_STATUS_EXAMPLES" in os.environ
"""More examples than the suite has time for."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BUCKETS = ("hour_outcomes", "day_outcomes", "hour_latency", "day_latency")
_GAPS_MS = (60_000, 60_000, 300_000, 1000, HOUR_MS, 9 * HOUR_MS, 2 * DAY_MS)
_LATENESS_MS = (*(0,) * 12, -3 * HOUR_MS, -2 * DAY_MS, 3 * HOUR_MS)
_REASONS = {
    Status.DEGRADED: (Reason.SLOW, Reason.RATE_LIMITED),
    Status.UNHEALTHY: (Reason.DNS, Reason.DEADLINE),
    Status.UNKNOWN: (Reason.WORKER_LOST,),
}


def write_random(path: Path, chance: Random, *, rolling: bool = True, start_ms: int = builders.AT_MS) -> int:
    """Write up to 60 runs, some of them with late rows, rolled now and then; gives the time of the last one."""
    names = [f"server-{number}" for number in range(chance.randint(1, 4))]
    at_ms = start_ms + chance.randrange(DAY_MS)
    with open_store(path) as store:
        for _ in range(chance.randint(1, 60)):
            at_ms += chance.choice(_GAPS_MS)
            late_ms = chance.choice(_LATENESS_MS)
            write_run(store, names, at_ms, [_check(name, at_ms + late_ms, chance) for name in names])
            if rolling and chance.random() < 0.5:
                store.roll(at_ms + 7000)
    return at_ms


def write_run(store: Store, names: list[str], at_ms: int, checks: list[Any]) -> int:
    """One run of servers of these names, finished, with the checks that are not None."""
    run_id = store.begin_run(builders.run_info(started_at_ms=at_ms), [builders.server(name) for name in names])
    store.write(run_id, Batch(checks=tuple(check for check in checks if check is not None)))
    store.finish_run(run_id, RunState.FINISHED, at_ms + 6000)
    return run_id


def _check(name: str, at_ms: int, chance: Random) -> Any:
    if chance.random() < 0.2:
        return None
    status = chance.choices(list(Status), (5, 2, 3, 1))[0]
    reason = chance.choice(_REASONS[status]) if status in _REASONS else None
    at_ms += chance.randrange(5000)
    probes = tuple(
        builders.probe(
            kind,
            status=status,
            reason=reason,
            started_at_ms=at_ms + 3,
            duration_us=int(chance.lognormvariate(9, 1)),
        )
        for kind in ("mcp", "rest")
        if chance.random() < 0.8
    )
    return builders.check(
        name,
        status=status,
        reason=reason,
        started_at_ms=at_ms,
        suspect=chance.random() < 0.1,
        maintenance=chance.random() < 0.1,
        probes=probes,
    )


def buckets(path: Path) -> dict[str, list[Any]]:
    """All buckets and incidents, by the names of their series."""
    with closing(sqlite3.connect(path)) as connection:
        found = {
            table: connection.execute(
                f"select s.name, x.kind, x.stage, b.* from {table} b join series x on x.id = b.series_id "
                "join servers s on s.id = x.server_id order by 1, 2, 3, 5"
            ).fetchall()
            for table in BUCKETS
        }
        found["incidents"] = connection.execute("select * from incidents order by 1, 2").fetchall()
        found["states"] = connection.execute("select * from rollup_state order by 1").fetchall()
    return found


def forget_buckets(path: Path) -> None:
    """As if nothing had ever been rolled."""
    with closing(sqlite3.connect(path)) as connection:
        for table in (*BUCKETS, "incidents"):
            connection.execute(f"delete from {table}")
        columns = ("at_ms", "outcome", "known", "down_ms", "maintenance_ms", "down_until_ms", "rhythm")
        last = ", ".join(f"last_{name} = null" for name in columns)
        connection.execute(f"update rollup_state set rolled_until_ms = 0, {last}")
        connection.execute("update rollup_marks set first_run_id = 0")
        connection.commit()
