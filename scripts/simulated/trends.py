"""Whom reports on latency and trends name where nothing happened, and where something did."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from checker.stats.compare import CandidateOutcome
from checker.stats.histogram import GROWTH
from checker.stats.multiple_comparisons import mann_whitney_rows
from reports import latency_change as before
from reports.trend_tests import (
    ALPHA,
    LEAST_AVAILABILITY_RATIO,
    OfServer,
    PercentileSeries,
    Steady,
    Tested,
    examine,
    usual,
)
from simulated.figures import FALSE_ALARMS, POWER, Figure
from storage.rollups.read import Period

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
_START = 20_601 * DAY_MS
_SERVERS = 50


def _period(slots: int, slot_ms: int) -> Period:
    return Period(_START, _START + slots * slot_ms, slot_ms)


def binned(values: np.ndarray) -> np.ndarray:
    """The middles of the bins that values are read from."""
    return np.asarray(GROWTH ** (np.floor(np.log(values) / np.log(GROWTH)) + 0.5))


def fleets(
    random: np.random.Generator, rows: int, period: Period, noise: float, rhythm: str, history: int
) -> PercentileSeries:
    """Rows of levels with noise, and what they do at each hour or day; ``history`` slots before the period."""
    slots = np.arange(period.slots.start - history, period.slots.stop)
    level = random.uniform(30, 200, (rows, 1))
    phase = random.uniform(0, 1, (rows, 1))
    shape = np.zeros((rows, slots.size))
    if "day" in rhythm:
        shape = shape + np.log1p(0.4 * np.sin(2 * np.pi * (slots / 24 + phase)))
    if "week" in rhythm:
        cycle = 168 if period.slot_ms == HOUR_MS else 7
        shape = shape + np.log1p(0.3 * np.sin(2 * np.pi * (slots / cycle + phase)))
    values = binned(level * np.exp(shape + random.normal(0, noise, shape.shape)))
    longer = Period(period.since_ms - history * period.slot_ms, period.until_ms, period.slot_ms)
    series = [OfServer(f"s{row}", "g", "rest") for row in range(rows)]
    return PercentileSeries("p50", series, values[:, history:], usual(values, longer)[:, history:])


def some(metric: PercentileSeries, rows: slice) -> PercentileSeries:
    """A fleet of many that were made at once."""
    of_usual = None if metric.usual is None else metric.usual[rows]
    return PercentileSeries(metric.name, metric.series[rows], metric.values_ms[rows], of_usual)


def named(tests: Tested) -> set[str]:
    """The servers that lists of the report on trends name for the worse or the better."""
    found = set()
    for of in tests.metrics:
        found |= {of.metric.series[one.row].server for one in of.slopes}
        found |= {of.metric.series[row].server for row in of.levels}
    return found


_QUIET = (
    ("24 h, daily rhythm", 24, HOUR_MS, "day", 28 * 24, 0.1),
    ("36 h, daily and weekly rhythm", 36, HOUR_MS, "day week", 28 * 24, 0.1),
    ("72 h, daily rhythm", 72, HOUR_MS, "day", 14 * 24, 0.1),
    ("14 d", 14, DAY_MS, "", 0, 0.15),
    ("30 d, weekly rhythm", 30, DAY_MS, "week", 26, 0.15),
    ("90 d, weekly rhythm", 90, DAY_MS, "week", 0, 0.3),
)


def quiet(scale: float) -> Iterator[Figure]:
    """Fleets in which nothing happens but rhythms and noise."""
    random = np.random.default_rng(5)
    many = max(4, round(60 * scale))
    for words, slots, slot_ms, rhythm, history, noise in _QUIET:
        period = _period(slots, slot_ms)
        every = fleets(random, many * _SERVERS, period, noise, rhythm, history)
        series = alarms = 0
        for fleet in range(many):
            rows = slice(fleet * _SERVERS, (fleet + 1) * _SERVERS)
            down = random.exponential(0.001 * slot_ms, (_SERVERS, slots))
            steady = Steady([one.server for one in every.series[rows]], slot_ms - down, down, down, down)
            tests = examine(period, [some(every, rows)], steady)
            fallen = _moved(tests, steady)
            found = len(named(tests) | fallen)
            series += found
            alarms += bool(found)
        case = f"{words}, {_SERVERS} servers"
        yield Figure("false alarms", "trends: series named", case, series, many * _SERVERS, FALSE_ALARMS)
        yield Figure("false alarms", "trends: fleets with a name", case, alarms, many, FALSE_ALARMS)


def _moved(tests: Tested, steady: Steady) -> set[str]:
    half = steady.up_ms.shape[1] // 2
    first, second = (steady.available_ratio[:, part].mean(axis=1) for part in (slice(0, half), slice(half, None)))
    rows = (tests.availability_p <= ALPHA) & (np.abs(second - first) >= LEAST_AVAILABILITY_RATIO)
    return {steady.servers[row] for row in np.flatnonzero(rows).tolist()}


def seen(scale: float) -> Iterator[Figure]:
    """The smallest change that a report says it would have seen: made to one server, for half of the period."""
    random = np.random.default_rng(6)
    many = max(20, round(150 * scale))
    for words, slots, slot_ms, servers, noise in (
        ("24 h of 20 servers", 24, HOUR_MS, 20, 0.1),
        ("30 d of 50 servers", 30, DAY_MS, 50, 0.15),
        ("90 d of 50 servers", 90, DAY_MS, 50, 0.3),
    ):
        period = _period(slots, slot_ms)
        held = back = counted = 0
        stated = []
        for _ in range(many):
            fleet = fleets(random, servers, period, noise, "", 0)
            smallest = examine(period, [fleet], None).metrics[0].smallest_ratio
            row = int(random.integers(servers))
            if not np.isfinite(smallest[row]):
                continue
            counted += 1
            stated.append(smallest[row])
            values = fleet.values_ms.copy()
            values[row, slots // 2 :] *= 1 + smallest[row]
            held += f"s{row}" in named(examine(period, [PercentileSeries("p50", fleet.series, values)], None))
            values = fleet.values_ms.copy()
            values[row, slots // 3 : 2 * slots // 3] *= 2
            came = examine(period, [PercentileSeries("p50", fleet.series, values)], None)
            back += any(server == f"s{row}" for of in came.metrics for _, server in of.slower())
        if counted:
            note = f"stated: {100 * float(np.median(stated)):.0f}%"
            yield Figure("power", "trends: smallest change stated", words, held, counted, POWER, note)
            yield Figure("false alarms", "trends: a level that came back", words, back, counted, FALSE_ALARMS)


def two_periods(scale: float) -> Iterator[Figure]:
    """The report on latency: a period against the one before."""
    random = np.random.default_rng(7)
    many = max(4, round(60 * scale))
    for words, slots, rhythm, history in (
        ("8 h, daily rhythm", 8, "day", 14 * 24),
        ("24 h, daily and weekly rhythm", 24, "day week", 28 * 24),
    ):
        both = _period(2 * slots, HOUR_MS)
        every = fleets(random, many * _SERVERS, both, 0.1, rhythm, history).even_ms
        series = alarms = found = 0
        for fleet in range(many):
            values = every[fleet * _SERVERS : (fleet + 1) * _SERVERS].copy()
            told = _slower(values, slots)
            series += told.sum()
            alarms += bool(told.any())
            values[0, slots:] *= 1.5
            found += bool(_slower(values, slots)[0])
        case = f"{words}, {_SERVERS} servers"
        yield Figure("false alarms", "latency: rows told apart", case, int(series), many * _SERVERS, FALSE_ALARMS)
        yield Figure("false alarms", "latency: fleets with one", case, alarms, many, FALSE_ALARMS)
        yield Figure("power", "latency: 1.5 times as long", case, found, many, (0.0, 1.0))


def _slower(values: np.ndarray, slots: int) -> np.ndarray:
    sides = [(values[:, :slots], values[:, slots:])]
    p_values = np.stack([mann_whitney_rows(*sides[0], before.FEWEST_BLOCKS)])
    (outcomes,) = before.outcomes_of(sides, p_values)
    return np.array([one in (CandidateOutcome.WORSE, CandidateOutcome.BETTER) for one in outcomes])


TRENDS = (quiet, seen, two_periods)
