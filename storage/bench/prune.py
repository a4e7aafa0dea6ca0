"""What is dropped of load tests: whole runs, the oldest first, and never a baseline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, select

from checker.bench.results import BenchState
from storage.bench.tables import PARTS, bench_baselines, bench_runs

if TYPE_CHECKING:
    from storage.retention import Pruned


def steps(connection: Connection, before_ms: int) -> list[Callable[..., None]]:
    """What `storage.retention` does about runs that began before this time: a step for each."""
    return [partial(_drop_counted, run_id=run_id) for run_id in old_benchmarks(connection, before_ms, 0)]


def oldest_steps(connection: Connection) -> list[Callable[..., None]]:
    """What it does where the file is still too large: drop the oldest run."""
    return [partial(_drop_counted, run_id=run_id) for run_id in old_benchmarks(connection, None, 0)[:1]]


def drop(connection: Connection, run_id: int) -> None:
    """Delete a run with all its parts."""
    for table in PARTS:
        connection.execute(delete(table).where(table.c.run_id == run_id))
    connection.execute(delete(bench_runs).where(bench_runs.c.id == run_id))


def old_benchmarks(connection: Connection, before_ms: int | None, keep_last: int) -> list[int]:
    """The runs that began before this time, all that have ended where it is None; the oldest first.

    Without baselines and the newest ``keep_last`` of each name.
    """
    place = func.row_number().over(partition_by=bench_runs.c.name, order_by=bench_runs.c.id.desc()).label("place")
    ranked = select(bench_runs.c.id, bench_runs.c.started_at_ms, bench_runs.c.state, place).subquery()
    found = select(ranked.c.id).where(
        ranked.c.place > keep_last,
        ranked.c.id.not_in(select(bench_baselines.c.run_id)),
        ranked.c.state != BenchState.RUNNING if before_ms is None else ranked.c.started_at_ms < before_ms,
    )
    return list(connection.scalars(found.order_by(ranked.c.id)))


def _drop_counted(connection: Connection, pruned: Pruned, run_id: int) -> None:
    drop(connection, run_id)
    pruned.add(bench_runs.name, 1)
