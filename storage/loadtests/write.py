"""Writing of load tests by the sole writer: begin, append, finish, with percentiles for SQL."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
from msgspec.structs import asdict, replace
from sqlalchemy import Table, delete, insert, update

from checker.errors import StorageError
from checker.loadtest.protocols import Second
from checker.loadtest.results import BenchRun, Capacity, Slot, WorkerSecond
from checker.loadtest.summary import Summary, covered_s, in_time, measured_stages, merged, summarize
from storage.connections import DatabaseConnection
from storage.loadtests.tables import (
    ALL,
    CAPACITY_FIELDS,
    COUNTS,
    HEALTH,
    LEVELS,
    PARTS,
    QUANTILES,
    RATES,
    RUN,
    SERIES,
    SLOTS,
    STAGES,
    THRESHOLDS,
    TIMED,
    Layout,
    bench_failures,
    bench_health,
    bench_levels,
    bench_runs,
    bench_series,
    bench_slots,
    bench_stages,
    bench_summaries,
    bench_thresholds,
)
from storage.rows import insert_new, insert_rows
from storage.store import Store

_NAMES = tuple(column.name for column in bench_summaries.columns)


def write_summaries(connection: DatabaseConnection, run_id: int, run: BenchRun) -> None:
    """Write the summaries and the failures of a run with complete slots; none may be stored yet."""
    groups = _grouped(run.slots)
    insert_rows(connection, bench_summaries.name, _NAMES, [(run_id, *row) for row in _summaries(run, groups)])
    insert_rows(
        connection, bench_failures.name, ("run_id", "series", "stage", "reason", "failed"), _failures(run_id, groups)
    )


_Groups = dict[tuple[int, int], list[Slot]]
"""Series and stage -> their slots."""


def _grouped(slots: Sequence[Slot]) -> _Groups:
    groups: _Groups = {}
    for slot in slots:
        groups.setdefault((slot.series, slot.stage), []).append(slot)
    return groups


def _summaries(run: BenchRun, groups: _Groups) -> Iterator[tuple[Any, ...]]:
    """The values of each row, in the order of the table's columns without the run."""
    every_measured = measured_stages(run)
    for series, one in enumerate(run.series):
        mine = [stage for stage in every_measured if run.stages[stage].scenario == one.scenario]
        yield _summary_row(run, series, ALL, groups, [(series, stage) for stage in mine], covered_s(run, mine))
        for stage in range(len(run.stages)):
            if (series, stage) in groups:
                yield _summary_row(run, series, stage, groups, [(series, stage)], covered_s(run, [stage]))
    numbers = range(len(run.series))
    whole = [(series, stage) for series in numbers for stage in every_measured]
    yield _summary_row(run, ALL, ALL, groups, whole, covered_s(run, every_measured))
    for stage in range(len(run.stages)):
        yield _summary_row(run, ALL, stage, groups, [(series, stage) for series in numbers], covered_s(run, [stage]))


def _summary_row(
    run: BenchRun, series: int, stage: int, groups: _Groups, keys: Sequence[tuple[int, int]], seconds: float
) -> tuple[Any, ...]:
    slots = (slot for key in keys for slot in groups.get(key, ()))
    summary = summarize(in_time(run, slots, {stage_ for _, stage_ in keys}), seconds)
    counts = [getattr(summary, name) for name in COUNTS]
    rates = [getattr(summary, name) for name in RATES]
    return (series, stage, seconds, *counts, *rates, *_times(summary))


def _times(summary: Summary) -> Iterator[int | None]:
    """The percentiles of every histogram in whole microseconds."""
    for histogram in TIMED:
        found = summary.percentiles(histogram)
        for word in QUANTILES:
            yield None if found is None else round(getattr(found, word))


def _failures(run_id: int, groups: _Groups) -> list[tuple[Any, ...]]:
    rows = []
    for (series, stage), slots in sorted(groups.items()):
        reasons: Counter[str] = Counter()
        for slot in slots:
            reasons.update(slot.reasons)
        rows += [(run_id, series, stage, reason, number) for reason, number in reasons.items()]
    return rows


class RecordingWriter:
    """A watcher that stores every second of a load test at once.

    A killed run keeps everything up to then and stays in the state running. Each step raises StorageError and
    StorageBusy.
    """

    def __init__(self, store: Store, run: BenchRun) -> None:
        """Begin the run: its row is stored from now on."""
        self._store, self._parts = store, 0
        self._known: tuple[Any, ...] = ()
        values = {**_row(run), "host": socket.gethostname(), "pid": os.getpid()}
        with store.transaction() as connection:
            key = connection.execute(insert(bench_runs).values(values)).inserted_primary_key
            if key is None:
                raise StorageError(f"{store.path}: the load test got no number")
            self.run_id = int(key[0])
            self._describe(connection, run)

    def __call__(self, second: Second) -> None:
        """Store an update; never ends the run."""
        self.append(second.run, second.slots, second.health)

    def append(self, run: BenchRun, slots: Iterable[Slot], health: Sequence[WorkerSecond]) -> None:
        """Append slots and health; ``run`` has the series and stages that they refer to."""
        self._parts += 1
        with self._store.transaction() as connection:
            self._describe(connection, run)
            self._write_slots(connection, merged(slots))
            _write(connection, bench_health, HEALTH, self.run_id, health)

    def finish(self, run: BenchRun, client_bound: str | None = None) -> BenchRun:
        """Replace the appended parts by the whole run, with its summaries; returns it with its id.

        Slots of one key are added together. ``client_bound`` is the reason why the load generator was the limit, "" if
        it was not, None if that was not judged.
        """
        whole = replace(run, id=self.run_id, slots=merged(run.slots))
        self._parts, self._known = 0, ()
        with self._store.transaction() as connection:
            for table in PARTS:
                connection.execute(delete(table).where(table.c.run_id == self.run_id))
            self._describe(connection, whole, client_bound)
            self._write_slots(connection, whole.slots)
            _write(connection, bench_health, HEALTH, self.run_id, whole.health)
            levels = whole.capacity.levels if whole.capacity else ()
            for table, layout, records in (
                (bench_thresholds, THRESHOLDS, whole.thresholds),
                (bench_levels, LEVELS, levels),
            ):
                _write(connection, table, layout, self.run_id, records, "place")
            write_summaries(connection, self.run_id, whole)
        return whole

    def _describe(self, connection: DatabaseConnection, run: BenchRun, client_bound: str | None = None) -> None:
        """Write changes of the run's own row and its series."""
        row = {**_row(run), "client_bound": client_bound}
        known = (row, run.series, run.stages)
        if known == self._known:
            return
        self._known = known
        connection.execute(update(bench_runs).where(bench_runs.c.id == self.run_id).values(row))
        for table, layout, records, place in (
            (bench_series, SERIES, run.series, "series"),
            (bench_stages, STAGES, run.stages, "stage"),
        ):
            connection.execute(delete(table).where(table.c.run_id == self.run_id))
            _write(connection, table, layout, self.run_id, records, place)

    def _write_slots(self, connection: DatabaseConnection, slots: Sequence[Slot]) -> None:
        rows = [(self.run_id, self._parts, *SLOTS.values(slot)) for slot in slots]
        insert_rows(connection, bench_slots.name, ("run_id", "part", *SLOTS.names), rows)


def _row(run: BenchRun) -> dict[str, Any]:
    """The columns of the run's own row."""
    return {
        **dict(zip(RUN.names, RUN.values(run), strict=True)),
        "calibrations": orjson.dumps([asdict(one) for one in run.calibrations]).decode(),
        "capacity": _capacity(run.capacity),
        "notes": orjson.dumps(run.notes).decode(),
    }


def _capacity(capacity: Capacity | None) -> str | None:
    """The result of a stress test, without its levels, which are rows."""
    if capacity is None:
        return None
    return orjson.dumps({name: getattr(capacity, name) for name in CAPACITY_FIELDS}).decode()


def _write(
    connection: DatabaseConnection,
    table: Table,
    layout: Layout[Any],
    run_id: int,
    records: Sequence[Any],
    place: str = "",
) -> None:
    """Write records, with their index in the column ``place``, if there is one."""
    names = ("run_id", place, *layout.names) if place else ("run_id", *layout.names)
    rows = (
        (run_id, number, *layout.values(record)) if place else (run_id, *layout.values(record))
        for number, record in enumerate(records)
    )
    insert_new(connection, table.name, (dict(zip(names, row, strict=True)) for row in rows))
