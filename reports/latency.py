"""The latency report: durations of answered probes, and unanswered probes counted by reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from checker.model import Reason
from checker.probe_kinds import KINDS, STAGES, stages_of
from reports import latency_change as before
from reports.output_forms import duration, per_cent
from reports.percentile_cells import QUANTILES, PercentileTable, columns, interval_columns, key_numbers, percentiles_of
from reports.report_model import Chart, Column, KeyNumber, Kind, Level, Line, Report, Section, Shape, Table
from reports.report_rows import TOTAL, By, Subjects, subjects
from storage.report_history import Past
from storage.rollups.buckets import Sums
from storage.rollups.partial import ReasonCounts
from storage.rollups.read import BucketSeries, Period

Integers = npt.NDArray[np.int64]

ANSWERED = frozenset({Reason.SLOW, Reason.CERTIFICATE_EXPIRES_SOON})
"""Not HEALTHY, but answered: these are included in the latencies."""
TIMEOUTS = frozenset({Reason.CONNECT_TIMEOUT, Reason.SEND_TIMEOUT, Reason.FIRST_BYTE_TIMEOUT, Reason.DEADLINE})
"""Censored: the answer would have taken at least as long as the limit, but nobody knows how long."""
OWN = frozenset(
    {
        Reason.WORKER_LOST,
        Reason.INTERNAL_ERROR,
        Reason.OWN_NETWORK,
        Reason.RESOURCE_LIMIT,
        Reason.CIRCUIT_OPEN,
    }
)
"""The checker's own failures: they say nothing about the server."""
MOST_SHOWN = 8
"""Reasons with their own column and line; the rest are combined."""


class Failures(Struct, frozen=True):
    """Counts of unanswered probes; every array has one entry per bucket and reason."""

    names: tuple[str, ...]
    reason: Integers
    series: Integers
    slot: Integers
    times: Integers

    def by_label(self, label: Integers, labels: int, only: frozenset[Reason] | None = None) -> Integers:
        """Number of failures per label, series ``s`` counting for ``label[s]``; only these reasons, if given."""
        of_entry = label[self.series]
        kept = of_entry >= 0
        if only is not None:
            kept &= np.array([name in only for name in self.names], bool)[self.reason]
        return np.bincount(of_entry[kept], self.times[kept], labels).astype(np.int64)


def failures_of(counts: ReasonCounts) -> Failures:
    """The failures among these reasons: without those that came with an answer, and without the checker's own."""
    failed = np.array([name not in ANSWERED | OWN for name in counts.names], bool)[counts.reason]
    return Failures(
        tuple(counts.names), counts.reason[failed], counts.series[failed], counts.slot[failed], counts.times[failed]
    )


def failure_sections(failures: Failures, period: Period, probes: int) -> list[Section]:
    """Sections on failures by reason and over time; ``probes`` are the answered ones."""
    totals = np.bincount(failures.reason, failures.times, len(failures.names)).astype(np.int64)
    order = [one for one in np.argsort(-totals, kind="stable").tolist() if totals[one]]
    every = max(1, probes + int(totals.sum()))
    rows = []
    for one in order:
        slots = failures.slot[failures.reason == one]
        times = (int(slots.min()) * period.slot_ms, int(slots.max()) * period.slot_ms)
        name = failures.names[one]
        censored = "censored" if name in TIMEOUTS else ""
        rows.append([name, int(totals[one]), totals[one] / every, censored, *times])
    columns = [
        Column("reason", "Reason"),
        Column("failures", "Probes", Kind.COUNT),
        Column("share_ratio", "Share", Kind.RATIO, words="Of all probes of these servers."),
        Column("censored", "Timeout", words="Censored: how long it would have taken is not known."),
        Column("first_seen", "First slot", Kind.TIME),
        Column("last_seen", "Last slot", Kind.TIME),
    ]
    text = "Failed probes are no latencies: none of them is in any percentile. Timeouts are censored: all that is known"
    found = [Section("failures", "Probes without an answer", Table(columns, rows), f"{text} is that they took longer.")]
    return [*found, _failures_over_time(failures, period, order)] if order else found


def _failures_over_time(failures: Failures, period: Period, order: list[int]) -> Section:
    slots = period.slots
    shown = order[:MOST_SHOWN] if len(order) > MOST_SHOWN + 1 else order
    place = np.full(len(failures.names), len(shown))
    place[shown] = np.arange(len(shown))
    wide = len(shown) + 1
    table = np.bincount(
        (failures.slot - slots.start) * wide + place[failures.reason], failures.times, len(slots) * wide
    ).reshape(len(slots), wide)
    names = [*(failures.names[one] for one in shown), *(["other"] if len(shown) < len(order) else [])]
    labels = [f"{name} (timeout)" if name in TIMEOUTS else name for name in names]
    at_ms = [slot * period.slot_ms for slot in slots]
    rows: list[list[Any]] = [
        [at, *map(int, counts[: len(names)])] for at, counts in zip(at_ms, table.tolist(), strict=True) if any(counts)
    ]
    columns = [
        Column("at", "Slot", Kind.TIME),
        *(Column(f"{name}_failures", label, Kind.COUNT) for name, label in zip(names, labels, strict=True)),
    ]
    lines = [Line(label, table[:, number].tolist()) for number, label in enumerate(labels)]
    chart = Chart("Probes without an answer", Shape.STACK, at_ms, lines, unit="probes")
    return Section("failures_over_time", "When they failed", Table(columns, rows), charts=[chart])


Floats = npt.NDArray[np.float64]
_LEADS = ("over_time", "stages_over_time")
_P95 = [name for name, _ in QUANTILES].index("p95")


def build(
    past: Past,
    period: Period,
    *,
    by: By = By.SERVER,
    stage: str = TOTAL,
    kinds: Sequence[str] | None = None,
    top: int | None = None,
    selection: str = "",
) -> Report:
    """The report on this period, compared with the preceding one of equal length, and on the newest full hour.

    ``kinds`` are the kinds of probes; None is all. ``top`` is the largest number of rows in a list, slowest first; None
    is all, but at most `latency_change.MOST` of those that are compared.
    """
    kinds = tuple(KINDS) if kinds is None else kinds
    slots = period.slots
    both = Period((2 * slots.start - slots.stop) * period.slot_ms, period.until_ms, period.slot_ms)
    read = _of_stages(past, both, period, kinds) if by is By.STAGE else _of_series(past, both, period, kinds, by, stage)
    rows, sums, of_slots, many = read.rows, read.sums, read.of_slots, len(read.rows.keys)
    latencies, fleet_slots = percentiles_of(sums), percentiles_of(of_slots)
    order = _slowest(rows, latencies)
    shown = order[:top]
    reasons = past.rollups.reasons(period, kinds)
    failures = failures_of(reasons.buckets.counts())
    failed = failures.by_label(rows.also(past, reasons.series).row, many)
    timeouts = failures.by_label(rows.also(past, reasons.series).row, many, TIMEOUTS)
    compared = before.compared(both, period, rows, (read.earlier, sums), read.blocks_ms, top)
    sections = [
        _latency(
            rows, latencies, shown, {"failed": failed, "timeouts": timeouts}, _shares(rows, sums, read.whole, stage)
        ),
        _intervals(rows, latencies, shown),
        _over_time(period, kinds, fleet_slots),
        *([] if read.spent is None else [_stages_over_time(period, rows, kinds, read.spent, of_slots)]),
        *before.slowest(past, period, rows, shown, stage),
        *compared.sections,
        *before.same_hour(past, period, rows, kinds, stage, top),
        *failure_sections(failures, period, int(of_slots.count.sum())),
    ]
    return Report(
        name="latency",
        title="Latency" if stage == TOTAL else f"Latency of the stage {stage}",
        verdict=_verdict(rows, latencies, order) + compared.verdict,
        level=_level(order, compared),
        since_ms=period.since_ms,
        until_ms=period.until_ms,
        sections=sections,
        servers=len(past.servers),
        selection=selection,
        facts=(("probes with an answer", f"{int(of_slots.count.sum()):,}"), ("slot", duration(period.slot_ms))),
        numbers=_numbers(read.of_kinds, int(of_slots.count.sum()), int(failures.times.sum()), compared),
        lead=[chart for one in sections if one.name in _LEADS for chart in one.charts],
        notes=_notes(rows, order, shown),
    )


class _LatencySums(Struct, frozen=True):
    """The latencies that the report is made of."""

    rows: Subjects
    sums: Sums
    """Of each row, in the period."""
    earlier: Sums
    """Of each row, in the period before."""
    of_slots: Sums
    """Of each kind and slot of the period: label ``kind * slots + slot``."""
    blocks_ms: Callable[[], Sequence[Floats]]
    """The blocks of `latency_change.compared`."""
    whole: Sums | None = None
    """Of the whole probes of each row, where rows are of one stage of them."""
    of_kinds: Sequence[tuple[str, Sequence[Any]]] = ()
    """The cells of each kind: of all its answers in the period."""
    spent: Sums | None = None
    """Of each row and slot of the period, where rows are stages: label ``row * slots + slot``."""


def _of_series(past: Past, both: Period, period: Period, kinds: Sequence[str], by: By, stage: str) -> _LatencySums:
    """The sums from buckets in memory: a row may be a single series."""
    slots = period.slots
    found = past.rollups.packed(both, kinds, list(dict.fromkeys((TOTAL, stage))))
    rows = subjects(past, found.series, by, stage)
    row, many = rows.row[found.buckets.series], len(rows.keys)
    current, slot = found.buckets.slot >= slots.start, found.buckets.slot - slots.start
    fleet = _kind_of(found.series, kinds, stage)[found.buckets.series]
    sums, earlier, of_slots, of_kinds, whole = found.buckets.sums(
        (np.where(current, row, -1), many),
        (np.where(current, -1, row), many),
        (np.where(current & (fleet >= 0), fleet * len(slots) + slot, -1), len(kinds) * len(slots)),
        (np.where(current, fleet, -1), len(kinds)),
        (np.where(current, _whole(past, found.series, rows, stage)[found.buckets.series], -1), many),
    )
    blocks_ms = partial(before.blocks_of_series, past, both, found, rows)
    cells = percentiles_of(of_kinds)
    numbers = [(kind, cells.cells(place)) for place, kind in enumerate(kinds)]
    return _LatencySums(rows, sums, earlier, of_slots, blocks_ms, whole=whole, of_kinds=numbers)


def _of_stages(past: Past, both: Period, period: Period, kinds: Sequence[str]) -> _LatencySums:
    """The sums of every stage, from a stream: a fleet has ten series for each server, but few rows of them."""
    stages = [TOTAL, *dict.fromkeys(one for kind in kinds for one in stages_of(kind))]
    stream = past.rollups.stream(both, kinds, stages)
    longer = before.affordable(both, len(stream.series))
    if longer != both:
        stream = past.rollups.stream(longer, kinds, stages)
    rows = subjects(past, stream.series, By.STAGE)
    summed = stream.summed(rows.row, len(rows.keys))
    of_kind = {key: row for row, key in enumerate(rows.keys)}
    sums = summed.of_rows(period.slots)
    cells = percentiles_of(sums)
    return _LatencySums(
        rows,
        sums=sums,
        of_kinds=[(kind, cells.cells(of_kind[kind, TOTAL])) for kind in kinds if (kind, TOTAL) in of_kind],
        earlier=summed.of_rows(range(both.slots.start, period.slots.start)),
        of_slots=summed.of_slots(period.slots, [of_kind.get((kind, TOTAL), -1) for kind in kinds]),
        blocks_ms=partial(before.blocks_of_sums, summed, rows, both, longer),
        spent=summed.of_slots(period.slots),
    )


def _kind_of(series: Sequence[BucketSeries], kinds: Sequence[str], stage: str) -> Integers:
    """Index of each series' kind; -1 for other stages, and for kinds that were not requested."""
    places = {kind: place for place, kind in enumerate(kinds)}
    return np.array([places.get(one.kind, -1) if one.stage == stage else -1 for one in series], np.int64)


def _whole(past: Past, series: Sequence[BucketSeries], rows: Subjects, stage: str) -> Integers:
    """For each series of whole probes the row whose stage is a part of it; -1 if rows need none."""
    if stage == TOTAL:
        return np.full(len(series), -1)
    row = rows.also(past, series).row
    return np.array([of if one.stage == TOTAL else -1 for one, of in zip(series, row.tolist(), strict=True)], np.int64)


def _shares(rows: Subjects, sums: Sums, whole: Sums | None, stage: str) -> Floats | None:
    """Share of each row in the total time of its probes; None if rows are of whole probes."""
    if rows.by is By.STAGE:
        totals = {key[0]: time for key, time in zip(rows.keys, sums.sum_us.tolist(), strict=True) if key[1] == TOTAL}
        whole_us = np.array([totals.get(key[0], 0.0) for key in rows.keys])
    elif stage != TOTAL and whole is not None:
        whole_us = whole.sum_us
    else:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole_us > 0, sums.sum_us / whole_us, np.nan)


def _slowest(rows: Subjects, latencies: PercentileTable) -> list[int]:
    """The rows with samples, by p95 if it is known, else by their maximum; stages in their order."""
    some = np.flatnonzero(latencies.count).tolist()
    if rows.by is By.STAGE:
        places = {stage: place for place, stage in enumerate((TOTAL, *STAGES))}
        return sorted(some, key=lambda row: (rows.keys[row][0], places.get(rows.keys[row][1], len(places))))
    p95 = latencies.values_ms[some, _P95]
    order = np.lexsort((-latencies.max_ms[some], -p95))  # NaN last
    return [some[place] for place in order.tolist()]


def _latency(
    rows: Subjects,
    latencies: PercentileTable,
    shown: Sequence[int],
    failed: dict[str, Integers],
    shares: Floats | None,
) -> Section:
    share = [] if shares is None else [Column("share_ratio", "Share", Kind.RATIO, words="Of the time of its probes.")]
    counted = {} if rows.by is By.STAGE else failed
    table = [
        [
            *rows.keys[row],
            *latencies.cells(row),
            *([] if shares is None else [None if np.isnan(shares[row]) else float(shares[row])]),
            *(int(counts[row]) for counts in counted.values()),
        ]
        for row in shown
    ]
    more = [
        Column("failed", "Failed", Kind.COUNT, words="Probes without an answer; they count in no percentile."),
        Column(
            "timeouts", "Timeouts", Kind.COUNT, words="Those that timed out: they took longer than the limit.", rank=1
        ),
    ]
    return Section(
        "latency",
        "Where the time goes" if rows.by is By.STAGE else "Latency, the slowest first",
        Table([*rows.columns, *columns(), *share, *more[: len(counted)]], table),
        "Of probes that were answered. A percentile is the sample at its rank, within 1%.",
    )


def _intervals(rows: Subjects, latencies: PercentileTable, shown: Sequence[int]) -> Section:
    return Section(
        "intervals",
        "Confidence intervals of the percentiles",
        Table([*rows.short_columns, *interval_columns()], [[*rows.short(row), *latencies.ends(row)] for row in shown]),
        "95% confidence intervals by order statistics; an end is open where the sample is too small. They hold for "
        "independent samples: probes of one server that follow each other closely are less than that.",
    )


def _over_time(period: Period, kinds: Sequence[str], found: PercentileTable) -> Section:
    at_ms = [slot * period.slot_ms for slot in period.slots]
    cells = [found.cells(place) for place in range(len(kinds) * len(at_ms))]
    every = columns()
    picked = [place for place, column in enumerate(every) if column.name in ("n", "p50_ms", "p95_ms", "p99_ms")]
    heads, charts = [Column("at", "Slot", Kind.TIME)], []
    rows: list[list[Any]] = [[at] for at in at_ms]
    for number, kind in enumerate(kinds):
        mine = cells[number * len(at_ms) : (number + 1) * len(at_ms)]
        if not any(one[0] for one in mine):
            continue
        heads += [
            Column(f"{kind}_{every[place].name}", f"{kind} {every[place].label}", every[place].kind) for place in picked
        ]
        for row, one in zip(rows, mine, strict=True):
            row += [one[place] or None for place in picked]
        lines = [
            Line(every[place].label, [one[place] if isinstance(one[place], float) else None for one in mine])
            for place in picked[1:]
        ]
        charts.append(Chart(f"Latency of {kind} probes", Shape.LINES, at_ms, lines, unit="ms"))
    return Section("over_time", "Over time", Table(heads, rows if charts else []), charts=charts)


def _stages_over_time(period: Period, rows: Subjects, kinds: Sequence[str], spent: Sums, whole: Sums) -> Section:
    """Average time of each stage of a probe."""
    slots = period.slots
    spent_us = spent.sum_us.reshape(len(rows.keys), len(slots))
    probes = whole.count.reshape(len(kinds), len(slots))
    at_ms = [slot * period.slot_ms for slot in slots]
    charts, table = [], []
    for number, kind in enumerate(kinds):
        stages = [(stage, rows.keys.index((kind, stage))) for stage in stages_of(kind) if (kind, stage) in rows.keys]
        with np.errstate(divide="ignore", invalid="ignore"):
            means_ms = [spent_us[row] / probes[number] / 1000 for _, row in stages]
        lines = [
            Line(stage, [None if np.isnan(one) else float(one) for one in mean])
            for (stage, _), mean in zip(stages, means_ms, strict=True)
        ]
        if lines:
            charts.append(Chart(f"Mean time of {kind} probes by stage", Shape.STACK, at_ms, lines, unit="ms"))
        table += [
            [at, kind, line.label, value]
            for line in lines
            for at, value in zip(at_ms, line.values, strict=True)
            if value
        ]
    heads = [
        Column("at", "Slot", Kind.TIME),
        Column("kind", "Kind"),
        Column("stage", "Stage"),
        Column(
            "mean_ms", "Mean", Kind.DURATION, words="Over all probes of the kind, whether they have the stage or not."
        ),
    ]
    return Section("stages_over_time", "Stages over time", Table(heads, table), charts=charts)


def _numbers(
    of_kinds: Sequence[tuple[str, Sequence[Any]]], answers: int, failed: int, compared: before.PeriodComparison
) -> list[KeyNumber]:
    """Percentiles of all answers, the share of probes without one, and what became slower."""
    found = key_numbers(of_kinds)
    if answers + failed:
        found.append(KeyNumber("without an answer", per_cent(failed / (answers + failed)), f"{failed:,} probes"))
    if compared.verdict:
        level = Level.WARNING if compared.slower else Level.UNKNOWN if compared.blind else Level.GOOD
        found.append(KeyNumber("became slower", f"{compared.slower:,}", "than in the period before", level))
    return found


def _verdict(rows: Subjects, latencies: PercentileTable, order: Sequence[int]) -> str:
    if not order:
        return "Insufficient: no probe was answered in this time."
    worst = order[0]
    if rows.by is By.STAGE:
        return f"{len(order)} stages of {int(latencies.count[order].max()):,} probes."
    p95 = latencies.values_ms[worst, _P95]
    said = f"p95 {duration(p95)}" if not np.isnan(p95) else f"at most {duration(float(latencies.max_ms[worst]))}"
    return f"Slowest of {len(order)}: {rows.name(worst)}, {said}."


def _level(order: Sequence[int], compared: before.PeriodComparison) -> Level:
    if order and compared.slower:
        return Level.WARNING
    return Level.GOOD if order and not compared.blind else Level.UNKNOWN


def _notes(rows: Subjects, order: Sequence[int], shown: Sequence[int]) -> tuple[str, ...]:
    if len(shown) == len(order):
        return ()
    return (f"{len(shown)} of {len(order):,} rows by {rows.by} are shown, the slowest; --top shows more",)
