"""Load tests read back as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Table, func, select

from checker.bench.merge import merged
from checker.bench.results import BenchKind, BenchRun, BenchState, Calibration, Capacity, Slot
from checker.errors import UsageError
from storage.bench.layout import Layout, Record
from storage.bench.tables import (
    HEALTH,
    LEVELS,
    RUN,
    SERIES,
    SLOTS,
    STAGES,
    THRESHOLDS,
    bench_health,
    bench_levels,
    bench_runs,
    bench_series,
    bench_slots,
    bench_stages,
    bench_thresholds,
)
from storage.queries import reading
from storage.sqlite import errors_of


def bench_run(path: Path, run_id: int, *, health: bool = True) -> BenchRun:
    """The load test of this number, with its slots by time, stage and series, each key once.

    Without ``health`` nothing of the workers is read, which comparisons do not need. Raises UsageError where there is
    no such run, StorageError where there is no history.
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


def _records(connection: Connection, table: Table, layout: Layout[Record], run_id: int) -> tuple[Record, ...]:
    """The records of a run in the order of the table's key."""
    columns: list[Any] = [table.c[name] for name in layout.names]
    found = select(*columns).where(table.c.run_id == run_id).order_by(*table.primary_key.columns)
    return tuple(layout.record(row) for row in connection.execute(found).mappings())


def _slots(connection: Connection, run_id: int) -> tuple[Slot, ...]:
    """The slots of a run; what a run that has not ended has added to one is added together."""
    return merged(_records(connection, bench_slots, SLOTS, run_id))
