"""Tests for trends: the series, their seasonality, and the tests themselves.

All tests form one family: results of any of them are corrected for all (false discovery rate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from checker.stats import Floats
from checker.stats.change_points import (
    FEWEST_POINTS,
    ChangePoint,
    changes_of_rows,
    level_p_values,
    noise,
    smallest_step,
)
from checker.stats.histogram import GROWTH
from checker.stats.multiple_comparisons import discoveries_of, kendall_rows, slope_rows
from checker.stats.ranks import split_p_values
from checker.stats.robust import medians
from checker.stats.seasonality import FEWEST_CYCLES, rhythm
from checker.stats.slope import FEWEST_SLOPE_POINTS
from reports.percentile_cells import fewest_samples
from reports.report_rows import TOTAL
from storage.report_history import Past
from storage.rollups.read import Period

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_WEEKS_OF_HOURS = 4
"""Weeks before the period: the hours of a week need three of each, and half a week at either end has no level."""
_FEWEST_DAYS_OF_HOURS = 7
_WEEKS_OF_DAYS = 8
_MOST_READ = 400_000
"""Largest number of values read for seasonality: half a second."""


def earlier(period: Period, series: int) -> Period:
    """The period extended by the time before it that its seasonality is estimated from.

    Four weeks of hours, fewer for very many series, or eight weeks of days.
    """
    if period.slot_ms >= _DAY_MS:
        days = max(0, 7 * _WEEKS_OF_DAYS - len(period.slots))
    else:
        affordable = _MOST_READ // (24 * max(1, series))
        days = min(7 * _WEEKS_OF_HOURS, max(_FEWEST_DAYS_OF_HOURS, affordable))
    return Period(period.since_ms - days * _DAY_MS, period.until_ms, period.slot_ms)


def usual(values: Floats, period: Period) -> Floats:
    """Usual ratio of each value to its level in that slot, as a logarithm; 0 if no seasonality is known.

    For hours: the hour of the day and, from three weeks on, the hour of the week; for days: the day of the week.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(values > 0, np.log(values), np.nan)
    found = np.zeros(values.shape)
    for cycle in (24, 168) if period.slot_ms == _HOUR_MS else (7,):
        found = found + rhythm(logs - found, period.slots.start % cycle, cycle)
    return found


def rhythm_is_known(values: Floats, slot_ms: int) -> npt.NDArray[np.bool_]:
    """Mask of the rows that cover enough days (for days: weeks) for seasonality to be detected."""
    cycle = 24 if slot_ms == _HOUR_MS else 7
    known = ~np.isnan(values)
    reach = known.shape[1] - known.argmax(axis=1)
    return np.asarray(known.any(axis=1) & (reach >= (FEWEST_CYCLES + 1) * cycle))


METRICS = {"p50": 0.5, "p95": 0.95}


class OfServer(Struct, frozen=True):
    """Server and kind of a row of values."""

    server: str
    group: str
    kind: str


class PercentileSeries(Struct, frozen=True, dict=True):
    """A percentile of all servers and kinds, slot by slot."""

    name: str
    series: Sequence[OfServer]
    values_ms: Floats
    """Shape (series, slots); NaN if a slot has too few answers for it."""
    usual: Floats | None = None
    """Usual ratio to the level at that hour of the day or week, as a logarithm; None for 1."""
    rhythm_known: npt.NDArray[np.bool_] | None = None
    """True for each series with enough days to know that; None for all."""

    @cached_property
    def even_ms(self) -> Floats:
        """The values without their usual effect of the hour of the day and of the week."""
        return self.values_ms if self.usual is None else np.asarray(self.values_ms / np.exp(self.usual))

    @property
    def points(self) -> npt.NDArray[np.int64]:
        """Number of slots with a value for each series."""
        points: npt.NDArray[np.int64] = np.sum(~np.isnan(self.values_ms), axis=1)
        return points

    @property
    def tested(self) -> Sequence[OfServer]:
        """The series that are long enough for a trend."""
        return [self.series[row] for row in np.flatnonzero(self.points >= FEWEST_SLOPE_POINTS).tolist()]

    def spread_ms(self, seed: int = 0) -> Floats:
        """The even values, each at a random place in the histogram bin that it was read from.

        A value stands for its bin, 2% wide, so many values are equal; rank tests would take equal values for more
        similar than they are.
        """
        random = np.random.default_rng(seed)
        return np.asarray(self.even_ms * GROWTH ** (random.random(self.values_ms.shape) - 0.5), dtype=np.float64)

    def typical_ms(self) -> Floats:
        """The median of each series over its slots; NaN if it has none."""
        return medians(self.values_ms)


class Steady(Struct, frozen=True):
    """Up and down times of servers, slot by slot; every table has the shape (servers, slots)."""

    servers: Sequence[str]
    up_ms: Floats
    down_ms: Floats
    checks: Floats
    changes: Floats

    @property
    def available_ratio(self) -> Floats:
        """Up share of the known time; NaN if nothing is known."""
        known = self.up_ms + self.down_ms
        with np.errstate(invalid="ignore"):
            return np.where(known > 0, self.up_ms / np.maximum(known, 1), np.nan)


def metrics_of(past: Past, period: Period, kinds: Sequence[str]) -> list[PercentileSeries]:
    """The median and the p95 of every slot, and their seasonality, also from the weeks before."""
    longer = earlier(period, len(past.servers) * len(kinds))
    found = past.rollups.percentiles(longer, kinds, (TOTAL,))
    servers = {one.id: one for one in past.servers}
    series = [OfServer(servers[one.server_id].name, servers[one.server_id].group, one.kind) for one in found.series]
    asked = [row for row, one in enumerate(series) if one.kind in kinds]  # raw rows are of all kinds
    buckets = found.buckets
    now = slice(period.slots.start - longer.slots.start, None)
    counts = buckets.table_us(buckets.count, len(series), longer.slots)[asked]
    there = np.flatnonzero((~np.isnan(counts[:, now])).any(axis=1))  # others have answers before the period only
    known = rhythm_is_known(counts[there], period.slot_ms)
    metrics = []
    for name, column in (("p50", buckets.p50_us), ("p95", buckets.p95_us)):
        enough = np.where(buckets.count >= fewest_samples(METRICS[name]), column / 1000, np.nan)
        table = buckets.table_us(enough, len(series), longer.slots)[asked][there]
        of_rows = [series[asked[row]] for row in there.tolist()]
        metrics.append(PercentileSeries(name, of_rows, table[:, now], usual(table, longer)[:, now], known))
    return metrics


def steady_of(past: Past, period: Period) -> Steady:
    """Up and down times of the servers in every slot."""
    found = past.rollups.standing(period)
    names = {one.id: one.name for one in past.servers}
    buckets = found.buckets
    columns = (buckets.up_ms, buckets.down_ms, buckets.checks, buckets.changes)
    tables = (buckets.table(column, len(found.series), period.slots) for column in columns)
    return Steady([names[one.server_id] for one in found.series], *tables)


ALPHA = 0.05
"""False discovery rate of all findings, and the probability of any finding if nothing changed."""
LEAST_CHANGE_RATIO = 0.10
LEAST_CHANGE_MS = 1.0
LEAST_AVAILABILITY_RATIO = 0.001
LARGE_RATIO = 0.5
"""A smallest detectable change above this is large: if a test finds nothing, smaller changes remain possible."""
_WITHIN_ALPHA = 0.01
"""Significance level for the places of several changes in a series that has one."""


class Slope(Struct, frozen=True):
    """A series that rises or falls steadily, not in steps."""

    row: int
    ratio: float
    """Change of the line over the period, as a share of the level."""
    p_value: float
    slope_ms: float
    """Change of the line from slot to slot."""


class OfMetric(Struct, frozen=True, dict=True):
    """Findings in the series of a metric, by row."""

    metric: PercentileSeries
    slopes: Sequence[Slope]
    levels: Mapping[int, tuple[ChangePoint, ...]]
    """The changes of level in their order; their p-values are that of the series, corrected."""
    smallest_ratio: Floats
    """The smallest change lasting half of the period that is detected with 80% power; NaN if nothing is tested."""

    def lasting(self, row: int) -> float:
        """Last level - first level of a row with changes, in ms; 0 if the level came back.

        It came back unless the first and the last level differ by the usual criteria: size and Mann-Whitney.
        """
        return self._lasting.get(row, 0.0)

    @cached_property
    def _lasting(self) -> dict[int, float]:
        """`lasting` of the rows whose level did not come back; of all rows at once."""
        ends = {row: (found[0].before, found[-1].after) for row, found in self.levels.items()}
        large = [row for row, (first, last) in ends.items() if is_large(first, last)]
        values = self.metric.even_ms
        pairs = []
        for row in large:
            found = self.levels[row]
            pieces = values[row][: found[0].index], values[row][found[-1].index :]
            pairs.append(tuple(piece[~np.isnan(piece)] for piece in pieces))
        cuts = np.array([first.size for first, _ in pairs], np.int64)
        sizes = np.array([first.size + last.size for first, last in pairs], np.int64)
        table = np.full((len(large), int(sizes.max(initial=0))), np.inf)
        for place, pair in enumerate(pairs):
            table[place, : sizes[place]] = np.concatenate(pair)
        p_values = split_p_values(table, cuts, sizes)
        return {row: ends[row][1] - ends[row][0] for row, p in zip(large, p_values, strict=True) if p <= ALPHA}

    def slower(self) -> list[tuple[float, str]]:
        """Servers whose level stayed higher, with the ratio."""
        return [
            (of[-1].after / of[0].before if of[0].before else float("inf"), self.metric.series[row].server)
            for row, of in self.levels.items()
            if self.lasting(row) > 0
        ]


class Tested(Struct, frozen=True):
    """All findings, corrected together."""

    metrics: Sequence[OfMetric]
    availability_p: Floats
    """P-value of Mann-Kendall for each server; NaN if not tested."""
    family: int
    """Number of tests."""

    @property
    def smallest_ratio(self) -> float:
        """The smallest lasting change that would probably be detected in nine of ten series; NaN without any."""
        every = np.concatenate([one.smallest_ratio for one in self.metrics]) if self.metrics else np.zeros(0)
        known = every[~np.isnan(every)]
        return float(np.quantile(known, 0.9, method="higher")) if known.size else float("nan")

    @property
    def cannot_tell(self) -> int:
        """Number of series in which only a change above `LARGE_RATIO` would be detected."""
        return sum(int(np.sum(one.smallest_ratio > LARGE_RATIO)) for one in self.metrics)

    @property
    def series(self) -> int:
        """Number of series with a smallest detectable change."""
        return sum(int(np.sum(~np.isnan(one.smallest_ratio))) for one in self.metrics)


def is_large(before: float, after: float) -> bool:
    """True if the difference of levels in milliseconds is large enough to count."""
    return abs(after - before) >= max(LEAST_CHANGE_RATIO * abs(before), LEAST_CHANGE_MS)


def examine(period: Period, metrics: Sequence[PercentileSeries], steady: Steady | None = None) -> Tested:
    """Test all series and servers."""
    spread = [metric.spread_ms() for metric in metrics]
    slopes = [_varied(kendall_rows(metric.even_ms), metric.even_ms) for metric in metrics]
    levels = [_varied(level_p_values(values), metric.even_ms) for metric, values in zip(metrics, spread, strict=True)]
    ratio = np.zeros((0, 1)) if steady is None else steady.available_ratio
    availability = _varied(kendall_rows(ratio), ratio)
    every = [*slopes, *levels, availability]
    family = int(sum(np.sum(~np.isnan(one)) for one in every))
    corrected = discoveries_of(every)
    many = len(metrics)
    found = [
        _of_metric(period, metric, values, corrected[place], corrected[many + place], family)
        for place, (metric, values) in enumerate(zip(metrics, spread, strict=True))
    ]
    return Tested(found, corrected[-1], family)


def _varied(p_values: Floats, values: Floats) -> Floats:
    """The rows without constant ones: these could never be significant, and must not weaken the other tests."""
    p_values = p_values.copy()
    tested_rows = np.flatnonzero(~np.isnan(p_values))
    if tested_rows.size:
        same = np.nanmax(values[tested_rows], axis=1) == np.nanmin(values[tested_rows], axis=1)
        p_values[tested_rows[same]] = np.nan
    return p_values


def _of_metric(
    period: Period, metric: PercentileSeries, spread_ms: Floats, slope_p: Floats, level_p: Floats, family: int
) -> OfMetric:
    rows = np.flatnonzero(level_p <= ALPHA)
    found = changes_of_rows(spread_ms[rows], level_p[rows].tolist(), _WITHIN_ALPHA, LEAST_CHANGE_RATIO, LEAST_CHANGE_MS)
    levels = {row: of for row, of in zip(rows.tolist(), found, strict=True) if of}
    steep = _steep(period, metric, slope_p)
    lines = _lines(metric, steep, levels)
    levels = {row: of for row, of in levels.items() if row not in lines}
    smallest = _smallest(metric, family)
    return OfMetric(metric, [one for one in steep if one.row in lines], levels, smallest)


def _steep(period: Period, metric: PercentileSeries, p_values: Floats) -> list[Slope]:
    """The significant slopes whose line changes by enough."""
    rows = np.flatnonzero(p_values <= ALPHA)
    level_ms = metric.typical_ms()[rows]
    slopes_ms = slope_rows(metric.even_ms[rows])
    moved_ms = slopes_ms * (len(period.slots) - 1)
    large = np.abs(moved_ms) >= np.maximum(LEAST_CHANGE_RATIO * level_ms, LEAST_CHANGE_MS)
    return [
        Slope(row, moved / level, float(p_values[row]), slope)
        for row, moved, level, slope in zip(
            *(of_rows[large].tolist() for of_rows in (rows, moved_ms, level_ms, slopes_ms)), strict=True
        )
    ]


def _lines(metric: PercentileSeries, steep: Sequence[Slope], levels: Mapping[int, tuple[ChangePoint, ...]]) -> set[int]:
    """The rows of these slopes that no levels fit better than a line, allowing for the parameters that each needs."""
    found = {one.row for one in steep if one.row not in levels}
    both = [one for one in steep if one.row in levels]
    if not both:
        return found
    rows = [one.row for one in both]
    values = metric.even_ms[rows]
    known = np.sum(~np.isnan(values), axis=1)
    off_line = np.nansum(np.abs(values - _on_line(values, np.array([one.slope_ms for one in both]))), axis=1)
    off_levels = np.zeros(len(rows))
    cuts = [[one.index for one in levels[row]] for row in rows]
    place_of_piece = np.repeat(np.arange(len(rows)), [len(of_row) + 1 for of_row in cuts])
    bounds = [ends for of_row in cuts for ends in pairwise((0, *of_row, values.shape[1]))]
    starts, stops = np.array(bounds, np.int64).T
    at = np.arange(values.shape[1])
    pieces = np.where((at >= starts[:, None]) & (at < stops[:, None]), values[place_of_piece], np.nan)
    np.add.at(off_levels, place_of_piece, np.nansum(np.abs(pieces - medians(pieces)[:, None]), axis=1))
    spare = np.maximum(1, known - 2 * np.array([len(of_row) for of_row in cuts]) - 1)
    fits_better = off_levels / spare <= off_line / np.maximum(1, known - 2)
    return found | {row for row, worse in zip(rows, (~fits_better).tolist(), strict=True) if worse}


def _on_line(values: Floats, slopes: Floats) -> Floats:
    """For each value that of the line of its row, which has this slope: as `trend` draws it."""
    at = np.arange(values.shape[1], dtype=np.float64)
    middle = medians(np.where(np.isnan(values), np.nan, at))[:, None]
    run = slopes[:, None] * (at - middle)
    return np.asarray(medians(values - run)[:, None] + run)


def _smallest(metric: PercentileSeries, family: int) -> Floats:
    """The smallest change detectable in each series: its own test has to be significant within the whole family."""
    found = np.full(len(metric.series), np.nan)
    points = metric.points
    rows = np.flatnonzero(points >= FEWEST_POINTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = noise(np.log(metric.spread_ms()[rows]))
    for n in np.unique(points[rows]).tolist():
        these = points[rows] == n
        found[rows[these]] = smallest_step(deviations[these], n // 2, n - n // 2, ALPHA / max(1, family), sought=True)
    return np.where(np.isnan(found), np.nan, np.maximum(found, LEAST_CHANGE_RATIO))
