"""The tables of load tests: the run, its series and stages, slots with histograms, and what they come to.

Offsets from a run's epoch and levels are as the records have them, in seconds and per second; all durations that were
measured are whole microseconds, and wall-clock times milliseconds.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import fields
from sqlalchemy import Column, Float, ForeignKey, Index, Integer, Table, Text

from checker.bench.results import (
    BenchRun,
    Capacity,
    LevelResult,
    Series,
    Slot,
    StageSpan,
    ThresholdResult,
    WorkerSecond,
)
from storage.bench.layout import Layout
from storage.tables import metadata

RUN = Layout.of(
    BenchRun, "id", "series", "stages", "slots", "health", "calibrations", "thresholds", "capacity", "notes"
)
SERIES, STAGES, SLOTS = Layout.of(Series), Layout.of(StageSpan), Layout.of(Slot)
HEALTH, THRESHOLDS, LEVELS = Layout.of(WorkerSecond), Layout.of(ThresholdResult), Layout.of(LevelResult)
CAPACITY_FIELDS = tuple(name for name in Capacity.__struct_fields__ if name != "levels")

bench_runs = Table(
    "bench_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    *RUN.columns(),
    *(Column(name, Text) for name in ("calibrations", "capacity", "notes")),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("client_bound", Text),
    sqlite_autoincrement=True,  # the id of a dropped run must not come back: baselines and people name it
)
"""``client_bound`` is why the load generator, not the server, was the limit; "" if not, null if not judged."""


def _part(name: str, *columns: Column[Any]) -> Table:
    """A table whose key begins with the run."""
    run = Column("run_id", Integer, ForeignKey("bench_runs.id"), primary_key=True)
    return Table(name, metadata, run, *columns, sqlite_with_rowid=False)


def _place(name: str) -> Column[Any]:
    """What an index of the record is in a key."""
    return Column(name, Integer, primary_key=True)


bench_series = _part("bench_series", _place("series"), *SERIES.columns())
bench_stages = _part("bench_stages", _place("stage"), *STAGES.columns())
bench_slots = _part("bench_slots", _place("part"), *SLOTS.columns("at_s", "stage", "series"))
"""While a run goes on, each ``part`` is what came at a time; of one that has ended there is only 0."""
bench_health = _part("bench_health", *HEALTH.columns("at_s", "worker"))
bench_thresholds = _part("bench_thresholds", _place("place"), *THRESHOLDS.columns())
bench_levels = _part("bench_levels", _place("place"), *LEVELS.columns())
bench_failures = _part(
    "bench_failures",
    _place("series"),
    _place("stage"),
    Column("reason", Text, primary_key=True),
    Column("failed", Integer, nullable=False),
)

ALL = -1
"""In the place of a series: all of them; in the place of a stage: all that are measured."""
COUNTS = tuple(
    field.name for field in fields(Slot) if field.type is int and field.name not in ("series", "stage", "at_s")
)
RATES = ("offered_per_s", "achieved_per_s", "ok_per_s", "failed_ratio")
TIMED: tuple[Literal["response", "service", "first_byte", "late"], ...] = ("response", "service", "first_byte", "late")
QUANTILES = ("p50", "p90", "p95", "p99", "p999", "max")

bench_summaries = _part(
    "bench_summaries",
    _place("series"),
    _place("stage"),
    Column("seconds", Float, nullable=False),
    *(Column(name, Integer, nullable=False) for name in COUNTS),
    *(Column(name, Float, nullable=False) for name in RATES),
    *(Column(f"{name}_{word}_us", Integer) for name in TIMED for word in QUANTILES),
)
"""What slots come to, written when a run ends: each series in each stage, and with `ALL` in one place or in both."""

bench_baselines = Table(
    "bench_baselines",
    metadata,
    Column("name", Text, primary_key=True),
    Column("run_id", Integer, ForeignKey("bench_runs.id"), nullable=False),
    Column("set_at_ms", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Runs that others are compared with by a name; they are never dropped."""

PARTS = (
    bench_series,
    bench_stages,
    bench_slots,
    bench_health,
    bench_thresholds,
    bench_levels,
    bench_failures,
    bench_summaries,
)
"""What goes with a run."""

Index("bench_runs_by_name", bench_runs.c.name, bench_runs.c.plan_digest)
