"""The tables of a load test: thresholds, series, stages, percentiles with intervals, the grid of a suite."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from checker.loadtest.results import BenchRun, BenchState, Series, StageSpan
from checker.loadtest.summary import (
    HistogramName,
    Summary,
    covered_s,
    in_time,
    measured,
    measured_stages,
    of_stage,
    summarize,
)
from checker.stats.compare import median_difference
from reports.loadtests import percentile_cells
from reports.loadtests.outcome import LoadTestOutcome
from reports.loadtests.percentile_cells import MEASURES, quantile_cell
from reports.loadtests.verdict import cells_of, limit_words, measured_words
from reports.percentile_cells import interval_columns
from reports.report_model import Chart, Column, Insufficient, Kind, Line, Scale, Section, Shape, Table
from reports.ticks import clock

CLOSED = "closed model: coordinated omission applies; a stall of the server shows as a lower rate, not as latency"
"""The caveat that must accompany every figure of the closed model."""
_MODELS = {"open": "open", "closed": "closed model: coordinated omission applies"}
_BOTH: tuple[HistogramName, HistogramName] = ("response", "service")
_RESPONSE = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def thresholds(outcome: LoadTestOutcome) -> Section:
    """Each threshold, its measured value, and its verdict."""
    run, invalid = outcome.run, outcome.saturation.invalid
    columns: Sequence[Column] = (
        Column("metric", "Metric"),
        Column("expression", "Threshold", words="Times are milliseconds."),
        Column(
            "over_s", "Over", Kind.NUMBER, "s", "Length of the windows that must each hold; empty for the whole run."
        ),
        Column("value", "Measured", Kind.NUMBER, words="In the unit of the threshold; the worst of the windows."),
        Column("result", "Result", Kind.STATUS, rank=-1),
        Column(
            "low", "From", Kind.NUMBER, words="What it may be without delays of the load generator; empty if the same."
        ),
        Column("high", "To", Kind.NUMBER),
        Column("note", "Client", words="How the load generator affected it.", is_reason=True),
        Column("aborted", "Ended the run", rank=2),
        Column("broken_at", "First broken", words="From the start of the run."),
    )
    rows: list[tuple[Any, ...]] = [
        (
            one.metric,
            one.expression,
            one.over_s,
            one.value,
            told.word.upper(),
            *(told.low, told.high, told.note or None),
            "yes" if one.aborted else "no",
            None if one.at_s is None else clock(one.at_s),
        )
        for told in outcome.told()
        for one in (told.result,)
    ]
    if not any(told.note for told in outcome.told()):
        noted = [at for at, column in enumerate(columns) if column.name in ("low", "high", "note")]
        columns = tuple(column for at, column in enumerate(columns) if at not in noted)
        rows = [tuple(cell for at, cell in enumerate(row) if at not in noted) for row in rows]
    text = "Over the measured stages." if rows else _no_thresholds(run)
    if not rows and run.capacity is not None:
        text += " Levels are judged by the objective of the stress test."
    if rows and invalid and not outcome.saturation.claims.thresholds:
        text = "The run is invalid: these results say nothing about the servers."
    if not rows:
        return Section("thresholds", "Thresholds", None, text)
    return Section("thresholds", "Thresholds", Table(columns, rows), text, page_table=_thresholds_in_words(outcome))


def _thresholds_in_words(outcome: LoadTestOutcome) -> Table:
    """The thresholds for people: the result beside the condition, and no column without a value."""
    columns = (
        Column("condition", "Threshold"),
        Column("result", "Result", Kind.STATUS),
        Column("value", "Measured", words="The worst of its windows, if it has some."),
        Column("between", "Without the client", words="What it may be without delays of the load generator."),
        Column("broken_at", "First broken", words="From the start of the run."),
        Column("aborted", "Ended the run"),
    )
    rows = []
    for told in outcome.told():
        one = told.result
        over = "" if one.over_s is None else f" over {one.over_s:g} s"
        between = ""
        if told.note:
            high = "whatever" if told.high is None else measured_words(one, told.high)
            between = f"{measured_words(one, told.low)} to {high}"
        rows.append(
            (
                f"{one.metric} {limit_words(one)}{over}",
                told.word.upper(),
                measured_words(one, one.value),
                between,
                "" if one.at_s is None else clock(one.at_s),
                "yes" if one.aborted else "",
            )
        )
    used = [at for at in range(len(columns)) if any(row[at] for row in rows)]
    return Table([columns[at] for at in used], [tuple(row[at] for at in used) for row in rows])


def _no_thresholds(run: BenchRun) -> str:
    if run.state is BenchState.RUNNING and run.plan.get("thresholds"):
        return "The run did not finish: its thresholds were not judged."
    return "The plan has no thresholds."


def series_summaries(run: BenchRun) -> list[tuple[Series, Summary]]:
    """The measured stages of each series, in the order of the run."""
    by_series: dict[int, list[Any]] = {}
    for slot in run.slots:
        by_series.setdefault(slot.series, []).append(slot)
    found = []
    for place, series in enumerate(run.series):
        stages = measured_stages(run, series.scenario)
        mine = [slot for slot in by_series.get(place, []) if slot.stage in set(stages)]
        found.append((series, _summarized(run, mine, stages)))
    return found


def _summarized(run: BenchRun, slots: list[Any], stages: list[int]) -> Summary:
    return summarize(in_time(run, slots, stages), covered_s(run, stages))


def head_columns(run: BenchRun) -> list[Column]:
    """The columns that name a series; scenarios only if there are several, not all named like their operations."""
    columns = [Column("server", "Server"), Column("operation", "Operation")]
    return [*columns, Column("scenario", "Scenario")] if _names_scenarios(run) else columns


def head(run: BenchRun, series: Series) -> list[Any]:
    """The cells under `head_columns`."""
    return [series.server, series.operation, *([series.scenario] if _names_scenarios(run) else [])]


def _names_scenarios(run: BenchRun) -> bool:
    several = len({series.scenario for series in run.series}) > 1
    return several and any(series.scenario != series.operation for series in run.series)


def rate_columns() -> list[Column]:
    """The columns of `rates`."""
    return [
        Column("offered_per_s", "Offered", Kind.NUMBER, "/s", "Scheduled; in the closed model, started.", rank=1),
        Column("achieved_per_s", "Achieved", Kind.NUMBER, "/s", "Completed in time, good or bad.", rank=1),
        Column("ok_per_s", "Good", Kind.NUMBER, "/s", "Completed successfully in time: the throughput."),
        Column("failed_ratio", "Failed", Kind.RATIO, words="Of those completed; what was never sent counts as failed."),
    ]


def rates(summary: Summary) -> list[Any]:
    """Rates per second, and the failure rate."""
    failed_ratio = summary.failed_ratio if summary.offered else None
    return [summary.offered_per_s, summary.achieved_per_s, summary.ok_per_s, failed_ratio]


def count_columns() -> list[Column]:
    """The columns of `counts`."""
    return [
        Column(
            "offered", "Offered", Kind.COUNT, words="Arrivals scheduled; in the closed model, requests started.", rank=2
        ),
        Column("ok", "ok", Kind.COUNT, rank=2),
        Column("failed", "Failed", Kind.COUNT, words="Including those never sent.", rank=2),
        Column(
            "resent",
            "Resent",
            Kind.COUNT,
            words="Sent again: the server closed a kept-alive connection without an answer.",
            rank=2,
        ),
    ]


def counts(summary: Summary) -> list[Any]:
    """The counts of operations."""
    return [summary.offered, summary.ok, summary.failed + summary.dropped, summary.resent]


def latency_columns() -> list[Column]:
    """The columns of `latencies`: response and service time side by side."""
    names = [*(name for name, _ in _RESPONSE), "max"]
    return [
        *(
            Column(
                f"{which}_{name}_ms",
                name,
                Kind.DURATION,
                which,
                MEASURES[which][1],
                rank=1 if which == "service" else 0,
            )
            for name in names
            for which in _BOTH
        ),
        Column("late_p99_ms", "p99", Kind.DURATION, "late", MEASURES["late"][1], rank=2),
    ]


def latencies(summary: Summary) -> list[Any]:
    """Quantiles of the response and the service time, and of the lateness of starts."""
    found = [quantile_cell(summary, q, which) for _, q in _RESPONSE for which in _BOTH]
    longest = [percentile_cells.longest_ms(summary, "response"), percentile_cells.longest_ms(summary, "service")]
    return [*found, *longest, quantile_cell(summary, 0.99, "late")]


def summary(run: BenchRun, every: list[tuple[Series, Summary]]) -> Section:
    """Counts and rates of each server and operation."""
    closed = any(series.model == "closed" for series, _ in every)
    p95 = Column("response_p95_ms", "p95", Kind.DURATION, "response", MEASURES["response"][1])
    columns = [
        *head_columns(run),
        Column("model", "Model", wide=closed, rank=2),
        *rate_columns(),
        *count_columns(),
        p95,
    ]
    rows = [
        [*head(run, series), words_of(series), *rates(one), *counts(one), quantile_cell(one, 0.95)]
        for series, one in every
    ]
    if len(every) > 1:
        models = {words_of(series) for series, _ in every}
        whole = measured(run)
        empty = [None] * (len(head_columns(run)) - 1)
        mixed = models.pop() if len(models) == 1 else "open and closed"
        rows.insert(0, ["all", *empty, mixed, *rates(whole), *counts(whole), quantile_cell(whole, 0.95)])
    text = "Measured stages only, without warm-up, ramps and cool-down. Failures count in rates, and in no percentile."
    if closed:
        text += f" {CLOSED[0].upper()}{CLOSED[1:]}."
    in_short = _in_short(run, every)
    return Section("summary", "Servers and operations", Table(columns, rows), text, open=True, page_table=in_short)


def _in_short(run: BenchRun, every: list[tuple[Series, Summary]]) -> Table:
    """Rates and response times of each server and operation: what a page shows first."""
    closed = len({series.model for series, _ in every}) > 1
    columns = [
        *head_columns(run),
        *([Column("model", "Model")] if closed else []),
        Column("ok_per_s", "Good", Kind.NUMBER, "/s", "Completed successfully in time: the throughput."),
        Column("offered_per_s", "Offered", Kind.NUMBER, "/s", "Scheduled; in the closed model, started."),
        Column("failed_ratio", "Failed", Kind.RATIO),
        *(Column(f"response_{name}_ms", name, Kind.DURATION, words="Response time.") for name, _ in _RESPONSE),
        Column("response_max_ms", "Longest", Kind.DURATION),
    ]
    rows = [[*head(run, series), *([series.model] if closed else []), *_short_cells(one)] for series, one in every]
    if len(every) > 1:
        rows.insert(0, ["all", *[None] * (len(head_columns(run)) - 1 + closed), *_short_cells(measured(run))])
    return Table(columns, rows)


def _short_cells(one: Summary) -> list[Any]:
    failed_ratio = one.failed_ratio if one.offered else None
    quantiles = [quantile_cell(one, q) for _, q in _RESPONSE]
    return [one.ok_per_s, one.offered_per_s, failed_ratio, *quantiles, percentile_cells.longest_ms(one, "response")]


def words_of(series: Series) -> str:
    """The load model, with its main caveat."""
    return _MODELS.get(series.model, series.model)


def latency(run: BenchRun, every: list[tuple[Series, Summary]]) -> Section:
    """Response and service times of each server and operation, side by side."""
    columns = [*head_columns(run), *latency_columns()]
    rows = [[*head(run, series), *latencies(one)] for series, one in every]
    text = (
        "Response: from the scheduled time of an operation to its end, what an outside caller waits. "
        "Service: from when it was sent. Late: from scheduled to sent."
    )
    return Section("latency", "Response and service time", Table(columns, rows), text)


def stages(run: BenchRun, bound: Collection[int] = ()) -> Section:
    """A row for each stage, measured or not; ``bound`` are those in which the load generator was the limit."""
    several = len({span.scenario for span in run.stages}) > 1
    columns = [
        Column("stage", "Stage", wide=True),
        *([Column("scenario", "Scenario")] if several else []),
        Column("kind", "Kind"),
        Column("measured", "Counted"),
        Column("from", "From"),
        Column("until", "Until"),
        Column("start_level", "Level", Kind.NUMBER, "from"),
        Column("end_level", "Level", Kind.NUMBER, "to", "Arrivals per second over all servers, or users."),
        *rate_columns(),
        *(Column(f"response_{name}_ms", name, Kind.DURATION, "response") for name in ("p50", "p95", "p99", "max")),
        Column("service_p99_ms", "p99", Kind.DURATION, "service"),
        Column("late_p99_ms", "p99", Kind.DURATION, "late"),
    ]
    rows = []
    for at, span in enumerate(run.stages):
        one = of_stage(run, at)
        names = [span.name, *([span.scenario] if several else []), span.kind, _counted(span, at in bound)]
        place = [clock(span.from_s), clock(span.until_s), span.start_level, span.end_level]
        found = [*(quantile_cell(one, q) for _, q in _RESPONSE), percentile_cells.longest_ms(one)]
        found += [quantile_cell(one, 0.99, "service"), quantile_cell(one, 0.99, "late")]
        rows.append([*names, *place, *rates(one), *found])
    return Section(
        "stages", "Stages", Table(columns, rows), "Each stage by itself, including those that no other table counts."
    )


def _counted(span: StageSpan, bound: bool) -> str:
    return "no" if not span.measured else "client-bound" if bound else "yes"


def percentile_tables(run: BenchRun, every: list[tuple[Series, Summary]]) -> Iterator[Section]:
    """All percentiles of each series, with their confidence intervals."""
    named = [*head_columns(run), Column("measure", "Measure")]
    rows, intervals = [], []
    for series, one in every:
        for histogram, (words, _) in MEASURES.items():
            if percentile_cells.samples(one, histogram):
                rows.append([*head(run, series), words, *percentile_cells.cells(one, histogram)])
                intervals.append([*head(run, series), words, *percentile_cells.ends(one, histogram)])
    what = " ".join(f"{words[0].upper()}{words[1:]}: {said[0].lower()}{said[1:]}" for words, said in MEASURES.values())
    yield Section(
        "percentiles",
        "Percentiles",
        Table([*named, *percentile_cells.columns()], rows),
        f"From summed histograms, within 1% of the sample at the rank; the longest response time is exact. {what}",
    )
    yield Section(
        "intervals",
        "Confidence intervals of the percentiles",
        Table([*named, *interval_columns()], intervals),
        "95% confidence intervals by order statistics; an end is open where no sample is extreme enough: p99 has an "
        "upper end from 368 samples on, p99.9 from 3,688. They hold for independent samples; requests of one run are "
        "not quite independent.",
    )


FEWEST_BLOCKS = 5
"""Fewer blocks have no interval, and cannot be compared."""


def suite(outcome: LoadTestOutcome) -> Section | None:
    """A row for each cell; None for a run without cells."""
    cells = cells_of(outcome)
    if not cells:
        return None
    columns = [
        Column("users", "Users", Kind.COUNT),
        Column("servers", "Servers", Kind.COUNT),
        Column("blocks", "Blocks", Kind.COUNT),
        *_interval_columns("p95_ms", "p95", Kind.DURATION, ""),
        *_interval_columns("ok_per_s", "Throughput", Kind.NUMBER, "/s"),
        Column("failed_ratio", "Failed", Kind.RATIO),
        Column(
            "resent",
            "Resent",
            Kind.COUNT,
            words="Sent again: the server closed a kept-alive connection without an answer.",
        ),
    ]
    rows = []
    for (users, servers), blocks in sorted(cells.items()):
        ended = sum(one.ok + one.failed + one.dropped for one in blocks)
        bad = sum(one.failed + one.dropped for one in blocks)
        p95_ms = [us / 1000 for one in blocks if (us := one.quantile_us(0.95)) is not None]
        rates = [one.ok_per_s for one in blocks]
        failed_ratio, resent = bad / ended if ended else None, sum(one.resent for one in blocks)
        rows.append([users, servers, len(blocks), *_median(p95_ms), *_median(rates), failed_ratio, resent])
    charts = [
        _chart("p95 of the response time by users", rows, 3, "ms", log=True),
        _chart("Throughput by users", rows, 6, "operations /s", log=False),
    ]
    text = (
        "Each cell was measured in blocks, in random order. Shown are medians of the blocks with their 95% bootstrap "
        "confidence intervals (10,000 resamples). Closed model: that many users, each waiting for its answer before "
        "the next request."
    )
    apart = sum(outcome.run.stages[at].measured for at in outcome.saturation.stages)
    if apart:
        text += f" {apart} block{'' if apart == 1 else 's'} left out: the load generator was the limit."
    return Section("suite", "Users and servers", Table(columns, rows), text, charts, open=True)


def _interval_columns(name: str, label: str, kind: Kind, unit: str) -> list[Column]:
    low, high = name.replace("_ms", "_low_ms"), name.replace("_ms", "_high_ms")
    if kind is Kind.NUMBER:
        low, high = f"{name}_low", f"{name}_high"
    return [
        Column(name, label, kind, unit, "Median of the blocks."),
        Column(low, f"{label} from", kind, unit),
        Column(high, f"{label} to", kind, unit),
    ]


def _median(values: Sequence[float]) -> list[Any]:
    """The median with both ends of its interval."""
    if not values:
        return [None, None, None]
    found = median_difference([0.0], values)
    few = Insufficient(len(values), FEWEST_BLOCKS)
    return [found.value, *((few, few) if len(values) < FEWEST_BLOCKS else (found.low, found.high))]


def _chart(title: str, rows: Sequence[Sequence[Any]], column: int, unit: str, *, log: bool) -> Chart:
    """A line for each number of servers over the number of users."""
    users = sorted({row[0] for row in rows})
    counts = sorted({row[1] for row in rows})
    values = {(row[0], row[1]): row[column] for row in rows}
    lines = [
        Line(f"{count} server{'' if count == 1 else 's'}", [values.get((one, count)) for one in users])
        for count in counts
    ]
    return Chart(title, Shape.LINES, users, lines, unit, False, log=log, scale=Scale.LOG, x_label="users")
