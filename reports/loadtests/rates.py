"""Rates over the run: offered and achieved, what had not ended, reasons of failures, and time by phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from checker.loadtest.results import BenchRun
from checker.loadtest.summary import Summary, measured
from checker.probe_kinds import STAGES
from reports.loadtests.client import summed
from reports.loadtests.timeline import Timeline, of_series, stage_spans
from reports.report_model import Chart, Column, Kind, Line, Section, Shape, Span, Table
from reports.ticks import clock

_MOST_REASONS = 8


def rate_chart(line: Timeline, spans: Sequence[Span]) -> Chart:
    """Offered, achieved and successful rates on one axis."""
    lines = [
        Line("offered", line.per_second("offered"), dashed=True),
        Line("achieved", line.per_second("done_ok", "done_failed")),
        Line("successful", line.per_second("done_ok")),
    ]
    return line.chart("Rate", Shape.STEPS, lines, "operations /s", spans)


def rates(run: BenchRun, bound: Sequence[Span]) -> Section:
    """The operations that had not ended, and the rates as a table."""
    line = Timeline.of(run)
    spans = [*stage_spans(run), *bound]
    offered, good = line.per_second("offered"), line.per_second("done_ok")
    achieved = line.per_second("done_ok", "done_failed")
    due = np.maximum(0.0, np.cumsum(line.sums("offered")) - np.cumsum(line.sums("done_ok", "done_failed", "dropped")))
    waiting, in_flight = summed(run, line.starts, "backlog"), summed(run, line.starts, "in_flight")
    open_ones = [
        Line("scheduled and not completed", [float(one) for one in due]),
        Line("most in flight", in_flight),
        Line("most queued", waiting),
    ]
    charts = [line.chart("Backlog", Shape.STEPS, open_ones, "operations", spans)]
    columns = [
        Column("at", "From the start"),
        *(
            Column(f"{name}_per_s", name.capitalize(), Kind.NUMBER, "/s")
            for name in ("offered", "achieved", "successful")
        ),
        Column("due", "Not completed", Kind.COUNT, words="Scheduled by then, and not completed."),
        Column("in_flight", "Most in flight", Kind.COUNT),
        Column("backlog", "Most queued", Kind.COUNT),
    ]
    rows = [
        [clock(start), offered[at], achieved[at], good[at], int(due[at]), _whole(in_flight[at]), _whole(waiting[at])]
        for at, start in enumerate(line.starts)
    ]
    text = (
        "Offered: scheduled at that moment; in the closed model, started. Achieved: completed then, good or bad. "
        "Successful: completed without failure. Where achieved stays below offered, a backlog builds up."
    )
    return Section("rates", "Rate and backlog", Table(columns, rows), text, charts)


def errors(run: BenchRun, bound: Sequence[Span]) -> Section:
    """Failures by reason over time."""
    line = Timeline.of(run)
    reasons: Counter[str] = Counter()
    by_server: dict[str, Counter[str]] = {}
    seen: dict[str, list[int]] = {}
    for slot in run.slots:
        reasons.update(slot.reasons)
        for reason, count in slot.reasons.items():
            by_server.setdefault(reason, Counter())[run.series[slot.series].server] += count
            ends = seen.setdefault(reason, [slot.at_s, slot.at_s])
            ends[0], ends[1] = min(ends[0], slot.at_s), max(ends[1], slot.at_s)
    dropped = sum(slot.dropped for slot in run.slots)
    every = max(1, sum(slot.offered for slot in run.slots))
    shown = [reason for reason, _ in reasons.most_common(_MOST_REASONS)]
    rest = [reason for reason in reasons if reason not in shown]
    lines = [Line(reason, _per_second(line, [reason])) for reason in shown]
    if rest:
        lines.append(Line(f"{len(rest)} other reasons", _per_second(line, rest)))
    columns = [
        Column("reason", "Reason"),
        Column("n", "Operations", Kind.COUNT),
        Column("ratio", "Of all offered", Kind.RATIO),
        Column("first", "First at"),
        Column("last", "Last at"),
        Column("worst", "Most at"),
    ]
    rows = [
        [reason, n, n / every, clock(seen[reason][0]), clock(seen[reason][1]), _most_at(by_server[reason])]
        for reason, n in reasons.most_common()
    ]
    if dropped:
        rows.append(["never sent", dropped, dropped / every, None, None, None])
    spans = [*stage_spans(run), *bound]
    chart = line.chart("Failed by reason", Shape.STACK, lines, "operations /s", spans)
    text = "Of all stages, by scheduled time." if rows else "No operation failed."
    censored = sum(slot.censored for slot in run.slots)
    if censored:
        text += f" {censored:,} are timeouts: their time is the limit, and not what they would have taken (censored)."
    charts = [chart] if lines else []
    return Section("errors", "Errors", Table(columns, rows) if rows else None, text, charts, open=bool(rows))


def phases(run: BenchRun, whole: Summary) -> Section:
    """The service time of successful operations by phase."""
    line = Timeline.of(run)
    charts, rows = [], []
    for operation in dict.fromkeys(series.operation for series in run.series):
        wanted = of_series(place for place, series in enumerate(run.series) if series.operation == operation)
        mine, one = line.of_slots(wanted), measured(run, wanted)
        names = _ordered({name for slot in mine.slots for name in slot.phases_us})
        good = mine.sums("ok")
        spent = sum(one.phases_us.values())
        lines = []
        for name in names:
            total_us = mine.mapped("phases_us", name)
            values = [float(us) / n / 1000 if n else None for us, n in zip(total_us, good, strict=True)]
            lines.append(Line(name, values))
            us = one.phases_us.get(name, 0)
            rows.append([operation, name, us / one.ok / 1000 if one.ok else None, us / spent if spent else None])
        if lines:
            title = f"Mean time of good {operation} operations by phase"
            charts.append(line.chart(title, Shape.STACK, lines, "ms", stage_spans(run)))
    columns = [
        Column("operation", "Operation"),
        Column("phase", "Phase"),
        Column(
            "mean_ms",
            "Mean",
            Kind.DURATION,
            words="Over all good measured operations, also those without the phase.",
        ),
        Column("ratio", "Share", Kind.RATIO, words="Of the time of all phases."),
    ]
    opened = f"{whole.connections:,} connections were opened for {whole.ok + whole.failed:,} measured operations."
    return Section("phases", "Phases", Table(columns, rows) if rows else None, opened, charts)


def _per_second(line: Timeline, reasons: Sequence[str]) -> list[float | None]:
    found = sum((line.mapped("reasons", reason) for reason in reasons), np.zeros(len(line.starts)))
    return [float(one) for one in found / line.seconds]


def _most_at(servers: Counter[str]) -> str:
    server, count = servers.most_common(1)[0]
    return f"{server} ({count:,})" if len(servers) > 1 else server


def _ordered(names: set[str]) -> list[str]:
    """The phases in the order in which they happen, then unknown ones."""
    return [*(name for name in STAGES if name in names), *sorted(names - set(STAGES))]


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
