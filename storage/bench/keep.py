"""Which load tests are kept: baselines by their names, and others until they are deleted."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, select

from checker.bench.results import BenchState
from checker.errors import UsageError
from storage.bench.prune import drop, old_benchmarks
from storage.bench.tables import bench_baselines, bench_runs
from storage.rows import insert_or_update
from storage.store import Store


def set_baseline(store: Store, name: str, run_id: int, now_ms: int) -> None:
    """Give a run this name, in the place of the run that had it.

    Raises UsageError for a run that is not there or has not finished, and for a name that reads as something else
    where runs are named.
    """
    if not name or name.isdigit() or name in ("last", "last-good") or any(one in name for one in ":/, "):
        raise UsageError(f"{name!r}: no name for a baseline; use letters, digits, - and _, and none of last, last-good")
    with store.transaction() as connection:
        state = connection.scalar(select(bench_runs.c.state).where(bench_runs.c.id == run_id))
        if state is None:
            raise UsageError(f"{store.path}: no load test {run_id}; `mcp-status bench list` shows them")
        if state != BenchState.FINISHED:
            raise UsageError(f"load test {run_id} is {state}, not finished: it can be no baseline")
        insert_or_update(connection, bench_baselines, "name", [{"name": name, "run_id": run_id, "set_at_ms": now_ms}])


def remove_baseline(store: Store, name: str) -> None:
    """Forget the name; the run stays. Raises UsageError where there is no such name."""
    with store.transaction() as connection:
        if not connection.execute(delete(bench_baselines).where(bench_baselines.c.name == name)).rowcount:
            there = ", ".join(connection.scalars(select(bench_baselines.c.name))) or "none"
            raise UsageError(f"{store.path}: no baseline {name!r}; there are: {there}")


def delete_benchmarks(store: Store, run_ids: Collection[int]) -> None:
    """Delete these runs, all or none. Raises UsageError for one that is a baseline or is not there."""
    with store.transaction() as connection:
        there = set(connection.scalars(select(bench_runs.c.id).where(bench_runs.c.id.in_(run_ids))))
        if missing := sorted(set(run_ids) - there):
            raise UsageError(f"{store.path}: no load test {missing[0]}; `mcp-status bench list` shows them")
        named = select(bench_baselines.c.run_id, bench_baselines.c.name).where(bench_baselines.c.run_id.in_(run_ids))
        for run_id, name in connection.execute(named):
            raise UsageError(f"load test {run_id} is the baseline {name!r}; `mcp-status bench baseline remove {name}`")
        for run_id in run_ids:
            drop(connection, run_id)


def prune_benchmarks(store: Store, before_ms: int | None = None, keep_last: int = 0) -> list[int]:
    """Delete runs that began before this time, or all where it is None; gives their numbers.

    The newest ``keep_last`` of each name, baselines, and what may still be running stay.
    """
    with store.transaction() as connection:
        old = old_benchmarks(connection, before_ms, keep_last)
    for run_id in old:
        with store.transaction() as connection:
            drop(connection, run_id)
    return old
