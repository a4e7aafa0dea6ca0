"""The trend of load tests of one plan: a point for each run and series, and changes of level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from msgspec import Struct

from checker.loadtest.results import BenchRun
from checker.loadtest.summary import BLOCK_S
from checker.stats.change_points import FEWEST_POINTS, ChangePoint, changes, level_p_values, noise, smallest_step
from checker.stats.multiple_comparisons import discoveries
from reports.loadtests.compared_runs import RunsOverTime
from reports.loadtests.reproduce import differences
from reports.loadtests.run_blocks import QUANTILES, Blocks, Key, Statistic, blocks_of, key_cells, key_columns
from reports.output_forms import number, per_cent
from reports.report_model import (
    Chart,
    Column,
    Insufficient,
    KeyNumber,
    Kind,
    Level,
    Line,
    Mark,
    Report,
    Section,
    Shape,
    Table,
)

_LEAST = {Statistic.FAILED: 0.01, Statistic.OK_RATE: 0.0}
"""The smallest relevant change in the unit of the statistic; 1 ms for times."""
_LEAST_RATIO = 0.05
_ALPHA = 0.05
"""False discovery rate over all statistics that are followed together."""
_LARGE_RATIO = 0.5
_MOST_CHARTS = 12
_LEADING = 2
"""Charts that a page shows first."""


class OverRuns(Struct, frozen=True):
    """A statistic of a series over the runs."""

    key: Key
    statistic: Statistic
    points: Sequence[float]
    """The median of each run's blocks; NaN for a run without a value."""
    changes: tuple[ChangePoint, ...]

    @property
    def known(self) -> int:
        """The number of runs with a value."""
        return sum(not math.isnan(one) for one in self.points)

    @property
    def came_back(self) -> bool:
        """True if its level changed and then returned to the first one."""
        if not self.changes:
            return False
        first, last = self.changes[0].before, self.changes[-1].after
        return abs(last - first) < max(_LEAST_RATIO * abs(first), _LEAST.get(self.statistic, 1.0))

    @property
    def worse(self) -> bool:
        """True if its newest level is worse than its first one."""
        if not self.changes or self.came_back:
            return False
        up = self.changes[-1].after > self.changes[0].before
        return up != (self.statistic is Statistic.OK_RATE)

    @property
    def between_runs(self) -> float:
        """Standard deviation between runs around the level, relative; NaN if it is meaningless."""
        values = np.array(self.points)
        if self.statistic is Statistic.FAILED or np.nanmin(values) <= 0:
            return math.nan
        return float(noise(np.log(values)[np.newaxis, :])[0])


def build(
    runs: Sequence[BenchRun], left_out: Sequence[str] = (), block_s: float = BLOCK_S, *, brief: bool = False
) -> Report:
    """The report on at least one run; ``left_out`` names the excluded runs and the reasons.

    `without_runs` is the report if there is no run.

    A ``brief`` report leaves out the points of every run.

    A change of level needs ten runs, five of them on either side; it must be at least 5% and 1 ms, or one in a
    hundred for failures.
    """
    ordered = sorted(runs, key=lambda run: (run.started_at_ms, run.id or 0))
    trends = _trends(ordered, block_s)
    moved = [one for one in trends if one.changes]
    marks = _environment_marks(ordered)
    points = [] if brief else [_points(ordered, trends, marks)]
    return Report(
        name="bench_trend",
        title=f"Load tests {ordered[-1].name!r} over time",
        verdict=_verdict(ordered, trends),
        level=_level(ordered, trends),
        since_ms=ordered[0].started_at_ms,
        until_ms=ordered[-1].started_at_ms,
        sections=[
            _newest(trends),
            _changes(ordered, moved),
            *points,
            _environments(marks),
        ],
        servers=len({one.server for run in ordered for one in run.series}),
        facts=(("runs", str(len(ordered))), ("block", f"{block_s:g} s")),
        notes=tuple(left_out),
        numbers=_key_numbers(ordered, trends),
        lead=[chart for one in points for chart in one.charts[:_LEADING]],
        until_now=False,
    )


def _key_numbers(runs: Sequence[BenchRun], trends: Sequence[OverRuns]) -> list[KeyNumber]:
    """How many runs there are, how many statistics changed, and the newest values of the first series."""
    moved, worse = sum(bool(one.changes) for one in trends), sum(one.worse for one in trends)
    found = [KeyNumber("runs", f"{len(runs):,}", f"changes of level need {FEWEST_POINTS}")]
    if len(runs) >= FEWEST_POINTS:
        of, level = f"of {len(trends):,} statistics", Level.WARNING if worse else None
        found.append(KeyNumber("became worse", f"{worse:,}", of, level))
        found.append(KeyNumber("changed their level", f"{moved:,}", of))
    for one in trends:
        known = [value for value in one.points if not math.isnan(value)]
        if one.key == trends[0].key and known:
            median = _said(one, float(np.median(known)))
            found.append(KeyNumber(f"newest {one.statistic.label}", _said(one, known[-1]), f"median {median}"))
    return found


def without_runs(found: RunsOverTime) -> Report:
    """The report if no run is fit for a trend: the reason why each was left out."""
    columns = [Column("why", "Load test", wide=True)]
    rows = [[why.removeprefix("left out: ")] for why in found.left_out]
    return Report(
        name="bench_trend",
        title=f"Load tests {found.name!r} over time",
        verdict=f"Cannot tell: none of the load tests {found.name} can be followed over time.",
        level=Level.UNKNOWN,
        since_ms=found.since_ms,
        until_ms=found.until_ms,
        sections=[Section("left_out", "Left out", Table(columns, rows))],
        servers=0,
        until_now=False,
    )


def _trends(runs: Sequence[BenchRun], block_s: float) -> list[OverRuns]:
    return followed([blocks_of(run, block_s=block_s) for run in runs])


def followed(blocks: Sequence[Mapping[Key, Blocks]]) -> list[OverRuns]:
    """Each statistic of each series over these runs, the oldest first."""
    keys = list(dict.fromkeys(key for one in blocks for key in one))
    series = []
    for key in keys:
        for statistic in Statistic:
            points = [
                _median(one[key].values[statistic]) if key in one and statistic in one[key].values else math.nan
                for one in blocks
            ]
            if not all(map(math.isnan, points)):
                series.append((key, statistic, points))
    if not series:  # nothing was answered in any of the runs
        return []
    tested = discoveries(level_p_values(np.array([points for *_, points in series])))
    found = []
    for (key, statistic, points), p_value in zip(series, tested.tolist(), strict=True):
        least = _LEAST.get(statistic, 1.0)
        told = p_value <= _ALPHA and max(points) > min(points)
        levels = changes(points, least_change_ratio=_LEAST_RATIO, least_change=least) if told else ()
        found.append(OverRuns(key, statistic, points, levels))
    return found


def _median(values: np.typing.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else math.nan


def _verdict(runs: Sequence[BenchRun], trends: Sequence[OverRuns]) -> str:
    if len(runs) < FEWEST_POINTS:
        return f"Insufficient: {len(runs)} of {FEWEST_POINTS} runs that changes of level need."
    worse = [one for one in trends if one.worse]
    moved = sum(bool(one.changes) for one in trends)
    if not moved and _blind(trends):
        return (
            f"Cannot tell: a change of {per_cent(_LARGE_RATIO)} could not have been detected in most of "
            f"{len(trends)} statistics of {len(runs)} runs."
        )
    if not moved:
        return f"Steady: no change of level in {len(trends)} statistics of {len(runs)} runs."
    if not worse:
        return (
            f"{moved} of {len(trends)} statistics changed their level in {len(runs)} runs, none for the worse lately."
        )
    most = max(worse, key=lambda one: abs(math.log((one.changes[-1].ratio or 1) or 1)))
    last = most.changes[-1]
    said = (
        f"{most.statistic.label} of {most.key.label} went from {_said(most, last.before)} to {_said(most, last.after)}"
    )
    return f"{len(worse)} of {len(trends)} statistics became worse: {said} at load test {runs[last.index].id}."


def _said(trend: OverRuns, value: float) -> str:
    if trend.statistic is Statistic.FAILED:
        return per_cent(value)
    return f"{number(value)} ms" if trend.statistic in QUANTILES else number(value)


def _level(runs: Sequence[BenchRun], trends: Sequence[OverRuns]) -> Level:
    if len(runs) < FEWEST_POINTS:
        return Level.UNKNOWN
    if any(one.worse for one in trends):
        return Level.WARNING
    return Level.UNKNOWN if _blind(trends) and not any(one.changes for one in trends) else Level.GOOD


def _blind(trends: Sequence[OverRuns]) -> bool:
    """True if not even a large change could be detected in most of the series with a known spread."""
    known = [one for one in trends if not math.isnan(one.between_runs)]
    unseen = [one for one in known if not _smallest(one, len(trends)) <= _LARGE_RATIO]
    return len(unseen) > len(known) / 2


def _newest(trends: Sequence[OverRuns]) -> Section:
    keys = {one.key for one in trends}
    columns = [
        *key_columns(keys),
        Column("runs", "Runs", Kind.COUNT),
        Column("newest", "Newest", Kind.NUMBER, words="Median of the blocks of the newest run that has any."),
        Column("median", "Median", Kind.NUMBER, words="Of the runs."),
        Column("lowest", "Lowest", Kind.NUMBER),
        Column("highest", "Highest", Kind.NUMBER),
        Column("between_runs", "Between runs", Kind.RATIO, words="Standard deviation from run to run, relative."),
        Column(
            "smallest_change", "Smallest", Kind.RATIO, words="Smallest change of level that would probably be detected."
        ),
        Column("changes", "Changes", Kind.COUNT, words="Of level; insufficient below ten runs."),
    ]
    table = []
    for one in trends:
        known = [value for value in one.points if not math.isnan(value)]
        told = len(one.changes) if one.known >= FEWEST_POINTS else Insufficient(one.known, FEWEST_POINTS)
        table.append(
            [
                *key_cells(one.key, one.statistic, keys),
                one.known,
                known[-1],
                float(np.median(known)),
                min(known),
                max(known),
                _known(one.between_runs),
                _known(_smallest(one, len(trends))),
                told,
            ]
        )
    return Section("series", "Series", Table(columns, table), "A point is the median of the blocks of a run.")


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _smallest(one: OverRuns, tested: int) -> float:
    """The smallest change of level, with half of the runs on each side, that would be detected with 80% probability."""
    if one.known < FEWEST_POINTS or math.isnan(one.between_runs):
        return math.nan
    half = one.known // 2
    steps = smallest_step(np.array([one.between_runs]), half, one.known - half, _ALPHA / tested, sought=True)
    return max(_LEAST_RATIO, float(steps[0]))


def _changes(runs: Sequence[BenchRun], moved: Sequence[OverRuns]) -> Section:
    keys = {one.key for one in moved}
    columns = [
        *key_columns(keys),
        Column("benchmark_id", "From run", Kind.COUNT, words="The first run of the new level."),
        Column("started_at", "Started", Kind.TIME),
        Column("before", "Before", Kind.NUMBER, words="Median of the runs since the change before."),
        Column("after", "After", Kind.NUMBER),
        Column("ratio", "Ratio", Kind.NUMBER),
        Column("environment", "Environment then", words="What else changed between these two runs.", is_reason=True),
    ]
    table = [
        [
            *key_cells(one.key, one.statistic, keys),
            runs[change.index].id,
            runs[change.index].started_at_ms,
            change.before,
            change.after,
            change.ratio,
            ", ".join(differences(runs[change.index - 1], runs[change.index])) or None,
        ]
        for one in moved
        for change in one.changes
    ]
    return Section("changes", "Changes of level", Table(columns, table), open=bool(table))


def _points(runs: Sequence[BenchRun], trends: Sequence[OverRuns], marks: Sequence[tuple[BenchRun, str]]) -> Section:
    keys = {one.key for one in trends}
    columns = [
        Column("benchmark_id", "Run", Kind.COUNT),
        Column("started_at", "Started", Kind.TIME),
        *key_columns(keys),
        Column("value", "Value", Kind.NUMBER),
    ]
    table = [
        [run.id, run.started_at_ms, *key_cells(one.key, one.statistic, keys), value]
        for one in trends
        for run, value in zip(runs, one.points, strict=True)
        if not math.isnan(value)
    ]
    at_ms = [run.started_at_ms for run in runs]
    by_key: dict[Key, list[OverRuns]] = {}
    for one in trends:
        if one.statistic in QUANTILES:
            by_key.setdefault(one.key, []).append(one)
    environments = [Mark(float(run.started_at_ms), "environment") for run, _ in marks]
    charts = []
    for key, mine in list(by_key.items())[:_MOST_CHARTS]:
        lines = [Line(one.statistic.label, [None if math.isnan(v) else v for v in one.points]) for one in mine]
        moved: dict[int, list[str]] = {}
        for one in mine:
            for change in one.changes:
                moved.setdefault(at_ms[change.index], []).append(one.statistic.label)
        levels = [Mark(float(at), f"{', '.join(names)} changed") for at, names in moved.items()]
        charts.append(Chart(key.label, Shape.LINES, at_ms, lines, unit="ms", marks=[*environments, *levels]))
    return Section("points", "Over time", Table(columns, table), charts=charts)


def _environment_marks(runs: Sequence[BenchRun]) -> list[tuple[BenchRun, str]]:
    """The runs whose environment differs from that of the run before, and the differences."""
    found = [(run, ", ".join(differences(before, run))) for before, run in pairwise(runs)]
    return [(run, words) for run, words in found if words]


def _environments(marks: Sequence[tuple[BenchRun, str]]) -> Section:
    columns = [
        Column("benchmark_id", "From run", Kind.COUNT),
        Column("started_at", "Started", Kind.TIME),
        Column("differs", "Differs", words="What differs from the run before, then and now.", is_reason=True),
    ]
    table = [[run.id, run.started_at_ms, words] for run, words in marks]
    return Section("environment", "Where the environment changed", Table(columns, table))
