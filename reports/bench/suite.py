"""The grid of a suite: users by servers, the median of each cell's blocks with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.bench.outcome import LoadTestOutcome
from reports.bench.verdict import cells_of
from reports.report import Chart, Column, Insufficient, Kind, Line, Scale, Section, Shape, Table
from reports.stats.bootstrap import median_difference

FEWEST_BLOCKS = 5
"""Fewer have no interval, and can't be compared."""


def suite(outcome: LoadTestOutcome) -> Section | None:
    """A row for each cell; None of a run without cells."""
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
    return Section("suite", "Users and servers", Table(columns, rows), text, charts)


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
    """A line for each number of servers along the users."""
    users = sorted({row[0] for row in rows})
    counts = sorted({row[1] for row in rows})
    values = {(row[0], row[1]): row[column] for row in rows}
    lines = [
        Line(f"{count} server{'' if count == 1 else 's'}", [values.get((one, count)) for one in users])
        for count in counts
    ]
    return Chart(title, Shape.LINES, users, lines, unit, False, log=log, scale=Scale.LOG, x_label="users")
