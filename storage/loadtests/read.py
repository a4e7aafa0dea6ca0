"""Reading, listing, deleting and baselines of stored load tests."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct
from sqlalchemy import Table, and_, delete, func, not_, select

from checker.errors import UsageError
from checker.loadtest.results import BenchKind, BenchRun, BenchState, Calibration, Capacity, Slot
from checker.loadtest.summary import merged
from storage.connections import DatabaseConnection, errors_of
from storage.history import reading
from storage.loadtests.tables import (
    ALL,
    HEALTH,
    LEVELS,
    RUN,
    SERIES,
    SLOTS,
    STAGES,
    THRESHOLDS,
    Layout,
    Record,
    bench_baselines,
    bench_health,
    bench_levels,
    bench_runs,
    bench_series,
    bench_slots,
    bench_stages,
    bench_summaries,
    bench_thresholds,
)
from storage.retention import drop, old_benchmarks
from storage.rows import insert_or_update
from storage.store import Store, is_alive


class BenchLine(Struct, frozen=True, kw_only=True):
    """A load test without its measurements."""

    id: int
    name: str
    kind: BenchKind
    state: BenchState
    killed: bool
    """True if it is in the state running and its process, of this machine, is gone."""
    started_at_ms: int
    finished_at_ms: int | None
    plan_digest: str
    checker_version: str
    workers: int
    environment: Mapping[str, str]
    thresholds: int
    broken: int
    """Number of broken thresholds."""
    client_bound: str | None
    """The reason why the load generator was the limit; "" if it was not, None if that was not judged."""
    baselines: tuple[str, ...]
    """The names under which it is a baseline."""
    ok_per_s: float | None
    """Over all measured stages together, like the following fields; None until the run has ended."""
    failed_ratio: float | None
    p50_us: int | None
    p95_us: int | None
    p99_us: int | None

    @property
    def ended(self) -> bool:
        """True if the run ended as planned."""
        return self.state is BenchState.FINISHED


class Baseline(Struct, frozen=True):
    """A name for a run that other runs are compared with."""

    name: str
    run_id: int
    set_at_ms: int
    run_name: str
    started_at_ms: int


def bench_list(
    path: Path,
    *,
    name: str | None = None,
    plan_digest: str | None = None,
    state: BenchState | None = None,
    limit: int | None = None,
) -> tuple[BenchLine, ...]:
    """The load tests, the newest first, filtered by name, plan and state.

    Raises StorageError where there is no history.
    """
    given = {"name": name, "plan_digest": plan_digest, "state": state}
    wanted = [bench_runs.c[column] == str(value) for column, value in given.items() if value is not None]
    found = select(*_COLUMNS).outerjoin(bench_summaries, _WHOLE).where(*wanted)
    with reading(path) as connection, errors_of(path):
        rows = connection.execute(found.order_by(bench_runs.c.id.desc()).limit(limit)).mappings().all()
        named: dict[int, tuple[str, ...]] = {}
        for run_id, baseline in connection.execute(_NAMES):
            named[run_id] = (*named.get(run_id, ()), baseline)
    return tuple(_line(dict(row), named.get(row["id"], ())) for row in rows)


def bench_baselines_of(path: Path) -> tuple[Baseline, ...]:
    """The baselines by name."""
    found = (
        select(bench_baselines, bench_runs.c.name.label("run_name"), bench_runs.c.started_at_ms)
        .join(bench_runs, bench_runs.c.id == bench_baselines.c.run_id)
        .order_by(bench_baselines.c.name)
    )
    with reading(path) as connection, errors_of(path):
        return tuple(Baseline(**row) for row in connection.execute(found).mappings())


_NAMES = select(bench_baselines.c.run_id, bench_baselines.c.name).order_by(bench_baselines.c.name)
_WHOLE = and_(
    bench_summaries.c.run_id == bench_runs.c.id, bench_summaries.c.series == ALL, bench_summaries.c.stage == ALL
)
_OF_RUN = select(func.count()).where(bench_thresholds.c.run_id == bench_runs.c.id).correlate(bench_runs)
_COLUMNS: list[Any] = [
    *(bench_runs.c[name] for name in ("id", "name", "kind", "state", "started_at_ms", "finished_at_ms")),
    *(bench_runs.c[name] for name in ("plan_digest", "checker_version", "workers", "environment", "client_bound")),
    *(bench_runs.c[name] for name in ("host", "pid")),
    _OF_RUN.scalar_subquery().label("thresholds"),
    _OF_RUN.where(not_(bench_thresholds.c.passed)).scalar_subquery().label("broken"),
    *(bench_summaries.c[name] for name in ("ok_per_s", "failed_ratio")),
    *(bench_summaries.c[f"response_{word}_us"].label(f"{word}_us") for word in ("p50", "p95", "p99")),
]


def _line(row: dict[str, Any], baselines: tuple[str, ...]) -> BenchLine:
    host, pid = row.pop("host"), row.pop("pid")
    row["environment"] = orjson.loads(row["environment"] or "{}")
    state = BenchState(row.pop("state"))
    return BenchLine(
        **{**row, "kind": BenchKind(row["kind"])},
        state=state,
        killed=state is BenchState.RUNNING and host == socket.gethostname() and not is_alive(pid),
        baselines=baselines,
    )


def bench_run(path: Path, run_id: int, *, health: bool = True) -> BenchRun:
    """The load test of this number, with its slots by time, stage and series, each key once.

    Without ``health`` the workers' seconds, which comparisons do not need, are not read. Raises UsageError if there is
    no such run, StorageError if there is no history.
    """
    with reading(path) as connection, errors_of(path):
        row = connection.execute(select(bench_runs).where(bench_runs.c.id == run_id)).mappings().one_or_none()
        if row is None:
            newest = connection.scalar(select(func.max(bench_runs.c.id)))
            there = f"the newest is {newest}" if newest else "there is none yet"
            raise UsageError(f"{path}: no load test {run_id}; {there}; `mcp-status bench list` shows them")
        levels = _records(connection, bench_levels, LEVELS, run_id)
        return RUN.record(
            {**row, "kind": BenchKind(row["kind"]), "state": BenchState(row["state"])},
            id=run_id,
            series=_records(connection, bench_series, SERIES, run_id),
            stages=_records(connection, bench_stages, STAGES, run_id),
            slots=_slots(connection, run_id),
            health=_records(connection, bench_health, HEALTH, run_id) if health else (),
            calibrations=tuple(Calibration(**one) for one in orjson.loads(row["calibrations"])),
            thresholds=_records(connection, bench_thresholds, THRESHOLDS, run_id),
            capacity=Capacity(**orjson.loads(row["capacity"]), levels=levels) if row["capacity"] else None,
            notes=tuple(orjson.loads(row["notes"])),
        )


def _records(connection: DatabaseConnection, table: Table, layout: Layout[Record], run_id: int) -> tuple[Record, ...]:
    """The records of a run in the order of the table's key."""
    columns: list[Any] = [table.c[name] for name in layout.names]
    found = select(*columns).where(table.c.run_id == run_id).order_by(*table.primary_key.columns)
    return tuple(layout.record(row) for row in connection.execute(found).mappings())


def _slots(connection: DatabaseConnection, run_id: int) -> tuple[Slot, ...]:
    """The slots of a run; the parts of a slot that an unfinished run has appended are summed."""
    return merged(_records(connection, bench_slots, SLOTS, run_id))


def set_baseline(store: Store, name: str, run_id: int, now_ms: int) -> None:
    """Give a run this name, which is taken from any other run.

    Raises UsageError for a missing or unfinished run, and for a name that has another meaning in place of a run.
    """
    if not name or name.isdigit() or name in ("last", "last-good") or any(one in name for one in ":/, "):
        raise UsageError(f"{name!r}: no name for a baseline; use letters, digits, - and _, and none of last, last-good")
    with store.transaction() as connection:
        state = connection.scalar(select(bench_runs.c.state).where(bench_runs.c.id == run_id))
        if state is None:
            raise UsageError(f"{store.path}: no load test {run_id}; `mcp-status bench list` shows them")
        if state != BenchState.FINISHED:
            raise UsageError(f"load test {run_id} is {state}, not finished: it can be no baseline")
        insert_or_update(
            connection, bench_baselines.name, "name", ("name", "run_id", "set_at_ms"), [(name, run_id, now_ms)]
        )


def remove_baseline(store: Store, name: str) -> None:
    """Remove the name; the run stays. Raises UsageError if there is no such name."""
    with store.transaction() as connection:
        if not connection.execute(delete(bench_baselines).where(bench_baselines.c.name == name)).rowcount:
            there = ", ".join(connection.scalars(select(bench_baselines.c.name))) or "none"
            raise UsageError(f"{store.path}: no baseline {name!r}; there are: {there}")


def delete_benchmarks(store: Store, run_ids: Collection[int]) -> None:
    """Delete these runs, all or none. Raises UsageError for a baseline or a missing run."""
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
    """Delete runs that began before this time, or all if it is None; returns their numbers.

    The newest ``keep_last`` of each name, baselines, and runs that may still be in progress are kept.
    """
    with store.transaction() as connection:
        old = old_benchmarks(connection, before_ms, keep_last)
    for run_id in old:
        with store.transaction() as connection:
            drop(connection, run_id)
    return old
