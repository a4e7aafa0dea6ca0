"""Latency against load: the levels of a stress test or the rates of ramps, the knee, and the capacity."""

from __future__ import annotations

from typing import Any

import numpy as np

from checker.loadtest.results import BenchRun, Capacity, LevelResult
from checker.loadtest.summary import summarize
from reports.loadtests.percentile_cells import quantile_cell
from reports.loadtests.timeline import Timeline
from reports.loadtests.verdict import capacity_words, is_closed, level_unit
from reports.output_forms import duration, number
from reports.report_model import Chart, Column, Insufficient, Kind, Line, Mark, Scale, Section, Shape, Table

_BINS = 12
_WIDE_ENOUGH = 1.5
"""Ratio of the highest and the lowest rate, below which the load is too constant to show latency against it."""
_CURVE_POINTS = 40


def latency_by_load(run: BenchRun) -> Section | None:
    """Latency at each level of a stress test, or at each offered rate; None if the load was constant."""
    if run.capacity is not None and run.capacity.levels:
        return _by_level(run, run.capacity)
    return None if is_closed(run) else _by_rate(run)


def capacity(run: BenchRun, found: Capacity) -> Section:
    """The last good level, the first bad one, the untested gap between them, and each level."""
    rows = [
        [
            at,
            one.level,
            "UNKNOWN" if one.client_bound else "GOOD" if one.good else "BAD",
            "the load generator was the limit" if one.client_bound else one.why or None,
            one.offered_per_s,
            one.achieved_per_s,
            one.p50_ms,
            one.p99_ms,
            one.failed_ratio,
        ]
        for at, one in enumerate(found.levels, 1)
    ]
    columns = [
        Column("order", "Tried", Kind.COUNT),
        Column("level", "Level", Kind.NUMBER, level_unit(run)),
        Column("result", "Result", Kind.STATUS),
        Column("why", "Why", is_reason=True),
        Column("offered_per_s", "Offered", Kind.NUMBER, "/s"),
        Column("achieved_per_s", "Achieved", Kind.NUMBER, "/s"),
        Column("p50_ms", "p50", Kind.DURATION),
        Column("p99_ms", "p99", Kind.DURATION),
        Column("failed_ratio", "Failed", Kind.RATIO),
    ]
    text = f"{_capacity_words(run, found)} In the order they were tried."
    return Section("capacity", "Capacity", Table(columns, rows), text, open=True)


def capacity_facts(run: BenchRun, found: Capacity) -> list[tuple[str, str]]:
    """The result of the search, as words and values."""
    unit = level_unit(run)

    def level(value: float | None) -> str:
        return "none" if value is None else f"{value:g} {unit}"

    facts = [("Last good", level(found.last_good)), ("First bad", level(found.first_bad)), ("Knee", level(found.knee))]
    recovered = "not seen" if found.recovery_s is None else f"{found.recovery_s:g} s"
    return [*facts, ("Recovery", recovered)]


def _capacity_words(run: BenchRun, found: Capacity) -> str:
    words = capacity_words(run)
    said = [f"{words[0].upper()}{words[1:]}."]
    if found.knee is not None:
        said.append(f"From {found.knee:g} {level_unit(run)} on, latency grew faster than throughput (knee).")
    if found.first_bad is not None:
        recovery = "The objective did not hold again while recovery was observed, or recovery was not observed."
        if found.recovery_s is not None:
            recovery = f"{found.recovery_s:g} s after the last bad level the objective held again."
        said.append(recovery)
    if found.usl:
        said.append(_usl_words(found.usl))
    return " ".join(said)


def _usl_words(fit: Any) -> str:
    return (
        f"Universal scalability law: {number(fit['lambda'])} /s of one user, contention {fit['sigma']:.3g}, coherence "
        f"{fit['kappa']:.3g}; its peak is {number(fit['peak_per_s'])} /s at {number(fit['peak_users'])} users "
        f"(R² {fit['r_squared']:.3f})."
    )


def _by_level(run: BenchRun, found: Capacity) -> Section:
    unit = level_unit(run)
    levels = sorted((one for one in found.levels if not one.client_bound), key=lambda one: one.level)
    by_level: dict[float, LevelResult] = {one.level: one for one in levels}
    x = list(by_level)
    marks = [] if found.knee is None else [Mark(found.knee, f"knee: {found.knee:g} {unit}")]
    lines = [
        Line("p50", [one.p50_ms for one in by_level.values()]),
        Line("p99", [one.p99_ms for one in by_level.values()]),
    ]
    title = f"Response time by {'users' if unit == 'users' else 'offered rate'}"
    charts = [
        Chart(title, Shape.LINES, x, lines, "ms", False, marks, log=True, scale=Scale.LOG, x_label=unit),
        _achieved(found, by_level, unit, marks),
    ]
    text = "Each level of the stress test; where one was tried more than once, the last time."
    return Section("load", "Latency by load", None, text, charts, open=True)


def _achieved(found: Capacity, by_level: dict[float, LevelResult], unit: str, marks: list[Mark]) -> Chart:
    """The achieved rate at each level, with the fitted scalability law."""
    measured = {level: one.achieved_per_s for level, one in by_level.items()}
    if not found.usl:
        lines = [
            Line("achieved", list(measured.values())),
            Line("offered", [one.offered_per_s for one in by_level.values()]),
        ]
        title = "Achieved by offered rate" if unit == "/s" else "Achieved by users"
        return Chart(title, Shape.LINES, list(measured), lines, "/s", False, marks, scale=Scale.LOG, x_label=unit)
    curve = np.geomspace(min(measured), max(measured), _CURVE_POINTS).tolist()
    x = sorted({*measured, *curve})
    sigma, kappa, single = found.usl["sigma"], found.usl["kappa"], found.usl["lambda"]
    fitted = [single * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)) for n in x]
    lines = [Line("fitted law", fitted), Line("measured", [measured.get(n) for n in x])]
    title = "Achieved by users, with the scalability law"
    return Chart(title, Shape.LINES, x, lines, "/s", False, marks, scale=Scale.LOG, x_label=unit)


def _by_rate(run: BenchRun) -> Section | None:
    """Slots grouped by similar rate: the latency along a ramp."""
    line = Timeline.of(run)
    offered = line.sums("offered") / line.seconds
    there = offered > 0
    if not there.any() or offered[there].max() < _WIDE_ENOUGH * offered[there].min():
        return None
    edges = np.linspace(0.0, float(offered.max()) * 1.0001, _BINS + 1)
    group = np.searchsorted(edges, offered, side="right") - 1
    rows: list[list[Any]] = []
    for at in range(_BINS):
        mine = np.flatnonzero((group == at) & there)
        if len(mine):
            places = frozenset(mine.tolist())
            slots = [slot for slot, place in zip(line.slots, line.place.tolist(), strict=True) if place in places]
            one = summarize(slots, float(line.seconds[mine].sum()))
            quantiles = [quantile_cell(one, q) for q in (0.5, 0.95, 0.99)]
            rows.append([one.offered_per_s, one.achieved_per_s, len(mine), *quantiles, one.failed_ratio])
    columns = [
        Column("offered_per_s", "Offered", Kind.NUMBER, "/s"),
        Column("achieved_per_s", "Achieved", Kind.NUMBER, "/s"),
        Column("slots", "Slots", Kind.COUNT),
        *(Column(f"{name}_ms", name, Kind.DURATION) for name in ("p50", "p95", "p99")),
        Column("failed_ratio", "Failed", Kind.RATIO),
    ]
    lines = [
        Line(name, [None if isinstance(row[at], Insufficient) else row[at] for row in rows])
        for name, at in (("p50", 3), ("p95", 4), ("p99", 5))
    ]
    x = [row[0] for row in rows]
    chart = Chart("Response time by offered rate", Shape.LINES, x, lines, "ms", False, log=True, x_label="offered /s")
    text = f"Slots of all stages by offered rate, the highest {_highest(rows)}."
    return Section("load", "Latency by load", Table(columns, rows), text, [chart])


def _highest(rows: list[list[Any]]) -> str:
    """The highest rate with its median."""
    p50 = rows[-1][3]
    return f"{number(rows[-1][0])} /s" + (f" with p50 {duration(p50)}" if isinstance(p50, float) else "")
