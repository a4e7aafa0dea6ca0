"""Percentiles of all that was due, where some of it never ended: between what is known and what could be."""

from __future__ import annotations

import math

import numpy as np

from checker.bench.results import BenchRun, Series
from checker.bench.summary import Summary
from reports.percentiles import QUANTILES, interval_columns
from reports.report import Column, Kind, Section, Table
from reports.show import duration
from storage.rollups.histogram import GROWTH


def endless(summary: Summary) -> int:
    """Operations whose response time nobody knows: never sent, or given up at the limit."""
    return summary.dropped + summary.censored


def bounds_ms(summary: Summary, q: float) -> tuple[float, float]:
    """Between which two the quantile of the response time of good and endless operations lies, in milliseconds.

    At least: what timed out took its limit, what was never sent nothing. At most: all of these took for ever. Failures
    with an answer are in neither. NaN where there are no operations.
    """
    good, failed = summary.histograms["response"], summary.histograms["failed_response"]
    n = int(good.count.sum()) + endless(summary)
    if not n:
        return math.nan, math.nan
    rank = max(1, math.ceil(q * n - 1e-9))
    # What timed out is the longest of what failed: it took the limit, which nothing exceeds.
    many = np.minimum(np.cumsum(failed.count[::-1])[::-1], summary.censored)
    of_bin = many - np.append(many[1:], 0)
    bins, counts = np.concatenate((good.bin, failed.bin)), np.concatenate((good.count, of_bin))
    order = np.argsort(bins, kind="stable")
    unsent = n - int(counts.sum())
    low = 0.0 if rank <= unsent else _edge(bins[order], counts[order], rank - unsent)
    high = math.inf if rank > int(good.count.sum()) else _edge(good.bin, good.count, rank) * GROWTH
    longest_us = summary.max_us or math.inf
    return low / 1000, high / 1000 if math.isinf(high) else min(high, longest_us) / 1000


def _edge(bins: np.typing.NDArray[np.int64], counts: np.typing.NDArray[np.int64], rank: int) -> float:
    """The lower edge of the bin of this rank, in microseconds."""
    return float(GROWTH ** int(bins[np.searchsorted(np.cumsum(counts), rank)]))


def section(run: BenchRun, every: list[tuple[Series, Summary]]) -> Section | None:
    """A row for each series with operations that never ended; None where there is none."""
    rows = []
    for series, one in every:
        if not endless(one):
            continue
        ends = [end for _, q in QUANTILES for end in bounds_ms(one, q)]
        named = [series.scenario, series.operation, series.server]
        rows.append([*named, one.ok + endless(one), one.dropped, one.censored, *ends])
    if not rows:
        return None
    columns = [
        Column("scenario", "Scenario"),
        Column("operation", "Operation"),
        Column("server", "Server"),
        Column("n", "n", Kind.COUNT, words="Good operations and those that never completed."),
        Column("dropped", "Never sent", Kind.COUNT),
        Column("censored", "Timed out", Kind.COUNT),
        *interval_columns()[1:],
    ]
    return Section(
        "bounds",
        "Percentiles including what never completed",
        Table(columns, rows),
        "Other tables count good operations only, which flatters a server that answers late or not at all. Here those "
        "that were never sent or timed out count too: how long they would have taken is unknown, so each percentile "
        "lies between the two; the upper end is open where too many never completed.",
    )


def note(every: list[tuple[Series, Summary]]) -> str:
    """A sentence about the worst p99, where it is not what the tables say; else nothing."""
    found = [(bounds_ms(one, 0.99), endless(one), series) for series, one in every if endless(one)]
    if not found:
        return ""
    (low, high), many, series = max(found, key=lambda one: (one[0][0], one[1]))
    said = f"{many:,} operation{'' if many == 1 else 's'} at {series.server} never completed (never sent, or timed out)"
    upper = "" if math.isinf(high) else f" and at most {duration(high)}"
    return f"{said} and count in no percentile: if they did, p99 would be at least {duration(low)}{upper}."
