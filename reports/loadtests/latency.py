"""Response times: over the run, as a heat map, in bands around the objective, and as a spectrum of the tail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from msgspec.structs import replace

from checker.loadtest.results import BenchRun, Series
from checker.loadtest.summary import HistogramName, Summary, measured
from checker.stats.histogram import Cells, middle_us
from checker.stats.intervals import fewest
from reports.loadtests.percentile_cells import quantile_cell, samples
from reports.loadtests.rates import rate_chart
from reports.loadtests.timeline import Timeline, of_series, stage_spans, width_s
from reports.loadtests.verdict import is_closed
from reports.output_forms import duration
from reports.report_model import Chart, Column, Kind, Line, Scale, Section, Shape, Span, Table
from reports.ticks import clock

MOST_SERIES = 6
"""Lines of a chart that has one for each series; tables have all."""
_MOST_COLUMNS = 150
_HEAT_ROWS = 28
_NARROWEST = 1.04
"""Ratio of the ends of a row of the heat map: two bins of the histograms."""


def over_time(run: BenchRun, bound: Sequence[Span]) -> Section:
    """Percentiles of the response time in each slot, and the rates, over all series."""
    line = Timeline.of(run)
    spans = [*stage_spans(run), *bound]
    rows = line.quantiles_ms("response", (0.5, 0.95, 0.99))
    (service,) = line.quantiles_ms("service", (0.99,))
    lines = [Line(word, row) for word, row in zip(("p50", "p95", "p99"), rows, strict=True)]
    lines.append(Line("max", line.longest_ms()))
    limit = _objective_ms(run, of_all=True)
    charts = [
        line.chart("Response time", Shape.LINES, lines, "ms", spans, log=True, threshold=limit),
        rate_chart(line, spans),
    ]
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
    whole = Table(columns, table)
    return Section("over_time", "Over time", whole, text, charts, open=True, page_table=Table(columns, ()))


def by_series(run: BenchRun, bound: Sequence[Span], every: Sequence[tuple[Series, Summary]]) -> Section:
    """p95 of the response time in each slot, for the slowest series."""
    chart = _by_series(run, Timeline.of(run), [*stage_spans(run), *bound], every)
    return Section("by_series", "Over time, by server and operation", None, "", [chart])


def heat(run: BenchRun, bound: Sequence[Span]) -> Section:
    """The number of operations by due time and duration."""
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
    """p95 of the series with the highest values."""
    slowest = sorted(range(len(every)), key=lambda place: -(every[place][1].quantile_us(0.95) or 0.0))[:MOST_SERIES]
    title = "p95 of the response time, by series"
    title += f": the {len(slowest)} slowest of {len(every)}" if len(slowest) < len(every) else ""
    lines = []
    for place in slowest:
        (values,) = line.of_slots(of_series([place])).quantiles_ms("response", (0.95,))
        lines.append(Line(f"{run.series[place].server} {run.series[place].operation}", values))
    return line.chart(title, Shape.LINES, lines, "ms", spans, log=True)


def _heat_rows(cells: Cells, places: int) -> tuple[list[Line], list[float]]:
    """A line of counts for each band of equal ratio, and the edges of the bands in milliseconds."""
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


_MOST_OPERATIONS = 3
_ECDF_POINTS = 160
_LIMITED = re.compile(r"(?:p\(\d|max|avg|med).*?<=?(\d+(?:\.\d+)?)(us|ms|s)?$")
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, None: 1.0}
_STEPS_MS = [nice * 10.0**power for power in range(-2, 6) for nice in (1.0, 2.0, 5.0)]
_LISTED_RATIOS = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999)
_SPECTRUM = sorted({0.0, *_LISTED_RATIOS, *(1 - 10 ** (-step / 12) for step in range(1, 80))})
_BOTH: tuple[HistogramName, HistogramName] = ("response", "service")


def bands(run: BenchRun, whole: Summary) -> Section:
    """The number of operations by duration, in multiples of the objective or in round steps."""
    limit = _objective_ms(run)
    edges = _round_edges(whole) if limit is None else [limit / 2, limit, 2 * limit, 5 * limit]
    cells = whole.histograms["response"]
    middles = middle_us(cells.bin) / 1000
    upto = [int(cells.count[middles < edge].sum()) for edge in edges]
    n, failed = samples(whole), whole.failed + whole.dropped
    numbers = [*np.diff([0, *upto, n]).tolist(), failed]
    words = [*_band_words(edges), "failed"]
    every = max(1, n + failed)
    rows = [[word, count, count / every] for word, count in zip(words, numbers, strict=True)]
    columns = [
        Column("band", "Response time"),
        Column("n", "Operations", Kind.COUNT),
        Column("ratio", "Share", Kind.RATIO),
    ]
    shares = [100 * count / every for count in numbers]
    title = "Operations by response time"
    chart = Chart(title, Shape.BARS, words, [Line(title, shares)], "%", x_is_time=False)
    said = "Bands in round numbers: no threshold is one of the response time."
    if limit is not None:
        said = f"The objective is {duration(limit)}, the smallest limit that a threshold sets."
    return Section("bands", "Response-time bands", Table(columns, rows), f"{said} Of the measured stages.", [chart])


def spectrum(run: BenchRun) -> Section:
    """The distribution up to its tail, and the share that ended within a time."""
    curves = _curves(run)
    most = max((samples(one) for _, one in curves), default=0)
    ratios = [q for q in _SPECTRUM if most and q <= 1 - 1 / most]
    lines = [
        Line(f"{name} {histogram}".strip(), _along(one, histogram, ratios), dashed=histogram == "response")
        for name, one in curves
        for histogram in _BOTH
    ]
    table = [
        [q, *(quantile_cell(one, q, histogram) for _, one in curves for histogram in _BOTH)] for q in _LISTED_RATIOS
    ]
    columns = [
        Column("ratio", "Percentile", Kind.RATIO),
        *(Column(f"{line.label.replace(' ', '_')}_ms", line.label, Kind.DURATION) for line in lines),
    ]
    chart = Chart(
        "Percentile spectrum",
        Shape.LINES,
        ratios,
        lines,
        "ms",
        x_is_time=False,
        log=True,
        scale=Scale.TAIL,
        x_label="percentile",
    )
    text = (
        "Left of each percentile lies that share of the operations; each step to the right is ten times rarer. Where "
        "response and service part, operations waited for the load generator or a free connection."
    )
    return Section("spectrum", "Distribution", Table(columns, table), text, [chart, *_ecdf(curves)])


def _along(one: Summary, histogram: HistogramName, ratios: Sequence[float]) -> list[float | None]:
    """The quantiles at these ratios in milliseconds, as far as there are samples beyond."""
    n = samples(one, histogram)
    found = one.histograms[histogram].quantiles(1, ratios)[0].tolist() if n else [0.0] * len(ratios)
    return [us / 1000 if n and q <= 1 - 1 / n else None for q, us in zip(ratios, found, strict=True)]


def _ecdf(curves: Sequence[tuple[str, Summary]]) -> list[Chart]:
    lengths = [us for _, one in curves for histogram in _BOTH for us in _ends_us(one, histogram)]
    if not lengths:
        return []
    x = [float(ms) for ms in np.geomspace(min(lengths) / 1010, max(lengths) / 990, _ECDF_POINTS)]
    lines = []
    for name, one in curves:
        for histogram in _BOTH:
            cells = one.histograms[histogram]
            within = np.concatenate(([0], np.cumsum(cells.count)))
            share = within[np.searchsorted(middle_us(cells.bin) / 1000, x, side="right")] / max(1, within[-1])
            values = [100 * float(value) for value in share]
            lines.append(Line(f"{name} {histogram}".strip(), values, dashed=histogram == "response"))
    chart = Chart("Share completed within a time", Shape.STEPS, x, lines, "%", False, scale=Scale.LOG, x_label="ms")
    return [chart]


def _ends_us(one: Summary, histogram: HistogramName) -> list[float]:
    bins = one.histograms[histogram].bin
    return middle_us(bins[[0, -1]]).tolist() if len(bins) else []


def _curves(run: BenchRun) -> list[tuple[str, Summary]]:
    """The measured stages of each operation, or of the first ones of many; without a name if there is only one."""
    operations = list(dict.fromkeys(series.operation for series in run.series))
    if len(operations) == 1:
        return [("", measured(run))]
    found = []
    for operation in operations[:_MOST_OPERATIONS]:
        wanted = of_series(place for place, series in enumerate(run.series) if series.operation == operation)
        found.append((operation, measured(run, wanted)))
    return found


def _objective_ms(run: BenchRun, *, of_all: bool = False) -> float | None:
    """The strictest limit of the response time in the thresholds, or in those over all series."""
    found = [
        _LIMITED.match(one.expression.replace(" ", ""))
        for one in run.thresholds
        if one.metric == "response_time" or (one.metric.startswith("response_time") and not of_all)
    ]
    return min((ms for one in found if one and (ms := float(one[1]) * _UNITS_MS[one[2]]) > 0), default=None)


def _round_edges(whole: Summary) -> list[float]:
    """Round edges in milliseconds from below the median to above p99, at most six."""
    p50_us, p99_us = whole.quantile_us(0.5), whole.quantile_us(0.99)
    if p50_us is None or p99_us is None:
        return []
    first = sum(step < p50_us / 1000 for step in _STEPS_MS) - 1
    last = sum(step < p99_us / 1000 for step in _STEPS_MS)
    return _STEPS_MS[max(0, first) : min(last + 1, max(0, first) + 6)]


def _band_words(edges: Sequence[float]) -> list[str]:
    if not edges:
        return ["all"]
    middle = [f"{duration(low)} to {duration(high)}" for low, high in pairwise(edges)]
    return [f"below {duration(edges[0])}", *middle, f"from {duration(edges[-1])}"]
