"""Charts of how available groups and servers were, hour by hour or day by day."""

from __future__ import annotations

from collections.abc import Sequence

from reports.report import Chart, Line, Shape
from reports.standing import Standing
from storage.past import Past
from storage.rollups.marks import DAY_MS
from storage.rollups.read import Period, Rollups
from storage.rollups.sums import group_times

MOST_LINES = 60
"""Servers in a chart: the worst."""


def state_charts(past: Past, period: Period, servers: Sequence[Standing]) -> list[Chart]:
    """The availability in each slot: of groups, where there are several, and of the first of these servers."""
    word = "hour" if period.slot_ms < DAY_MS else "day"
    x = [slot * period.slot_ms for slot in period.slots]
    charts = []
    groups = {server.id: server.group for server in past.servers}
    names = sorted(set(groups.values()))
    if len(names) > 1:
        times = group_times(past.connection, past.rollups, groups, period)
        lines = [
            Line(name or "no group", [_ratio(*times.get((name, slot), (0, 0))) for slot in period.slots])
            for name in names
        ]
        charts.append(Chart(f"Groups by {word}", Shape.STATES, x, lines, "availability"))
    if servers:
        lines = _server_lines(past, period, [one.name for one in servers[:MOST_LINES]])
        charts.append(Chart(f"Servers by {word}, the worst first", Shape.STATES, x, lines, "availability"))
    return charts


def _server_lines(past: Past, period: Period, names: Sequence[str]) -> list[Line]:
    ids = {server.id: server.name for server in past.servers if server.name in set(names)}
    found = Rollups(past.connection, past.now_ms, list(ids)).outcomes(period)
    values: dict[str, list[float | None]] = {name: [None] * len(period.slots) for name in names}
    times_ms = zip(
        found.buckets.series.tolist(), found.buckets.slot.tolist(), found.buckets.numbers[:, 6:9].tolist(), strict=True
    )
    for series, slot, (healthy_ms, degraded_ms, unhealthy_ms) in times_ms:
        if (name := ids.get(found.series[series].server_id)) is not None:
            values[name][slot - period.slots[0]] = _ratio(healthy_ms + degraded_ms, unhealthy_ms)
    return [Line(name, values[name]) for name in names]


def _ratio(up_ms: int, down_ms: int) -> float | None:
    """The up share; None where nothing is known."""
    return up_ms / (up_ms + down_ms) if up_ms + down_ms else None
