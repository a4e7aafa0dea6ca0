"""The tables of a load test: thresholds, a row for each series, a row for each stage, percentiles with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from checker.bench.results import BenchRun, Series
from checker.bench.summary import Summary, covered_s, measured, measured_stages, of_stage, summarize
from reports.bench import percentiles
from reports.bench.percentiles import MEASURES, quantile_cell
from reports.report import Column, Kind, Section, Table
from reports.ticks import clock

CLOSED = "closed model: coordinated omission applies; a freeze of the server shows as lower rate, not as latency"
"""What must stand by every number of the closed model."""
_MODELS = {"open": "open", "closed": "closed: coordinated omission applies"}
_RESPONSE = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def thresholds(run: BenchRun) -> Section:
    """Each threshold, what was measured, and whether it holds."""
    columns = (
        Column("metric", "Metric"),
        Column("expression", "Threshold", words="Times are milliseconds."),
        Column("over_s", "Over", Kind.NUMBER, "s", "Length of the windows that must each hold; empty for all at once."),
        Column("value", "Measured", Kind.NUMBER, words="In the unit of the threshold; of windows the worst."),
        Column("result", "Result", Kind.STATUS),
        Column("aborted", "Ended the run"),
        Column("broken_at", "First broken", words="From the start of the run."),
    )
    rows = [
        (
            one.metric,
            one.expression,
            one.over_s,
            one.value,
            "PASSED" if one.passed else "FAILED",
            "yes" if one.aborted else "no",
            None if one.at_s is None else clock(one.at_s),
        )
        for one in run.thresholds
    ]
    text = "Over the measured stages." if rows else "The plan has no thresholds, so nothing says whether this is good."
    return Section("thresholds", "Thresholds", Table(columns, rows) if rows else None, text)


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
    return summarize(slots, covered_s(run, stages))


def head_columns() -> list[Column]:
    """What names a series."""
    return [Column("server", "Server"), Column("operation", "Operation"), Column("scenario", "Scenario")]


def head(series: Series) -> list[Any]:
    """Under `head_columns`."""
    return [series.server, series.operation, series.scenario]


def count_columns() -> list[Column]:
    """What `counts` gives."""
    return [
        Column("offered", "Offered", Kind.COUNT, words="Arrivals due; in the closed model, requests begun."),
        Column("ok", "ok", Kind.COUNT),
        Column("failed", "Failed", Kind.COUNT),
        Column("failed_ratio", "Failed", Kind.RATIO, words="Of those that ended; what was never sent is a failure."),
        Column("offered_per_s", "Offered", Kind.NUMBER, "/s"),
        Column("achieved_per_s", "Achieved", Kind.NUMBER, "/s", "Ended within the time, good or bad."),
        Column("ok_per_s", "Throughput", Kind.NUMBER, "/s", "Ended well within the time."),
    ]


def counts(summary: Summary) -> list[Any]:
    """Counts and rates."""
    return [
        summary.offered,
        summary.ok,
        summary.failed + summary.dropped,
        summary.failed_ratio if summary.offered else None,
        summary.offered_per_s,
        summary.achieved_per_s,
        summary.ok_per_s,
    ]


def latency_columns() -> list[Column]:
    """What `latencies` gives: response and service side by side."""
    return [
        *(
            column
            for name, q in _RESPONSE
            for column in (
                Column(f"response_{name}_ms", f"{name} response", Kind.DURATION, words=MEASURES["response"][1]),
                Column(f"service_{name}_ms", f"{name} service", Kind.DURATION, words=MEASURES["service"][1]),
            )
        ),
        Column("response_max_ms", "max response", Kind.DURATION),
        Column("service_max_ms", "max service", Kind.DURATION),
        Column("late_p99_ms", "p99 late", Kind.DURATION, words=MEASURES["late"][1]),
    ]


def latencies(summary: Summary) -> list[Any]:
    """Quantiles of the response and the service time, and of late starts."""
    found = [quantile_cell(summary, q, which) for _, q in _RESPONSE for which in ("response", "service")]
    longest = [percentiles.longest_ms(summary, "response"), percentiles.longest_ms(summary, "service")]
    return [*found, *longest, quantile_cell(summary, 0.99, "late")]


def summary(run: BenchRun, every: list[tuple[Series, Summary]]) -> Section:
    """A row for each server and operation."""
    columns = [*head_columns(), Column("model", "Model"), *count_columns(), *latency_columns()]
    rows = [
        [*head(series), _MODELS.get(series.model, series.model), *counts(one), *latencies(one)] for series, one in every
    ]
    if len(every) > 1:
        models = {series.model for series, _ in every}
        whole = measured(run)
        mixed = _MODELS.get(models.pop(), "") if len(models) == 1 else "open and closed"
        rows.insert(0, ["all", None, None, mixed, *counts(whole), *latencies(whole)])
    text = (
        "Measured stages alone, without warm-up, ramps and cool-down. Response: from the moment at which an operation "
        "was due to its end, what a caller from outside waits. Service: from the moment at which it was sent. Failed "
        "ones are in no percentile, and in every rate."
    )
    if any(series.model == "closed" for series, _ in every):
        text += f" {CLOSED[0].upper()}{CLOSED[1:]}."
    return Section("summary", "Servers and operations", Table(columns, rows), text)


def stages(run: BenchRun) -> Section:
    """A row for each stage, measured or not."""
    columns = [
        Column("stage", "Stage"),
        Column("scenario", "Scenario"),
        Column("kind", "Kind"),
        Column("measured", "Counted"),
        Column("from", "From"),
        Column("until", "Until"),
        Column("start_level", "Level", Kind.NUMBER, "from"),
        Column("end_level", "Level", Kind.NUMBER, "to", "Arrivals per second over all servers, or users."),
        *count_columns(),
        *latency_columns(),
    ]
    rows = []
    for at, span in enumerate(run.stages):
        one = of_stage(run, at)
        words = "yes" if span.measured else "no"
        moments = [clock(span.from_s), clock(span.until_s)]
        levels = [span.start_level, span.end_level]
        rows.append([span.name, span.scenario, span.kind, words, *moments, *levels, *counts(one), *latencies(one)])
    return Section("stages", "Stages", Table(columns, rows), "Each stage alone, also those that no other table counts.")


def percentile_tables(every: list[tuple[Series, Summary]]) -> Iterator[Section]:
    """All percentiles of each series, and how sure they are."""
    named = [*head_columns(), Column("measure", "Measure")]
    rows, intervals = [], []
    for series, one in every:
        for histogram, (words, _) in MEASURES.items():
            if percentiles.samples(one, histogram):
                rows.append([*head(series), words, *percentiles.cells(one, histogram)])
                intervals.append([*head(series), words, *percentiles.ends(one, histogram)])
    what = " ".join(f"{words[0].upper()}{words[1:]}: {said[0].lower()}{said[1:]}" for words, said in MEASURES.values())
    yield Section(
        "percentiles",
        "Percentiles",
        Table([*named, *percentiles.columns()], rows),
        f"Of sums of histograms, within 1 % of the sample at the rank; the longest response time is exact. {what}",
    )
    yield Section(
        "intervals",
        "How sure the percentiles are",
        Table([*named, *percentiles.interval_columns()], intervals),
        "95 % intervals by order statistics; an end is open where no sample is far enough out: p99 has an upper end "
        "from 368 samples on, p99.9 from 3,688. They hold for independent samples; requests of one run are less than "
        "that.",
    )
