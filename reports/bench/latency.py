"""Response times along the run: percentiles of each slot, and time by latency as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from checker.bench.results import BenchRun, Series
from checker.bench.summary import Summary
from reports.bench.timeline import Timeline, of_series, stage_spans
from reports.bench.verdict import is_closed
from reports.bench.widen import width_s
from reports.report import Chart, Column, Kind, Line, Section, Shape, Span, Table
from reports.show import duration
from reports.stats.intervals import fewest
from reports.ticks import clock
from storage.rollups.histogram import Cells, middle_us

MOST_SERIES = 6
"""Lines of a chart that has one for each series; tables have all."""
_MOST_COLUMNS = 150
_HEAT_ROWS = 28
_NARROWEST = 1.04
"""Ratio of the ends of a row of the heat map: two bins of the histograms."""


def over_time(run: BenchRun, bound: Sequence[Span], every: Sequence[tuple[Series, Summary]]) -> Section:
    """Percentiles of the response time in each slot, over all series and for the slowest ones."""
    line = Timeline.of(run)
    spans = [*stage_spans(run), *bound]
    rows = line.quantiles_ms("response", (0.5, 0.95, 0.99))
    (service,) = line.quantiles_ms("service", (0.99,))
    lines = [Line(word, row) for word, row in zip(("p50", "p95", "p99"), rows, strict=True)]
    lines.append(Line("max", line.longest_ms()))
    charts = [line.chart("Response time, all series", Shape.LINES, lines, "ms", spans, log=True)]
    if len(run.series) > 1:
        charts.append(_by_series(run, line, spans, every))
    n = line.cells("response").counts(len(line.starts)).tolist()
    columns = [
        Column("at", "From the start"),
        Column("n", "n", Kind.COUNT),
        *(Column(f"{name}_ms", name, Kind.DURATION) for name in ("p50", "p95", "p99", "max")),
        Column("service_p99_ms", "p99 service", Kind.DURATION),
    ]
    table = [
        [clock(start), n[at], *(one.values[at] for one in lines), service[at]]
        for at, start in enumerate(line.starts)
        if n[at]
    ]
    text = (
        f"By scheduled time, in slots of {run.slot_s} s; shaded stages are not measured. In a slot with fewer than "
        f"{fewest(0.99)} samples, p99 is close to the longest."
    )
    return Section("over_time", "Latency over time", Table(columns, table), text, charts)


def heat(run: BenchRun, bound: Sequence[Span]) -> Section:
    """How many operations were due when and took how long."""
    line = Timeline.of(run, width_s(run, _MOST_COLUMNS))
    lines, edges = _heat_rows(line.cells("response"), len(line.starts))
    spans = [*stage_spans(run), *bound]
    chart = line.chart("Operations by time and response time", Shape.HEAT, lines, "ms", spans, log=True)
    columns = [Column("band", "Response time"), Column("n", "Operations", Kind.COUNT)]
    rows = [[one.label, round(sum(value or 0 for value in one.values))] for one in lines]
    freeze = "A stall shows as a slope that falls towards its end."
    if is_closed(run):
        freeze = "Closed model: a stall shows as a gap after as many long operations as there are users."
    text = f"Stronger colours are more operations. {freeze}"
    table = Table(columns, [row for row in rows if row[1]])
    return Section("heat", "Time and latency", table, text, [replace(chart, edges=edges)])


def _by_series(run: BenchRun, line: Timeline, spans: Sequence[Span], every: Sequence[tuple[Series, Summary]]) -> Chart:
    """p95 of those series that have the highest."""
    slowest = sorted(range(len(every)), key=lambda place: -(every[place][1].quantile_us(0.95) or 0.0))[:MOST_SERIES]
    title = "p95 of the response time, by series"
    title += f": the {len(slowest)} slowest of {len(every)}" if len(slowest) < len(every) else ""
    lines = []
    for place in slowest:
        (values,) = line.of_slots(of_series([place])).quantiles_ms("response", (0.95,))
        lines.append(Line(f"{run.series[place].server} {run.series[place].operation}", values))
    return line.chart(title, Shape.LINES, lines, "ms", spans, log=True)


def _heat_rows(cells: Cells, places: int) -> tuple[list[Line], list[float]]:
    """A line of counts for each band of equal ratio, and the ends of the bands in milliseconds."""
    if not len(cells.bin):
        return [], []
    ms = middle_us(cells.bin) / 1000
    low, high = float(ms.min()) / 1.01, float(ms.max()) * 1.01
    rows = min(_HEAT_ROWS, max(1, int(np.log(high / low) / np.log(_NARROWEST))))
    edges = np.geomspace(low, high, rows + 1)
    row = np.clip(np.searchsorted(edges, ms) - 1, 0, rows - 1)
    table = np.zeros((rows, places))
    np.add.at(table, (row, cells.group), cells.count)
    ends = [float(one) for one in edges]
    words = [f"{duration(ends[at])} to {duration(ends[at + 1])}" for at in range(rows)]
    return [Line(word, values.tolist()) for word, values in zip(words, table, strict=True)], ends
