"""Percentiles with their intervals as cells of a table, and their bounds if some operations never ended."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from checker.loadtest.results import BenchRun, Series
from checker.loadtest.summary import HistogramName, Summary
from checker.stats.histogram import GROWTH
from checker.stats.intervals import fewest, ranks_of_many
from reports.output_forms import duration
from reports.percentile_cells import LABELS, QUANTILES, interval_columns
from reports.report_model import Column, Insufficient, Kind, Section, Table

MEASURES: dict[HistogramName, tuple[str, str]] = {
    "response": ("response", "From scheduled to done, of good answers: what an outside caller waits."),
    "service": ("service", "From sent to done, of good answers: what the server took."),
    "first_byte": ("first byte", "From sent to the first byte of good answers."),
    "late": (
        "late start",
        "From scheduled to sent, of all that were sent: what the load generator and its limits added.",
    ),
    "failed_response": ("failed", "From scheduled to the end, of failures; a timeout counts as its limit."),
}
"""Histogram -> its name, and its definition."""
_WITHIN_RESPONSE = ("response", "service", "first_byte")


def quantile_cell(summary: Summary, q: float, histogram: HistogramName = "response") -> Any:
    """One quantile in milliseconds: None without samples, Insufficient if its interval has no upper end."""
    n = samples(summary, histogram)
    if n == 0:
        return None
    if n < fewest(q):
        return Insufficient(n, fewest(q))
    return _within_longest(summary, summary.quantile_us(q, histogram), histogram)


def samples(summary: Summary, histogram: HistogramName = "response") -> int:
    """The number of samples."""
    return int(summary.histograms[histogram].count.sum())


def longest_ms(summary: Summary, histogram: HistogramName = "response") -> float | None:
    """The longest sample: exact for response times, within 1% for the others."""
    if histogram == "response" and summary.max_us:
        return summary.max_us / 1000
    return _within_longest(summary, summary.quantile_us(1.0, histogram), histogram)


def _within_longest(summary: Summary, value_us: float | None, histogram: HistogramName) -> float | None:
    """The value in milliseconds, capped at the longest response time, which the middle of a bin may exceed."""
    if value_us is None:
        return None
    longest_us = summary.max_us if histogram in ("service", "first_byte") and summary.max_us else value_us
    return min(value_us, longest_us) / 1000


def cells(summary: Summary, histogram: HistogramName) -> list[Any]:
    """The cells under `columns`: n, min, the quantiles, max, mean."""
    found = summary.percentiles(histogram)
    if found is None:
        return [0, *[None] * (len(QUANTILES) + 3)]
    quantiles = [quantile_cell(summary, q, histogram) for _, q in QUANTILES]
    return [found.count, found.min / 1000, *quantiles, longest_ms(summary, histogram), found.mean / 1000]


def columns() -> list[Column]:
    """The columns of `cells`."""
    return [
        Column("n", "n", Kind.COUNT, words="Samples."),
        Column("min_ms", "min", Kind.DURATION),
        *(
            Column(f"{name}_ms", LABELS[name], Kind.DURATION, words=f"From {fewest(q):,} samples on.")
            for name, q in QUANTILES
        ),
        Column("max_ms", "max", Kind.DURATION),
        Column("mean_ms", "mean", Kind.DURATION),
    ]


def ends(summary: Summary, histogram: HistogramName) -> list[Any]:
    """n, and both ends of each quantile's 95% interval, infinite if it is open: the cells under `interval_columns`."""
    n = samples(summary, histogram)
    if n == 0:
        return [0, *[None] * (2 * len(QUANTILES))]
    ranks = np.array([ranks_of_many([n], q)[0] for _, q in QUANTILES])
    low, high = ranks[np.newaxis, :, 0], ranks[np.newaxis, :, 1]
    low_us, high_us = (ends[0].tolist() for ends in summary.histograms[histogram].around_ranks(low, high))
    # No answer takes longer than the longest response time, which is known exactly.
    most = summary.max_us / 1000 if histogram in _WITHIN_RESPONSE and summary.max_us else math.inf
    found: list[Any] = [n]
    for (first, last), least_us, most_us in zip(ranks.tolist(), low_us, high_us, strict=True):
        found.append(min(least_us / 1000, most) if first >= 1 else -math.inf)
        found.append(min(most_us / 1000, most) if last >= 1 else math.inf)
    return found


def endless(summary: Summary) -> int:
    """The number of operations without a known response time: never sent, or ended by the timeout."""
    return summary.dropped + summary.censored


def bounds_ms(summary: Summary, q: float) -> tuple[float, float]:
    """The bounds of a quantile of the response time of successful and endless operations, in milliseconds.

    Lower bound: an operation that timed out took its timeout, one that was never sent took no time. Upper bound: all of
    these never ended. Failures with an answer are in neither. NaN without operations.
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
    """The lower edge of the bin with this rank, in microseconds."""
    return float(GROWTH ** int(bins[np.searchsorted(np.cumsum(counts), rank)]))


def section(run: BenchRun, every: list[tuple[Series, Summary]]) -> Section | None:
    """A row for each series with operations that never ended; None without such series."""
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
    """A sentence about the worst p99, if it differs from the tables; otherwise empty."""
    found = [(bounds_ms(one, 0.99), endless(one), series) for series, one in every if endless(one)]
    if not found:
        return ""
    (low, high), many, series = max(found, key=lambda one: (one[0][0], one[1]))
    said = f"{many:,} operation{'' if many == 1 else 's'} at {series.server} never completed (never sent, or timed out)"
    upper = "" if math.isinf(high) else f" and at most {duration(high)}"
    return f"{said} and count in no percentile: if they did, p99 would be at least {duration(low)}{upper}."
