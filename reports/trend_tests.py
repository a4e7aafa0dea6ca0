"""What is tested of trends: every series for a slope and for changes of level, every server for its availability.

All of these are one family: what is told of any of them is corrected for all (false discoveries).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.stats import Floats
from reports.stats.changes import FEWEST_POINTS, ChangePoint, changes
from reports.stats.discovery import discoveries_of
from reports.stats.levels import level_p_values, noise, smallest_step
from reports.stats.mann_whitney import mann_whitney
from reports.stats.screen import kendall_rows, slope_rows
from reports.stats.slope import trend
from reports.trend_series import PercentileSeries, Steady
from storage.rollups.read import Period

ALPHA = 0.05
"""Of what is told at most so much is false on average, and where nothing happened nothing is told this often."""
LEAST_CHANGE_RATIO = 0.10
LEAST_CHANGE_MS = 1.0
LEAST_AVAILABILITY_RATIO = 0.001
LARGE_RATIO = 0.5
"""A smallest change above this is large: a test that could see no less says little by being silent."""
_WITHIN_ALPHA = 0.01
"""For the places of several changes in a series that has one."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A series that rises or falls all along, and is no series of levels."""

    row: int
    ratio: float
    """How much the line moves over the period, as a share of the level."""
    p_value: float


@dataclass(frozen=True, slots=True)
class OfMetric:
    """What was found in the series of a metric, by its row."""

    metric: PercentileSeries
    slopes: Sequence[Slope]
    levels: Mapping[int, tuple[ChangePoint, ...]]
    """The changes of level in their order; their p-values are that of the series, corrected."""
    smallest_ratio: Floats
    """The smallest change for half of the period that would be seen four times in five; NaN where nothing is tested."""

    def lasting(self, row: int) -> float:
        """Last level - first level of a row with changes, in ms; 0 where the level came back.

        It did unless the first and the last level are told apart as any two are: by their sizes and by Mann-Whitney.
        """
        found = self.levels[row]
        first, last = found[0].before, found[-1].after
        if not is_large(first, last):
            return 0.0
        values = self.metric.even_ms[row]
        ends = [piece[~np.isnan(piece)] for piece in (values[: found[0].index], values[found[-1].index :])]
        return last - first if mann_whitney(*ends).p_value <= ALPHA else 0.0

    def slower(self) -> list[tuple[float, str]]:
        """Servers whose level stayed higher, with how many times it is."""
        return [
            (of[-1].after / of[0].before if of[0].before else float("inf"), self.metric.series[row].server)
            for row, of in self.levels.items()
            if self.lasting(row) > 0
        ]


@dataclass(frozen=True, slots=True)
class Tested:
    """What was found, corrected together."""

    metrics: Sequence[OfMetric]
    availability_p: Floats
    """Of Mann-Kendall, for each server; NaN where it was not tested."""
    family: int
    """Tests."""

    @property
    def smallest_ratio(self) -> float:
        """The smallest lasting change that would probably have been seen in nine of ten series; NaN without any."""
        every = np.concatenate([one.smallest_ratio for one in self.metrics]) if self.metrics else np.zeros(0)
        known = every[~np.isnan(every)]
        return float(np.quantile(known, 0.9, method="higher")) if known.size else float("nan")

    @property
    def cannot_tell(self) -> int:
        """Of how many series no change would have been seen that is not large."""
        return sum(int(np.sum(one.smallest_ratio > LARGE_RATIO)) for one in self.metrics)

    @property
    def series(self) -> int:
        """How many have a smallest change."""
        return sum(int(np.sum(~np.isnan(one.smallest_ratio))) for one in self.metrics)


def is_large(before: float, after: float) -> bool:
    """Whether levels in milliseconds differ by so much that it counts."""
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
    """Without the rows of one value: they could never be significant, so they make nothing else harder to tell."""
    p_values = p_values.copy()
    tested_rows = np.flatnonzero(~np.isnan(p_values))
    if tested_rows.size:
        same = np.nanmax(values[tested_rows], axis=1) == np.nanmin(values[tested_rows], axis=1)
        p_values[tested_rows[same]] = np.nan
    return p_values


def _of_metric(
    period: Period, metric: PercentileSeries, spread_ms: Floats, slope_p: Floats, level_p: Floats, family: int
) -> OfMetric:
    levels = {}
    for row in np.flatnonzero(level_p <= ALPHA).tolist():
        p_value = float(level_p[row])
        kept = changes(spread_ms[row], _WITHIN_ALPHA, LEAST_CHANGE_RATIO, LEAST_CHANGE_MS)
        if kept:
            levels[row] = tuple(replace(one, p_value=p_value) for one in kept)
    steep = _steep(period, metric, slope_p)
    lines = {one.row for one in steep if not _levels_fit_better(metric.even_ms[one.row], levels.get(one.row, ()))}
    levels = {row: of for row, of in levels.items() if row not in lines}
    smallest = _smallest(metric, family)
    return OfMetric(metric, [one for one in steep if one.row in lines], levels, smallest)


def _steep(period: Period, metric: PercentileSeries, p_values: Floats) -> list[Slope]:
    """The significant slopes whose line moves by enough."""
    rows = np.flatnonzero(p_values <= ALPHA)
    level_ms = metric.typical_ms()[rows]
    moved_ms = slope_rows(metric.even_ms[rows]) * (len(period.slots) - 1)
    large = np.abs(moved_ms) >= np.maximum(LEAST_CHANGE_RATIO * level_ms, LEAST_CHANGE_MS)
    return [
        Slope(row, moved / level, float(p_values[row]))
        for row, moved, level in zip(
            rows[large].tolist(), moved_ms[large].tolist(), level_ms[large].tolist(), strict=True
        )
    ]


def _levels_fit_better(values: Floats, found: Sequence[ChangePoint]) -> bool:
    """Whether levels are nearer to the values than a line is, each measured with what it takes to be drawn."""
    if not found:
        return False
    at = np.arange(values.size, dtype=np.float64)
    line = trend(at, values)
    if line is None:
        return True
    known = int(np.sum(~np.isnan(values)))
    off_line = np.nansum(np.abs(values - np.array([line.at(one) for one in at])))
    pieces = np.split(values, [one.index for one in found])
    off_levels = sum(float(np.nansum(np.abs(piece - np.nanmedian(piece)))) for piece in pieces)
    spare = max(1, known - 2 * len(found) - 1)
    return bool(off_levels / spare <= off_line / max(1, known - 2))


def _smallest(metric: PercentileSeries, family: int) -> Floats:
    """What each series could have shown by itself: its test has to be believed among the whole family."""
    found = np.full(len(metric.series), np.nan)
    points = metric.points
    rows = np.flatnonzero(points >= FEWEST_POINTS)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = noise(np.log(metric.spread_ms()[rows]))
    for n in np.unique(points[rows]).tolist():
        these = points[rows] == n
        found[rows[these]] = smallest_step(deviations[these], n // 2, n - n // 2, ALPHA / max(1, family), sought=True)
    return np.where(np.isnan(found), np.nan, np.maximum(found, LEAST_CHANGE_RATIO))
