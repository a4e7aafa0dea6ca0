"""Lists of load tests and of baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from reports import rows_as_text
from reports.output_forms import csv_of, records, text_table
from reports.report_model import Column, Kind, Section, Table
from reports.text_tables import TextOutput
from storage.loadtests.read import Baseline, BenchLine


def lines_table(lines: Sequence[BenchLine]) -> Table:
    """A row for each load test."""
    columns = [
        Column("benchmark_id", "Run", Kind.COUNT),
        Column("benchmark", "Name"),
        Column("kind", "Kind", rank=3),
        Column("state", "State", words="unfinished: its process is gone and never said how it ended.", rank=1),
        Column("started_at", "Started", Kind.TIME, rank=1),
        Column("duration_ms", "Took", Kind.DURATION, rank=2),
        Column("ok_per_s", "Good per second", Kind.NUMBER, rank=1),
        Column("failed_ratio", "Failed", Kind.RATIO),
        Column("p50_ms", "p50", Kind.DURATION, rank=1),
        Column("p95_ms", "p95", Kind.DURATION),
        Column("p99_ms", "p99", Kind.DURATION),
        Column("thresholds", "Thresholds", words="How many of them broke.", rank=-1),
        Column("client", "Client", words="Whether it was the limit; empty where nobody judged.", rank=1),
        Column("baselines", "Baseline", Kind.LIST),
    ]
    return Table(columns, [_row(one) for one in lines])


def baselines_table(baselines: Sequence[Baseline]) -> Table:
    """A row for each baseline."""
    columns = [
        Column("baseline", "Baseline"),
        Column("benchmark_id", "Run", Kind.COUNT),
        Column("benchmark", "Name"),
        Column("started_at", "Started", Kind.TIME),
        Column("set_at", "Set", Kind.TIME),
    ]
    return Table(columns, [[one.name, one.run_id, one.run_name, one.started_at_ms, one.set_at_ms] for one in baselines])


def printed(table: Table, fmt: str, stream: TextIO) -> None:
    """Write a table: for people, or as json, ndjson or csv."""
    section = Section("rows", "", table)
    if fmt == "table":
        TextOutput(stream).table(text_table(section))
    elif fmt == "csv":
        stream.writelines(csv_of(section))
    else:
        found = list(records(section))
        stream.writelines(rows_as_text.ndjson(found) if fmt == "ndjson" else (rows_as_text.json(found),))


def _row(one: BenchLine) -> list[object]:
    took_ms = None if one.finished_at_ms is None else one.finished_at_ms - one.started_at_ms
    times_ms = [None if value is None else value / 1000 for value in (one.p50_us, one.p95_us, one.p99_us)]
    broken = f"{one.broken} of {one.thresholds} broken" if one.broken else f"{one.thresholds} held"
    client = {None: None, "": "fine"}.get(one.client_bound, "the limit")
    return [
        *(one.id, one.name, one.kind.value, "unfinished" if one.killed else one.state.value, one.started_at_ms),
        *(took_ms, one.ok_per_s, one.failed_ratio, *times_ms),
        *(broken if one.thresholds else None, client, one.baselines),
    ]
