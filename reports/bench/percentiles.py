"""Percentiles of summed slots with their intervals, as cells of a table: never a number from too few samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from checker.bench.summary import HistogramName, Summary
from reports.percentiles import LABELS, QUANTILES
from reports.report import Column, Insufficient, Kind
from reports.stats.intervals import fewest, ranks_of_many

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
"""Histogram -> what it is called, and what it is."""
_WITHIN_RESPONSE = ("response", "service", "first_byte")


def quantile_cell(summary: Summary, q: float, histogram: HistogramName = "response") -> Any:
    """One quantile in milliseconds: None without samples, Insufficient where its interval has no upper end."""
    n = samples(summary, histogram)
    if n == 0:
        return None
    if n < fewest(q):
        return Insufficient(n, fewest(q))
    return _within_longest(summary, summary.quantile_us(q, histogram), histogram)


def samples(summary: Summary, histogram: HistogramName = "response") -> int:
    """How many there are."""
    return int(summary.histograms[histogram].count.sum())


def longest_ms(summary: Summary, histogram: HistogramName = "response") -> float | None:
    """The longest sample: exact of response times, within 1% of the others."""
    if histogram == "response" and summary.max_us:
        return summary.max_us / 1000
    return _within_longest(summary, summary.quantile_us(1.0, histogram), histogram)


def _within_longest(summary: Summary, value_us: float | None, histogram: HistogramName) -> float | None:
    """In milliseconds. No part of an operation takes longer than the longest: a bin's middle may say so."""
    if value_us is None:
        return None
    longest_us = summary.max_us if histogram in ("service", "first_byte") and summary.max_us else value_us
    return min(value_us, longest_us) / 1000


def cells(summary: Summary, histogram: HistogramName) -> list[Any]:
    """Under `columns`: n, min, the quantiles, max, mean."""
    found = summary.percentiles(histogram)
    if found is None:
        return [0, *[None] * (len(QUANTILES) + 3)]
    quantiles = [quantile_cell(summary, q, histogram) for _, q in QUANTILES]
    return [found.count, found.min / 1000, *quantiles, longest_ms(summary, histogram), found.mean / 1000]


def columns() -> list[Column]:
    """What `cells` gives."""
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
    """n, and both ends of the 95% interval of each quantile, infinite where it is open: under `interval_columns`."""
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
