"""Changes in latency: compared with the preceding period of equal length, and with the same hour of earlier weeks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from checker.stats.change_points import noise, smallest_step
from checker.stats.compare import FEWEST_BLOCKS, LATENCY_MS, CandidateOutcome, Comparison, compare_all
from checker.stats.histogram import Cells
from checker.stats.multiple_comparisons import discoveries, mann_whitney_rows
from checker.stats.robust import medians
from reports.output_forms import per_cent
from reports.percentile_cells import fewest_samples
from reports.report_model import Chart, Column, Insufficient, Kind, Line, Section, Shape, Table
from reports.report_rows import TOTAL, By, Subjects, subjects
from reports.trend_tests import LARGE_RATIO, earlier, usual
from storage.report_history import Past
from storage.rollups.buckets import PackedBuckets, Sums
from storage.rollups.read import FoundBuckets, Period
from storage.rollups.slot_sums import SlotSums

Floats = npt.NDArray[np.float64]

MOST = 20
"""Default number of rows compared in detail: each needs its own bootstrap."""
MOST_LINES = 6
_MOST_SUMMED = 150_000
"""Largest number of histograms summed for seasonality: a third of a second."""
METRICS = (("p50", 0.5), ("p95", 0.95))
WEEK_HOURS = 168
FEWEST_SAMPLES = fewest_samples(0.5)
"""Fewest answers in an hour for a median."""
FEWEST_WEEKS = 3
MOST_WEEKS = 12
_HOUR_MS = 3_600_000
_ORDER = {
    CandidateOutcome.WORSE: 0,
    CandidateOutcome.BETTER: 1,
    CandidateOutcome.CANNOT_TELL: 2,
    CandidateOutcome.SAME: 3,
}
_SAID = {
    CandidateOutcome.WORSE: "slower",
    CandidateOutcome.BETTER: "faster",
    CandidateOutcome.SAME: "same",
    CandidateOutcome.CANNOT_TELL: "cannot tell",
}


class PeriodComparison(Struct, frozen=True):
    """Comparison of the period with the one before."""

    sections: Sequence[Section]
    slower: int
    """Rows whose median or p95 became worse."""
    verdict: str
    """A sentence to append to the verdict, or nothing."""
    blind: bool = False
    """True if not even a large change could have been detected in more than a tenth of the rows."""


def compared(
    both: Period,
    period: Period,
    rows: Subjects,
    sums: tuple[Sums, Sums],
    blocks_ms: Callable[[], Sequence[Floats]],
    top: int | None,
) -> PeriodComparison:
    """Median and p95 of both periods, with a verdict from their slots.

    ``sums`` are those of the earlier and the current period, ``both`` is the time of the two, and ``blocks_ms`` gives
    the median and the p95 of each row in each slot of it, as `blocks_of_series` and `blocks_of_sums` do.
    """
    then, now = sums
    if not then.count.any() or not now.count.any():
        return PeriodComparison((), 0, "")
    blocks = blocks_ms()
    cut = period.slots.start - both.slots.start
    sides = [(table[:, :cut], table[:, cut:]) for table in blocks]
    p_values = np.stack([mann_whitney_rows(*pair, FEWEST_BLOCKS) for pair in sides])
    outcomes = outcomes_of(sides, p_values)
    then_ms, now_ms = (side.quantiles_us([q for _, q in METRICS]) / 1000 for side in (then, now))
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.abs(np.log(now_ms / then_ms)).max(axis=1)
    known = np.flatnonzero((then.count > 0) & (now.count > 0)).tolist()
    known.sort(key=lambda row: (min(_ORDER[one[row]] for one in outcomes), -np.nan_to_num(moved[row])))
    shown = known[: MOST if top is None else top]
    detail = _detail(sides, p_values, shown)
    slower, faster = (
        sum(any(one[row] is outcome for one in outcomes) for row in known)
        for outcome in (CandidateOutcome.WORSE, CandidateOutcome.BETTER)
    )
    table = []
    for place, row in enumerate(shown):
        cells: list[Any] = [*rows.short(row), int(then.count[row]), int(now.count[row])]
        for metric in range(len(METRICS)):
            one = detail[metric][place]
            before_ms, after_ms = float(then_ms[row, metric]), float(now_ms[row, metric])
            cells += [before_ms, after_ms, after_ms - before_ms, _verdict(one, sides[metric], row)]
        table.append(cells)
    text = (
        f"Of {len(known):,} rows {slower:,} became slower and {faster:,} faster; {len(shown):,} are shown, the slower "
        "first. Blocks are slots, without what they usually do at that hour of the day and week: slower or faster is a "
        "Mann-Whitney p below 0.05 (false discoveries, all rows and both metrics) and medians of blocks that are 5% "
        "and 1 ms apart; same is an interval of their difference within that."
    )
    section = Section("compared", "Against the period before", Table(_columns(rows), table), text)
    said = f" {slower:,} of {len(known):,} became slower than in the period before."
    blind = _cannot_tell(sides, p_values, known)
    if blind:
        said += f" In {blind:,} it cannot tell: {per_cent(LARGE_RATIO)} more could not have been detected."
    return PeriodComparison((section,), slower, said, blind > 0.1 * len(known))


def blocks_of_series(past: Past, both: Period, found: FoundBuckets[PackedBuckets], rows: Subjects) -> list[Floats]:
    """The median and the p95 of each row in each slot, shape (rows, slots); NaN for a slot without answers.

    The usual effect of that hour of the day and of the week is removed: afternoons are compared with afternoons.
    """
    longer = earlier(both, len(found.series))
    stages = {one.stage for one, row in zip(found.series, rows.row.tolist(), strict=True) if row >= 0}
    kinds = sorted({one.kind for one in found.series})
    if rows.by is By.SERVER:
        columns = past.rollups.percentiles(longer, kinds, sorted(stages))
        row = rows.also(past, columns.series).row
        p50_us, p95_us = columns.buckets.p50_us, columns.buckets.p95_us
        of_series = [columns.buckets.table_us(column, len(row), longer.slots) for column in (p50_us, p95_us)]
        tables = [np.full((len(rows.keys), len(longer.slots)), np.nan) for _ in of_series]
        for table, given in zip(tables, of_series, strict=True):
            table[row[row >= 0]] = given[row >= 0] / 1000
        return _without_usual(tables, both, longer)
    longer = affordable(both, len(found.series))
    more = found if longer == both else past.rollups.packed(longer, kinds, sorted(stages))
    row = rows.also(past, more.series).row[more.buckets.series]
    label = np.where(row >= 0, row * len(longer.slots) + more.buckets.slot - longer.slots.start, -1)
    return _blocks_of_cells(more.buckets.cells(label), len(rows.keys), both, longer)


def blocks_of_sums(sums: SlotSums, rows: Subjects, both: Period, longer: Period) -> list[Floats]:
    """`blocks_of_series` from sums over ``longer``, which `affordable` gives."""
    return _blocks_of_cells(sums.of_slots(longer.slots).cells, len(rows.keys), both, longer)


def affordable(both: Period, series: int) -> Period:
    """The time that seasonality is estimated from where the histograms of so many series are summed for it."""
    longer = earlier(both, series)
    return both if series * len(longer.slots) > _MOST_SUMMED else longer


def _blocks_of_cells(cells: Cells, rows: int, both: Period, longer: Period) -> list[Floats]:
    """The blocks from a histogram for each row and slot."""
    values = cells.quantiles(rows * len(longer.slots), [q for _, q in METRICS]) / 1000
    return _without_usual([values[:, place].reshape(rows, -1) for place in range(len(METRICS))], both, longer)


def _without_usual(tables: Sequence[Floats], both: Period, longer: Period) -> list[Floats]:
    first = both.slots.start - longer.slots.start
    return [np.asarray(table / np.exp(usual(table, longer)))[:, first:] for table in tables]


def _cannot_tell(sides: Sequence[tuple[Floats, Floats]], p_values: Floats, known: Sequence[int]) -> int:
    """Number of rows in which only a change above `LARGE_RATIO` could have been detected, in both median and p95."""
    family = max(1, int(np.sum(~np.isnan(p_values))))
    smallest = np.full(len(p_values[0]), np.inf)
    for before, after in sides:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(np.column_stack((before, after)))
        sizes = np.column_stack([np.sum(~np.isnan(side), axis=1) for side in (before, after)])
        for first, second in np.unique(sizes[(sizes >= FEWEST_BLOCKS).all(axis=1)], axis=0).tolist():
            rows = np.flatnonzero((sizes == (first, second)).all(axis=1))
            steps = smallest_step(noise(logs[rows]), first, second, LATENCY_MS.alpha / family, sought=False)
            smallest[rows] = np.fmin(smallest[rows], steps)
    return int(np.sum(smallest[list(known)] > LARGE_RATIO))


def outcomes_of(sides: Sequence[tuple[Floats, Floats]], p_values: Floats) -> list[list[CandidateOutcome]]:
    """Slower or faster, for each metric and row; outcomes that need an interval stay undecided."""
    adjusted = np.nan_to_num(discoveries(p_values.ravel()), nan=1.0).reshape(p_values.shape)
    found = []
    for (before, after), of_rows in zip(sides, adjusted, strict=True):
        with np.errstate(invalid="ignore"):
            first, second = medians(before), medians(after)
            effect = np.maximum(LATENCY_MS.least_effect_ratio * first, LATENCY_MS.least_effect)
            told = (of_rows < LATENCY_MS.alpha) & (np.abs(second - first) >= effect)
        worse = second > first
        found.append(
            [
                CandidateOutcome.CANNOT_TELL if not one else CandidateOutcome.WORSE if up else CandidateOutcome.BETTER
                for one, up in zip(told.tolist(), worse.tolist(), strict=True)
            ]
        )
    return found


def _detail(
    sides: Sequence[tuple[Floats, Floats]], p_values: Floats, shown: Sequence[int]
) -> list[tuple[Comparison, ...]]:
    """The comparisons of the shown rows for each metric; corrected for all rows and metrics."""
    rest = p_values.copy()
    rest[:, list(shown)] = np.nan
    family = rest[~np.isnan(rest)].tolist()
    pairs = [(before[row], after[row]) for before, after in sides for row in shown]
    every = compare_all(pairs, LATENCY_MS, family, discoveries)
    return [every[metric * len(shown) : (metric + 1) * len(shown)] for metric in range(len(sides))]


def _verdict(one: Comparison, sides: tuple[Floats, Floats], row: int) -> str | Insufficient:
    """The verdict as a cell."""
    blocks = min(int(np.sum(~np.isnan(side[row]))) for side in sides)
    return _SAID[one.outcome] if blocks >= FEWEST_BLOCKS else Insufficient(blocks, FEWEST_BLOCKS)


def _columns(rows: Subjects) -> list[Column]:
    found = [*rows.short_columns, Column("n_before", "n before", Kind.COUNT), Column("n", "n now", Kind.COUNT)]
    for name, _ in METRICS:
        found += [
            Column(f"{name}_before_ms", f"{name} before", Kind.DURATION),
            Column(f"{name}_ms", f"{name} now", Kind.DURATION),
            Column(f"{name}_difference_ms", "Difference", Kind.DURATION),
            Column(f"{name}_verdict", "Verdict"),
        ]
    return found


def same_hour(
    past: Past, period: Period, rows: Subjects, kinds: Sequence[str], stage: str, top: int | None
) -> list[Section]:
    """The newest full hour against the same hour of three or more earlier weeks; None if there are fewer."""
    if stage != TOTAL or rows.by is By.STAGE:
        return []
    newest = period.until_ms // _HOUR_MS - 1
    hours = [newest - week * WEEK_HOURS for week in range(MOST_WEEKS + 1)]
    found = past.rollups.packed_hours(hours, kinds)
    mine = subjects(past, found.series, rows.by)
    many = len(mine.keys)
    label = mine.row[found.buckets.series] * len(hours) + (newest - found.buckets.slot) // WEEK_HOURS
    cells = found.buckets.cells(label)
    p50 = cells.quantiles(many * len(hours), (0.5,)).reshape(many, len(hours)) / 1000
    p50[cells.counts(many * len(hours)).reshape(p50.shape) < FEWEST_SAMPLES] = np.nan
    weeks = np.sum(~np.isnan(p50[:, 1:]), axis=1)
    enough = np.flatnonzero((weeks >= FEWEST_WEEKS) & ~np.isnan(p50[:, 0]))
    if not len(enough):
        return []
    usual = np.nanmedian(p50[enough, 1:], axis=1)
    low, high = np.nanmin(p50[enough, 1:], axis=1), np.nanmax(p50[enough, 1:], axis=1)
    now = p50[enough, 0]
    ratio = now / usual
    order = np.argsort(-np.abs(np.log(ratio)), kind="stable")
    above, below = int(np.sum(now > high)), int(np.sum(now < low))
    table = [
        [
            *mine.short(enough[one]),
            *(float(values[one]) for values in (now, usual, low, high, ratio)),
            int(weeks[enough[one]]),
            "above all" if now[one] > high[one] else "below all" if now[one] < low[one] else "within",
        ]
        for one in order[: MOST if top is None else top].tolist()
    ]
    columns = [
        *mine.short_columns,
        Column("p50_ms", "p50 now", Kind.DURATION),
        Column("usual_ms", "Usual", Kind.DURATION, words="Median of the medians of that hour in earlier weeks."),
        Column("lowest_ms", "Lowest", Kind.DURATION),
        Column("highest_ms", "Highest", Kind.DURATION),
        Column("ratio", "Ratio", Kind.NUMBER),
        Column("weeks", "Weeks", Kind.COUNT),
        Column("place", "Place", words="Of this hour among those of earlier weeks."),
    ]
    text = (
        f"Of {len(enough):,} rows the newest full hour was above all earlier ones in {above:,} and below in {below:,}; "
        f"by chance 1 of {FEWEST_WEEKS + 1} or fewer would be above. The farthest from usual first."
    )
    return [Section("same_hour", "Against the same hour of the week", Table(columns, table), text)]


def slowest(past: Past, period: Period, rows: Subjects, shown: Sequence[int], stage: str) -> list[Section]:
    """The p95 of the slowest servers over time; None if rows are not servers."""
    if rows.by is not By.SERVER or len(rows.keys) < 2 or not shown:
        return []
    keys = [rows.keys[row] for row in shown[:MOST_LINES]]
    ids = [one.id for one in past.servers if one.name in {key[0] for key in keys}]
    found = past.rollups_of(ids).percentiles(period, sorted({key[1] for key in keys}), (stage,))
    names = {one.id: one.name for one in past.servers}
    table = found.buckets.table_us(found.buckets.p95_us, len(found.series), period.slots) / 1000
    values = {(names[one.server_id], one.kind): table[place] for place, one in enumerate(found.series)}
    lines = [
        Line(f"{key[0]} {key[1]}", [None if np.isnan(one) else float(one) for one in values[key[0], key[1]]])
        for key in keys
    ]
    at_ms = [slot * period.slot_ms for slot in period.slots]
    chart = Chart("p95 of the slowest", Shape.LINES, at_ms, lines, unit="ms", log=True)
    return [Section("slowest_over_time", "The slowest over time", charts=[chart])]
