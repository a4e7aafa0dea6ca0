"""What has become slower, less available or otherwise different: slopes, changes of level, outliers and extremes."""

from __future__ import annotations

from collections.abc import Sequence

from reports import trend_lists as lists
from reports.report import Level, Report
from reports.show import duration
from reports.stats.slope import FEWEST_POINTS
from reports.subjects import KINDS
from reports.trend_series import Metric, metrics_of, steady_of
from storage.past import Past
from storage.rollups.read import Period

MOST_NAMED = 3
"""Servers that the verdict names."""


def build(past: Past, period: Period, *, kinds: Sequence[str] = KINDS, top: int = 20, selection: str = "") -> Report:
    """The report; each list has at most ``top`` rows, the most important first.

    The slot that is not over is left out: a day of its first hours only is no day to compare.
    """
    period = period.finished if len(period.finished.slots) > 1 else period
    metrics = metrics_of(past, period, kinds)
    steady = steady_of(past, period)
    slopes = lists.slopes(period, metrics, top)
    changes = lists.changes_of_level(period, metrics, top)
    falling = lists.availability(period, steady, top)
    slower = list(dict.fromkeys((*slopes.servers, *changes.servers)))
    return Report(
        name="trends",
        title="Trends",
        verdict=_verdict(metrics, slower, falling.servers),
        level=_level(metrics, slower, falling.servers),
        since_ms=period.since_ms,
        until_ms=period.until_ms,
        sections=[
            slopes.section,
            changes.section,
            falling.section,
            lists.outliers_of_groups(past, metrics, top),
            lists.slowest(metrics, top),
            lists.flakiest(steady, top),
            lists.drifted(metrics, top),
        ],
        servers=len(past.servers),
        selection=selection,
        facts=(("slots", f"{len(period.slots)} of {duration(period.slot_ms)}"),),
        notes=_notes(period, metrics),
    )


def _verdict(metrics: Sequence[Metric], slower: Sequence[str], falling: Sequence[str]) -> str:
    tested = {series.server for metric in metrics for series in metric.tested}
    if not tested:
        return f"Insufficient: no server has {FEWEST_POINTS} slots with enough answers."
    parts = [f"{len(slower)} of {len(tested):,} servers became slower{_named(slower)}"]
    if falling:
        parts.append(f"{len(falling)} became less available{_named(falling)}")
    return "; ".join(parts) + "."


def _named(servers: Sequence[str]) -> str:
    if not servers:
        return ""
    more = len(servers) - MOST_NAMED
    return f": {', '.join(servers[:MOST_NAMED])}{f' and {more:,} more' if more > 0 else ''}"


def _level(metrics: Sequence[Metric], slower: Sequence[str], falling: Sequence[str]) -> Level:
    if not any(len(metric.tested) for metric in metrics):
        return Level.UNKNOWN
    return Level.WARNING if slower or falling else Level.GOOD


def _notes(period: Period, metrics: Sequence[Metric]) -> list[str]:
    short = sum(len(metric.series) - len(metric.tested) for metric in metrics)
    if not short:
        return []
    said = f"{short:,} of {sum(len(metric.series) for metric in metrics):,} series have fewer than"
    return [f"{said} {FEWEST_POINTS} slots with enough answers: no trend is told of them"]
