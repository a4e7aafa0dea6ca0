"""What has become slower, less available or otherwise different: slopes, changes of level, outliers and extremes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from checker.kinds import KINDS
from reports import trend_lists as lists
from reports.report import Level, Report
from reports.show import duration, per_cent
from reports.stats.changes import FEWEST_POINTS as FEWEST_CHANGE_POINTS
from reports.stats.slope import FEWEST_POINTS
from reports.trend_series import PercentileSeries, metrics_of, steady_of
from reports.trend_tests import LARGE_RATIO, Tested, examine
from storage.past import Past
from storage.rollups.read import Period

MOST_NAMED = 3
"""Servers that the verdict names."""
_DAY_MS = 86_400_000


def build(
    past: Past, period: Period, *, kinds: Sequence[str] = tuple(KINDS), top: int = 20, selection: str = ""
) -> Report:
    """The report; each list has at most ``top`` rows, the most important first.

    The slot that is not over is left out: a day of its first hours only is no day to compare.
    """
    period = period.finished if len(period.finished.slots) > 1 else period
    metrics = metrics_of(past, period, kinds)
    steady = steady_of(past, period)
    tests = examine(period, metrics, steady)
    slopes = lists.slopes(period, tests, top)
    changes = lists.changes_of_level(period, tests, top)
    falling = lists.availability(steady, tests, top)
    slower = list(dict.fromkeys((*slopes.servers, *changes.servers)))
    return Report(
        name="trends",
        title="Trends",
        verdict=_verdict(metrics, tests, slower, falling.servers),
        level=_level(metrics, tests, slower, falling.servers),
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
        facts=(
            ("slots", f"{len(period.slots)} of {duration(period.slot_ms)}"),
            ("smallest change that would be seen", _smallest(tests) or "none"),
        ),
        notes=_notes(metrics, tests, period),
    )


def _verdict(metrics: Sequence[PercentileSeries], tests: Tested, slower: Sequence[str], falling: Sequence[str]) -> str:
    servers = {series.server for metric in metrics for series in metric.tested}
    if not servers:
        return f"Insufficient: no server has {FEWEST_POINTS} slots with enough answers."
    parts = [f"{len(slower)} of {len(servers):,} servers became slower{_named(slower)}"]
    if falling:
        parts.append(f"{len(falling)} became less available{_named(falling)}")
    said = "; ".join(parts) + "."
    if _blind(tests) and not slower:
        return f"Cannot tell whether servers became slower: {_blindness(tests)}. {said}"
    return said


def _blind(tests: Tested) -> bool:
    """Whether the tests could not have seen a change that is not large in more than a tenth of the series."""
    return tests.series == 0 or tests.cannot_tell > 0.1 * tests.series


def _blindness(tests: Tested) -> str:
    if not tests.series:
        return f"a change of level needs {FEWEST_CHANGE_POINTS} slots"
    few = f"with so few or so scattered slots a change of less than {per_cent(LARGE_RATIO)}"
    return f"{few} could not be seen in {tests.cannot_tell:,} of {tests.series:,} series"


def _smallest(tests: Tested) -> str:
    """The smallest lasting change that would be seen, in words; nothing where there is none."""
    ratio = tests.smallest_ratio
    return "" if np.isnan(ratio) or np.isinf(ratio) else per_cent(ratio)


def _named(servers: Sequence[str]) -> str:
    if not servers:
        return ""
    more = len(servers) - MOST_NAMED
    return f": {', '.join(servers[:MOST_NAMED])}{f' and {more:,} more' if more > 0 else ''}"


def _level(metrics: Sequence[PercentileSeries], tests: Tested, slower: Sequence[str], falling: Sequence[str]) -> Level:
    if not any(len(metric.tested) for metric in metrics):
        return Level.UNKNOWN
    if slower or falling:
        return Level.WARNING
    return Level.UNKNOWN if _blind(tests) else Level.GOOD


def _notes(metrics: Sequence[PercentileSeries], tests: Tested, period: Period) -> list[str]:
    notes = []
    series = sum(len(metric.series) for metric in metrics)
    if short := series - sum(len(metric.tested) for metric in metrics):
        said = f"{short:,} of {series:,} series have fewer than"
        notes.append(f"{said} {FEWEST_POINTS} slots with enough answers: no trend is told of them")
    if not tests.family:
        return notes
    if smallest := _smallest(tests):
        notes.append(
            f"a change that lasts for half of the period would be seen, four times in five, from {smallest} on in nine "
            "of ten series"
        )
    if _blind(tests):
        notes.append(f"cannot tell of all: {_blindness(tests)}")
    unknown = sum(int(np.sum(~metric.rhythm_known)) for metric in metrics if metric.rhythm_known is not None)
    if unknown:
        cycle = "days" if period.slot_ms < _DAY_MS else "weeks"
        notes.append(
            f"{unknown:,} of {series:,} series have fewer than four {cycle} of history: what they do at some hours or "
            "days is not known, and may look like a change"
        )
    return notes
