"""Tables of load tests and their records: a column for each field, histograms packed, the rest as JSON.

Offsets from a run's epoch and levels are stored as in the records, in seconds and per second; all measured durations
are whole microseconds, and wall-clock times milliseconds.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Generic, Literal, TypeVar, cast, get_args

import orjson
from msgspec import Struct
from msgspec.structs import fields
from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, Table, Text

from checker.loadtest.results import (
    BenchKind,
    BenchRun,
    BenchState,
    Capacity,
    LevelResult,
    Series,
    Slot,
    StageSpan,
    ThresholdResult,
    WorkerSecond,
)
from storage.tables import metadata

Record = TypeVar("Record")

_TYPES: dict[Any, Any] = {int: Integer, float: Float, str: Text, bool: Boolean, BenchKind: Text, BenchState: Text}
_LEVEL = 1
"""Level of zlib: the highest makes slots 8% smaller than this at twice the time; 50 slots at once, again only 10%."""
HISTOGRAMS = "histograms"
"""The column for all fields of bytes."""


class Layout(Struct, Generic[Record], frozen=True):
    """The storage of a record's fields: as plain columns, as JSON, or packed together."""

    kind: type[Record]
    plain: tuple[str, ...]
    json: tuple[str, ...]
    """Mappings; an empty one is null in the table."""
    blobs: tuple[str, ...]
    """Packed by position: new fields are appended."""

    @classmethod
    def of(cls, kind: type[Record], *without: str) -> Layout[Record]:
        """The layout of a record, without the fields that are stored elsewhere."""
        found: dict[str, list[str]] = {"plain": [], "json": [], "blobs": []}
        for field in fields(cast(Any, kind)):
            if field.name not in without:
                (of_kind, _) = _bare(field.type)
                found["plain" if of_kind in _TYPES else "blobs" if of_kind is bytes else "json"].append(field.name)
        return cls(kind, *(tuple(found[one]) for one in ("plain", "json", "blobs")))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in the order of `values`."""
        return (*self.plain, *self.json, *((HISTOGRAMS,) if self.blobs else ()))

    def columns(self, *keys: str) -> list[Column[Any]]:
        """The columns of a table: its key first, in order."""
        types = {field.name: _bare(field.type) for field in fields(cast(Any, self.kind))}
        found: list[Column[Any]] = [
            Column(name, _TYPES[types[name][0]], nullable=types[name][1], primary_key=name in keys)
            for name in (*keys, *(one for one in self.plain if one not in keys))
        ]
        found += [Column(name, Text) for name in self.json]
        return [*found, *([Column(HISTOGRAMS, LargeBinary)] if self.blobs else [])]

    def values(self, record: Record) -> tuple[Any, ...]:
        """The values of a row, in the driver's types."""
        plain = [_bound(getattr(record, name)) for name in self.plain]
        json = [_dumped(getattr(record, name)) for name in self.json]
        blobs = [packed([getattr(record, name) for name in self.blobs])] if self.blobs else []
        return (*plain, *json, *blobs)

    def record(self, row: Mapping[Any, Any], **given: Any) -> Record:
        """The record of a row of `names`, completed by the fields that are stored elsewhere."""
        values: dict[str, Any] = {name: row[name] for name in self.plain}
        values |= {name: orjson.loads(row[name]) if row[name] else {} for name in self.json}
        if self.blobs:
            values |= zip(self.blobs, unpacked(row[HISTOGRAMS], len(self.blobs)), strict=True)
        return self.kind(**values, **given)


def packed(blobs: Sequence[bytes]) -> bytes | None:
    """Several blobs as one, compressed: their lengths, 32-bit little-endian, then the blobs; None if all are empty."""
    if not any(blobs):
        return None
    return zlib.compress(struct.pack(f"<{len(blobs) + 1}I", len(blobs), *map(len, blobs)) + b"".join(blobs), _LEVEL)


def unpacked(joined: bytes | None, number: int) -> list[bytes]:
    """The separate blobs; blobs that an older program did not write are empty."""
    if joined is None:
        return [b""] * number
    data = zlib.decompress(joined)
    (stored,) = struct.unpack_from("<I", data)
    lengths = struct.unpack_from(f"<{stored}I", data, 4)
    found, at = [], 4 * (stored + 1)
    for length in lengths:
        found.append(data[at : at + length])
        at += length
    return [*found, *([b""] * (number - stored))]


def _bare(kind: Any) -> tuple[Any, bool]:
    """The type without None, and True if None was part of it."""
    others = [one for one in get_args(kind) if one is not NoneType]
    return (others[0], True) if NoneType in get_args(kind) and len(others) == 1 else (kind, False)


def _bound(value: Any) -> Any:
    """A value that the driver accepts without an adapter."""
    if isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, str) else value


def _dumped(value: Any) -> str | None:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode() if value else None  # keys may be enums


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
    """The meaning of a record's index in a key."""
    return Column(name, Integer, primary_key=True)


bench_series = _part("bench_series", _place("series"), *SERIES.columns())
bench_stages = _part("bench_stages", _place("stage"), *STAGES.columns())
bench_slots = _part("bench_slots", _place("part"), *SLOTS.columns("at_s", "stage", "series"))
"""During a run, each ``part`` holds the slots that arrived at one time; a finished run has only part 0."""
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
"""In place of a series: all of them; in place of a stage: all measured ones."""
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
"""Summaries of slots, written when a run ends: each series in each stage, and with `ALL` in one place or in both."""

bench_baselines = Table(
    "bench_baselines",
    metadata,
    Column("name", Text, primary_key=True),
    Column("run_id", Integer, ForeignKey("bench_runs.id"), nullable=False),
    Column("set_at_ms", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Names of runs that others are compared with; these runs are never pruned."""

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
"""The tables of a run's parts, deleted with it."""

Index("bench_runs_by_name", bench_runs.c.name, bench_runs.c.plan_digest)
