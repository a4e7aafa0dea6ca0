"""The trends report: servers that became slower, less available or unlike their group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from checker.probe_kinds import KINDS
from checker.stats import Floats
from checker.stats.change_points import FEWEST_POINTS as FEWEST_CHANGE_POINTS
from checker.stats.change_points import ChangePoint
from checker.stats.robust import FAR_Z, SMALLEST_GROUP, medians, outliers
from checker.stats.slope import FEWEST_SLOPE_POINTS, Trend, trend
from reports.output_forms import duration, per_cent
from reports.report_model import Chart, Column, KeyNumber, Kind, Level, Line, Mark, Report, Section, Shape, Table
from reports.trend_tests import (
    ALPHA,
    LARGE_RATIO,
    LEAST_AVAILABILITY_RATIO,
    LEAST_CHANGE_MS,
    LEAST_CHANGE_RATIO,
    OfServer,
    PercentileSeries,
    Steady,
    Tested,
    examine,
    metrics_of,
    steady_of,
)
from storage.report_history import Past
from storage.rollups.read import Period

FEWEST_CHECKS = 100
FAR_FACTOR = 1.25
"""An outlier is at least this many times the median of its group, or the median this many times the outlier."""
MOST_CHARTS = 6
MOST_SURE_RATIO = 0.9999
"""Largest stated confidence: the assumptions of the tests are not more certain."""
_DAY_MS = 86_400_000
_SERVER = (
    Column("server", "Server"),
    Column("kind", "Kind"),
    Column("metric", "Of", words="Which value of each slot."),
)


class TrendList(Struct, frozen=True):
    """A list, and all servers in it that became worse, including those not shown."""

    section: Section
    servers: Sequence[str]


def slope_list(period: Period, found: Tested, top: int) -> TrendList:
    """Series that rise or fall steadily."""
    significant = [(one, of.metric) for of in found.metrics for one in of.slopes]
    significant.sort(key=lambda one: (one[0].ratio < 0, -abs(one[0].ratio)))
    days = np.arange(len(period.slots)) * period.slot_ms / _DAY_MS
    table: list[list[Any]] = []
    charts: list[Chart] = []
    for of_row, metric in significant[:top]:
        one, of = trend(days, metric.even_ms[of_row.row]), metric.series[of_row.row]
        assert one is not None  # noqa: S101 # as many points as were tested
        word = "slower" if of_row.ratio > 0 else "faster"
        slope = (one.slope, one.slope_low, one.slope_high)
        week = 7 * one.slope / one.y_middle
        table.append([of.server, of.kind, metric.name, word, one.y_middle, *slope, week, of_row.p_value, one.n])
        if len(charts) < MOST_CHARTS:
            charts.append(_with_line(period, metric, of_row.row, one))
    slower = sum(one.ratio > 0 for one, _ in significant)
    columns = [
        *_SERVER,
        Column("direction", "Became"),
        Column("level_ms", "Level", Kind.DURATION, words="Of the line, in the middle of the period."),
        Column("slope_ms_per_day", "A day", Kind.NUMBER, "ms", "Theil-Sen slope."),
        Column("slope_low_ms_per_day", "from", Kind.NUMBER, "ms", "Lower end of Sen's 95% interval.", rank=1),
        Column("slope_high_ms_per_day", "to", Kind.NUMBER, "ms", rank=1),
        Column("slope_ratio_per_week", "A week", Kind.RATIO, words="Seven days' slope as a share of the level."),
        Column(
            "p_value", "p", Kind.NUMBER, words="Of Mann-Kendall, corrected for all tests (false discoveries).", rank=1
        ),
        Column("slots", "Slots", Kind.COUNT, rank=2),
    ]
    text = (
        f"Rule: Mann-Kendall p of at most {ALPHA} (false discoveries over {found.family:,} tests, in series of "
        f"{FEWEST_SLOPE_POINTS} slots and more), a line that moves by {LEAST_CHANGE_RATIO:.0%} and 1 ms over the "
        f"period, and no levels that are nearer to the values. {slower:,} rise and {len(significant) - slower:,} fall; "
        "the steepest rise first."
    )
    section = Section(
        "slopes",
        "Slower or faster all along",
        Table(columns, table),
        _said(table, text, "No series rises or falls all along."),
        charts,
        open=True,
    )
    return TrendList(section, [metric.series[one.row].server for one, metric in significant if one.ratio > 0])


def changes_of_level(period: Period, tests: Tested, top: int) -> TrendList:
    """Series whose level changed from one slot to the next, once or several times."""
    found = [
        (abs(np.log(one.ratio or 1.0)), of.metric, row, one, bool(of.lasting(row)))
        for of in tests.metrics
        for row, changes in of.levels.items()
        for one in changes
    ]
    found.sort(key=lambda one: (one[3].after < one[3].before, -one[0]))
    table: list[list[Any]] = []
    charts: list[Chart] = []
    drawn = set()
    for _, metric, row, one, lasts in found[:top]:
        of, at_ms = metric.series[row], (period.slots.start + one.index) * period.slot_ms
        values = (at_ms, one.before, one.after, one.ratio, min(MOST_SURE_RATIO, 1 - one.p_value))
        table.append([of.server, of.kind, metric.name, *values, "" if lasts else "came back"])
        if len(charts) < MOST_CHARTS and (of, metric.name) not in drawn:
            drawn.add((of, metric.name))
            marks = [
                Mark((period.slots.start + other.index) * period.slot_ms, f"x {other.ratio or 0:.2f}")
                for _, of_metric, of_row, other, _ in found
                if of_metric is metric and of_row == row
            ]
            levels = [other for _, of_metric, of_row, other, _ in found if of_metric is metric and of_row == row]
            charts.append(_chart(period, metric, row, marks, [_steps(period, levels)]))
    columns = [
        *_SERVER,
        Column("at", "First slot after", Kind.TIME),
        Column("before_ms", "Before", Kind.DURATION),
        Column("after_ms", "After", Kind.DURATION),
        Column("ratio", "Ratio", Kind.NUMBER),
        Column(
            "confidence_ratio", "Confidence", Kind.RATIO, words="1 - p of the series, corrected for all tests.", rank=1
        ),
        Column("lasting", "Lasting", words="Came back: the last level of the series is its first one again."),
    ]
    text = (
        f"Rule: a scan over normal scores with p of at most {ALPHA} (false discoveries over {tests.family:,} tests), "
        f"levels that are {LEAST_CHANGE_RATIO:.0%} and 1 ms apart, of five slots and more, and no line that is nearer "
        f"to the values. {len(found):,} found; the largest rise first."
    )
    words = _said(table, text, "No level changed.")
    section = Section("changes", "Changes of level", Table(columns, table), words, charts, open=True)
    slower = [one for of in tests.metrics for one in of.slower()]
    return TrendList(section, [server for _, server in sorted(slower, key=lambda one: (-one[0], one[1]))])


def availability(steady: Steady, tests: Tested, top: int) -> TrendList:
    """Servers that became more or less available."""
    ratio, adjusted = steady.available_ratio, tests.availability_p
    middle = ratio.shape[1] // 2
    first, second = (
        _availability(steady.up_ms[:, part], steady.down_ms[:, part])
        for part in (slice(0, middle), slice(middle, None))
    )
    moved = second - first
    rows = np.flatnonzero((adjusted <= ALPHA) & (np.abs(moved) >= LEAST_AVAILABILITY_RATIO))
    order = rows[np.argsort(moved[rows], kind="stable")].tolist()
    table = [
        [
            steady.servers[row],
            "fell" if moved[row] < 0 else "rose",
            *map(float, (first[row], second[row], moved[row], adjusted[row])),
            int(np.sum(~np.isnan(ratio[row]))),
        ]
        for row in order[:top]
    ]
    columns = [
        _SERVER[0],
        Column("direction", "Availability"),
        Column("first_ratio", "First half", Kind.RATIO),
        Column("second_ratio", "Second half", Kind.RATIO),
        Column("difference_ratio", "Difference", Kind.RATIO),
        Column("p_value", "p", Kind.NUMBER, words="Of Mann-Kendall over slots, corrected for all tests."),
        Column("slots", "Slots", Kind.COUNT),
    ]
    text = (
        f"Rule: Mann-Kendall p of at most {ALPHA} over the slots' availability (false discoveries over "
        f"{tests.family:,} tests) and halves that are {LEAST_AVAILABILITY_RATIO:.1%} apart. The deepest fall first."
    )
    section = Section(
        "availability",
        "Availability rising or falling",
        Table(columns, table),
        _said(table, text, "No server became more or less available."),
    )
    return TrendList(section, [steady.servers[row] for row in order if moved[row] < 0])


def outliers_of_groups(past: Past, metrics: Sequence[PercentileSeries], top: int) -> Section:
    """Servers far from the others of their group."""
    found: list[tuple[float, list[Any]]] = []
    for metric in metrics:
        typical = metric.typical_ms()
        members: dict[tuple[str, str], list[int]] = {}
        for row, of in enumerate(metric.series):
            if of.group and typical[row] > 0:
                members.setdefault((of.group, of.kind), []).append(row)
        for (group, kind), rows in members.items():
            for one in outliers(np.log(typical[rows]), 0.0, float(np.log(FAR_FACTOR))):
                value, middle = float(np.exp(one.value)), float(np.exp(one.median))
                server = metric.series[rows[one.index]].server
                cells = [server, kind, metric.name, group, len(rows), value, middle, value / middle, one.z]
                found.append((-one.z, cells))
    found.sort(key=lambda one: one[0])
    columns = [
        *_SERVER,
        Column("group", "Group"),
        Column("members", "Members", Kind.COUNT),
        Column("value_ms", "Typical", Kind.DURATION, words="Median over the slots."),
        Column("group_ms", "Group's median", Kind.DURATION),
        Column("factor", "Factor", Kind.NUMBER),
        Column("z", "z", Kind.NUMBER, words="Modified z-score of the logarithm."),
    ]
    text = (
        f"Rule: modified z-score of the logarithm beyond {FAR_Z} and a factor of {FAR_FACTOR} from the median of the "
        f"group, in groups of {SMALLEST_GROUP} and more. {len(found):,} found; the slowest against their group first."
    )
    table = [cells for _, cells in found[:top]]
    return Section(
        "outliers",
        "Outliers in their group",
        Table(columns, table),
        _said(table, text, "Nobody is an outlier in a group."),
    )


def slowest(metrics: Sequence[PercentileSeries], top: int) -> Section:
    """Servers with the largest p95."""
    median, p95 = (metric.typical_ms() for metric in metrics)
    points = metrics[1].points
    order = [row for row in np.argsort(-p95, kind="stable").tolist() if not np.isnan(p95[row])]
    rows = [
        [
            metrics[1].series[row].server,
            metrics[1].series[row].kind,
            _known(median[row]),
            float(p95[row]),
            int(points[row]),
        ]
        for row in order[:top]
    ]
    columns = [
        *_SERVER[:2],
        Column("p50_ms", "p50", Kind.DURATION, words="Median over the slots."),
        Column("p95_ms", "p95", Kind.DURATION, words="Median over the slots."),
        Column("slots", "Slots", Kind.COUNT),
    ]
    text = "Rule: by the median of the slots' p95, so that one bad day does not count; slots of 20 answers and more."
    return Section(
        "slowest", "Slowest", Table(columns, rows), _said(rows, text, "Nobody has enough answers to be called slow.")
    )


def flakiest(steady: Steady, top: int) -> Section:
    """Servers that change most often between up and down."""
    checks, changes = steady.checks.sum(axis=1), steady.changes.sum(axis=1)
    rate = np.where(checks >= FEWEST_CHECKS, 100 * changes / np.maximum(checks, 1), 0.0)
    order = [row for row in np.argsort(-rate, kind="stable").tolist() if rate[row] > 0]
    rows = [[steady.servers[row], int(changes[row]), int(checks[row]), float(rate[row])] for row in order[:top]]
    columns = [
        _SERVER[0],
        Column("changes", "Changes", Kind.COUNT, words="Between up and down."),
        Column("checks", "Checks", Kind.COUNT, words="That said something of the server."),
        Column("changes_per_100_checks", "Per 100 checks", Kind.NUMBER),
    ]
    text = f"Rule: changes between up and down for 100 checks, of servers with {FEWEST_CHECKS} checks and more."
    return Section(
        "flakiest", "Flakiest", Table(columns, rows), _said(rows, text, "No server changed between up and down.")
    )


def drifted(metrics: Sequence[PercentileSeries], top: int) -> Section:
    """Series with the largest difference between end and beginning."""
    found: list[tuple[float, list[Any]]] = []
    for metric in metrics:
        quarter = metric.values_ms.shape[1] // 4
        enough = np.flatnonzero(metric.points >= FEWEST_SLOPE_POINTS)
        if quarter == 0 or not len(enough):
            continue
        first, last = (
            medians(part[enough]) for part in (metric.values_ms[:, :quarter], metric.values_ms[:, -quarter:])
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            drift = np.abs(np.log(last / first))
        for place in np.argsort(-np.nan_to_num(drift), kind="stable")[:top].tolist():
            if np.isnan(drift[place]) or abs(last[place] - first[place]) < LEAST_CHANGE_MS:
                continue
            of = metric.series[int(enough[place])]
            ends = (float(first[place]), float(last[place]))
            found.append((-float(drift[place]), [of.server, of.kind, metric.name, *ends, ends[1] / ends[0]]))
    found.sort(key=lambda one: one[0])
    columns = [
        *_SERVER,
        Column("first_ms", "First quarter", Kind.DURATION, words="Median of the slots."),
        Column("last_ms", "Last quarter", Kind.DURATION),
        Column("ratio", "Ratio", Kind.NUMBER),
    ]
    text = (
        "Rule: the median of the last quarter of the slots against that of the first; without a test, so partly chance."
    )
    table = [cells for _, cells in found[:top]]
    return Section("drifted", "Most drifted", Table(columns, table), _said(table, text, "Nobody drifted."))


def _said(table: Sequence[Any], rule: str, none: str) -> str:
    """The rule; preceded by a note if it applies to no series."""
    return rule if table else f"{none} {rule}"


def _availability(up_ms: Floats, down_ms: Floats) -> Floats:
    up, down = up_ms.sum(axis=1), down_ms.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(up + down > 0, up / np.maximum(up + down, 1), np.nan)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _chart(
    period: Period, metric: PercentileSeries, row: int, marks: Sequence[Mark] = (), more: Sequence[Line] = ()
) -> Chart:
    of: OfServer = metric.series[row]
    line = Line(metric.name, [_known(value) for value in metric.values_ms[row].tolist()])
    at_ms = [slot * period.slot_ms for slot in period.slots]
    title = f"{of.server} {of.kind}, {metric.name}"
    return Chart(title, Shape.LINES, at_ms, [line, *more], unit="ms", marks=marks)


def _steps(period: Period, changes: Sequence[ChangePoint]) -> Line:
    """The levels of a series as a line of steps."""
    ordered = sorted(changes, key=lambda one: one.index)
    values = [ordered[0].before] * len(period.slots)
    for one in ordered:
        values[one.index :] = [one.after] * (len(values) - one.index)
    return Line("level", values, dashed=True, steps=True)


def _with_line(period: Period, metric: PercentileSeries, row: int, one: Trend) -> Chart:
    days = [place * period.slot_ms / _DAY_MS for place in range(len(period.slots))]
    return _chart(period, metric, row, more=[Line("trend", [one.at(day) for day in days])])


MOST_NAMED = 3
"""Largest number of servers named in the verdict."""


def build(
    past: Past, period: Period, *, kinds: Sequence[str] | None = None, top: int = 20, selection: str = ""
) -> Report:
    """The report; each list has at most ``top`` rows, most important first.

    The current slot is left out while it is incomplete: the first hours of a day cannot be compared with a day.
    """
    kinds = tuple(KINDS) if kinds is None else kinds
    period = period.finished if len(period.finished.slots) > 1 else period
    metrics = metrics_of(past, period, kinds)
    steady = steady_of(past, period)
    tests = examine(period, metrics, steady)
    slopes = slope_list(period, tests, top)
    changes = changes_of_level(period, tests, top)
    falling = availability(steady, tests, top)
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
            outliers_of_groups(past, metrics, top),
            slowest(metrics, top),
            flakiest(steady, top),
            drifted(metrics, top),
        ],
        servers=len(past.servers),
        selection=selection,
        numbers=_numbers(metrics, tests, slower, falling.servers),
        facts=(
            ("slots", f"{len(period.slots)} of {duration(period.slot_ms)}"),
            ("smallest change that would be seen", _smallest(tests) or "none"),
        ),
        notes=_notes(metrics, tests, period),
    )


def _verdict(metrics: Sequence[PercentileSeries], tests: Tested, slower: Sequence[str], falling: Sequence[str]) -> str:
    servers = {series.server for metric in metrics for series in metric.tested}
    if not servers:
        return f"Insufficient: no server has {FEWEST_SLOPE_POINTS} slots with enough answers."
    parts = [f"{len(slower)} of {len(servers):,} servers became slower{_named(slower)}"]
    if falling:
        parts.append(f"{len(falling)} became less available{_named(falling)}")
    said = "; ".join(parts) + "."
    if _blind(tests) and not slower:
        return f"Cannot tell whether servers became slower: {_blindness(tests)}. {said}"
    return said


def _numbers(
    metrics: Sequence[PercentileSeries], tests: Tested, slower: Sequence[str], falling: Sequence[str]
) -> list[KeyNumber]:
    """What became worse, and the smallest change that would have been seen."""
    servers = len({series.server for metric in metrics for series in metric.tested})
    if not servers:
        return []
    quiet = Level.UNKNOWN if _blind(tests) else Level.GOOD
    of = f"of {servers:,} servers"
    return [
        KeyNumber("slower", f"{len(slower):,}", slower[0] if slower else of, Level.WARNING if slower else quiet),
        KeyNumber(
            "less available", f"{len(falling):,}", falling[0] if falling else of, Level.WARNING if falling else None
        ),
        KeyNumber("would be seen from", _smallest(tests) or "none", "a change of level, in nine of ten series"),
    ]


def _blind(tests: Tested) -> bool:
    """True if only a change above `LARGE_RATIO` would be detected in more than a tenth of the series."""
    return tests.series == 0 or tests.cannot_tell > 0.1 * tests.series


def _blindness(tests: Tested) -> str:
    if not tests.series:
        return f"a change of level needs {FEWEST_CHANGE_POINTS} slots"
    few = f"with so few or so scattered slots a change of less than {per_cent(LARGE_RATIO)}"
    return f"{few} could not be seen in {tests.cannot_tell:,} of {tests.series:,} series"


def _smallest(tests: Tested) -> str:
    """The smallest lasting change that would be detected, as text; empty if there is none."""
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
        notes.append(f"{said} {FEWEST_SLOPE_POINTS} slots with enough answers: no trend is told of them")
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
