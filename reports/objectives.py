"""Each objective over the time that it is promised for, and how long its error budget lasts."""

from __future__ import annotations

from collections.abc import Mapping

from reports.report import Column, Kind, ObjectiveRatio, Section, Table
from reports.stats.slo import DEFAULT_WINDOW_MS, MINUTE_MS, Exhaustion, availability, error_budget, exhaustion
from storage.past import Past
from storage.rollups.buckets import NUMBERS
from storage.rollups.read import Period
from storage.rollups.sums import outcome_sums

_LATE = 10
"""What a budget is used up by of late: in the last tenth of its window."""
_COLUMNS = (
    Column("server", "server"),
    Column("objective_ratio", "objective", Kind.RATIO),
    Column("window_ms", "window", Kind.DURATION, words="That the objective is promised for, up to now."),
    Column("availability_ratio", "availability", Kind.RATIO, words="Of the known time in the window."),
    Column("budget_left_ratio", "budget left", Kind.RATIO),
    Column("budget_left_min", "left", Kind.NUMBER, "min", "That it may still be down."),
    Column("burn", "burn of late", Kind.NUMBER, words="In the last tenth of the window."),
    Column("exhausted_in_ms", "exhausted in", Kind.DURATION, words="At the rate of late; 0: it is."),
)
_TEXT = (
    "Whatever the period of the report: each objective over its own window (objective_window, by default 30 days). The "
    "budget of a window is (1 - objective) x its length; exhausted in = what is left of it / the unhealthy share of "
    "the known time in the last tenth of the window, empty where that is 0. Those that are exhausted first come first."
)


def section(past: Past, objectives: Mapping[int, float]) -> Section | None:
    """A row for each server with an objective, by its id; None where there is none."""
    servers = [one for one in past.servers if one.id in objectives]
    rows = []
    for window_ms in sorted({one.objective_window_ms or DEFAULT_WINDOW_MS for one in servers}):
        ids = [one.id for one in servers if (one.objective_window_ms or DEFAULT_WINDOW_MS) == window_ms]
        whole, late = (_times(past, ids, length) for length in (window_ms, window_ms // _LATE))
        for number, (up_ms, down_ms), (late_up_ms, late_down_ms) in zip(ids, whole, late, strict=True):
            ratio = availability(up_ms, down_ms)
            if ratio is None:
                continue
            budget = error_budget(up_ms, down_ms, objectives[number], window_ms)
            lasts = exhaustion(budget, late_up_ms, late_down_ms)
            late_ms = late_up_ms + late_down_ms
            burn = late_down_ms / late_ms / (1 - objectives[number]) if late_ms else None
            left = (budget.left_ratio, lasts.left_ms / MINUTE_MS)
            name = next(one.name for one in servers if one.id == number)
            ratios = [ObjectiveRatio(one, objectives[number]) for one in (objectives[number], ratio)]
            rows.append((_first(lasts), [name, ratios[0], window_ms, ratios[1], *left, burn, lasts.lasts_ms]))
    if not rows:
        return None
    rows.sort(key=lambda row: (row[0], row[1][4]))
    return Section("objectives", "Objectives and their windows", Table(_COLUMNS, [row for _, row in rows]), _TEXT)


def _first(lasts: Exhaustion) -> float:
    return float("inf") if lasts.lasts_ms is None else lasts.lasts_ms


def _times(past: Past, servers: list[int], length_ms: int) -> list[tuple[float, float]]:
    """Up and down time of each server in the newest so many milliseconds, from a full hour or day on."""
    sums = outcome_sums(past.connection, past.rollups, servers, Period.of(past.now_ms - length_ms, past.now_ms))
    at = {name: place for place, name in enumerate(NUMBERS)}
    up = sums[:, at["healthy_ms"]] + sums[:, at["degraded_ms"]]
    return list(zip(up.tolist(), sums[:, at["unhealthy_ms"]].tolist(), strict=True))
