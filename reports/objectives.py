"""Availability against objectives: up time of a period, error budgets, and current burn rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from checker.stats.intervals import FEWEST_INCIDENTS, Interval, outages
from checker.stats.slo import (
    BURN_RULES,
    DEFAULT_WINDOW_MS,
    HOUR_MS,
    MINUTE_MS,
    BudgetWindow,
    Burn,
    ErrorBudget,
    Exhaustion,
    Repair,
    Severity,
    availability,
    burns,
    error_budget,
    exhaustion,
    rules_for,
    short_window_ms,
)
from reports.incidents import by_server, down_times, reasons_of, repair_of
from reports.report_model import Column, Kind, ObjectiveRatio, Section, Table
from storage.report_history import Past, ServerRow
from storage.rollups.buckets import NUMBERS
from storage.rollups.newest_rows import spans_of
from storage.rollups.raw_rows import Checks
from storage.rollups.read import Incident, Period
from storage.rollups.watermarks import Outcome

LENGTHS_MS = tuple(sorted({length for rule in BURN_RULES for length in (rule.long_ms, rule.short_ms)}))
"""Lengths of all windows that the rules use."""
_RAW_UP_TO_MS = HOUR_MS
"""Windows up to this length are read from raw rows; longer ones begin at a full hour."""
_NEWEST = 24
"""Checks read if they are far apart: those of a short window, and some that show the interval."""
_UP_MS = slice(6, 8)
_DOWN_MS = 8


def burns_of(past: Past, objectives: Mapping[int, float]) -> dict[int, tuple[Burn, ...]]:
    """Evaluated burn rules for the servers that have an objective, by id; only rules that fit their check interval."""
    servers = list(objectives)
    if not servers:
        return {}
    newest = past.rollups.newest()
    intervals_ms = [newest[server].interval_ms or 0 if server in newest else 0 for server in servers]
    windows: list[dict[int, BudgetWindow]] = [{} for _ in servers]
    for length_ms in LENGTHS_MS:
        if length_ms > _RAW_UP_TO_MS:
            for place, window in enumerate(_rolled(past, servers, length_ms)):
                windows[place][length_ms] = window
    lengths = [_lengths(interval_ms) for interval_ms in intervals_ms]
    for place, is_steady in enumerate(_steady(past, servers, windows)):
        if is_steady:
            windows[place] |= {length_ms: BudgetWindow(length_ms, 0, 0, 0) for length_ms in lengths[place]}
    for slow in (False, True):
        places = [
            place
            for place, wanted in enumerate(lengths)
            if not windows[place].keys() >= set(wanted) and (max(wanted) > _RAW_UP_TO_MS) is slow
        ]
        if places:
            ids = [servers[place] for place in places]
            checks = (
                past.newest_checks(ids, _NEWEST)
                if slow
                else past.checks_since(ids, past.now_ms - _RAW_UP_TO_MS, past.now_ms + 1)
            )
            read = _raw(checks, ids, [lengths[place] for place in places], past.now_ms)
            for place, found in zip(places, read, strict=True):
                windows[place] |= found
    promised = {one.id: one.objective_window_ms or DEFAULT_WINDOW_MS for one in past.servers}
    return {
        server: burns(windows[place], objectives[server], rules_for(promised[server]), interval_ms=intervals_ms[place])
        for place, server in enumerate(servers)
    }


def cannot_page(interval_ms: float) -> bool:
    """True if checks are too far apart for every rule that pages."""
    paging = (rule for rule in BURN_RULES if rule.severity is Severity.PAGE)
    return all(short_window_ms(rule, interval_ms) is None for rule in paging)


def alert(found: Sequence[Burn]) -> Severity | None:
    """The highest severity of the rules that fire."""
    firing = {one.rule.severity for one in found if one.fires}
    return Severity.PAGE if Severity.PAGE in firing else Severity.TICKET if firing else None


def burn_by_length(found: Sequence[Burn]) -> dict[int, float | None]:
    """Length of a window in milliseconds -> its burn rate."""
    rates: dict[int, float | None] = dict.fromkeys(LENGTHS_MS)
    rates |= {one.rule.short_ms: one.short_burn for one in found}
    return rates | {one.rule.long_ms: one.long_burn for one in found}


def label(length_ms: int) -> str:
    """The length of a window as part of a name: 5m, 6h, 3d."""
    for size_ms, unit in ((24 * HOUR_MS, "d"), (HOUR_MS, "h")):
        if length_ms % size_ms == 0:
            return f"{length_ms // size_ms}{unit}"
    return f"{length_ms // MINUTE_MS}m"


def _hours(now_ms: int, length_ms: int) -> Period:
    return Period((now_ms - length_ms) // HOUR_MS * HOUR_MS, now_ms, HOUR_MS)


def _rolled(past: Past, servers: Sequence[int], length_ms: int) -> list[BudgetWindow]:
    sums = past.outcome_sums(servers, _hours(past.now_ms, length_ms))
    known = sums[:, : Outcome.UNKNOWN].sum(axis=1)
    columns = (sums[:, _UP_MS].sum(axis=1), sums[:, _DOWN_MS], known, sums[:, Outcome.UNHEALTHY])
    return [BudgetWindow(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _steady(past: Past, servers: Sequence[int], windows: Sequence[Mapping[int, BudgetWindow]]) -> list[bool]:
    """Servers that did not fail in any of these windows and were up for the whole of the last hour.

    Their short windows can be computed without raw rows.
    """
    period = _hours(past.now_ms, _RAW_UP_TO_MS)
    sums = past.outcome_sums(servers, period)
    up_ms = sums[:, _UP_MS].sum(axis=1).tolist()
    return [
        of_server >= period.until_ms - period.since_ms
        and not any(window.down_ms or window.bad_samples for window in found.values())
        for of_server, found in zip(up_ms, windows, strict=True)
    ]


def _lengths(interval_ms: int) -> list[int]:
    """Lengths of the windows that are read from raw rows, for checks this far apart."""
    found = {short_ms for rule in BURN_RULES if (short_ms := short_window_ms(rule, interval_ms)) is not None}
    found |= {rule.long_ms for rule in BURN_RULES}
    return sorted(length for length in found if length <= _RAW_UP_TO_MS or length not in LENGTHS_MS)


def _raw(
    checks: Checks, servers: Sequence[int], lengths: Sequence[Sequence[int]], now_ms: int
) -> list[dict[int, BudgetWindow]]:
    """The windows of these lengths up to now, one list per server."""
    start, end, state = spans_of(checks, now_ms)
    known, up, down = checks.outcome <= Outcome.UNHEALTHY, state <= Outcome.DEGRADED, state == Outcome.UNHEALTHY
    ids = np.array(servers, np.int64)
    order = np.argsort(ids)
    place = order[np.searchsorted(ids, checks.server, sorter=order)]
    found: list[dict[int, BudgetWindow]] = [{} for _ in servers]
    for length_ms in sorted({one for wanted in lengths for one in wanted}):
        since_ms = now_ms - length_ms
        spent_ms = np.maximum(0, end - np.maximum(start, since_ms))
        counted = known & (checks.at_ms >= since_ms) & (checks.at_ms <= now_ms)
        # Sums of whole numbers below 2^53 are exact.
        columns = [np.where(up, spent_ms, 0), np.where(down, spent_ms, 0), counted, counted & down]
        sums = (np.bincount(place, column, len(servers)).astype(np.int64).tolist() for column in columns)
        windows = map(BudgetWindow, *sums)
        for of_server, wanted, window in zip(found, lengths, windows, strict=True):
            if length_ms in wanted:
                of_server[length_ms] = window
    return found


class Standing(Struct, frozen=True):
    """Availability figures of a server, a group or all servers in a period."""

    name: str
    group: str
    servers: int
    numbers: Mapping[str, int]
    """The columns `storage.rollups.buckets.NUMBERS`: counts by outcome, milliseconds in each state, changes."""
    watched_ms: int
    """Watched part of the period: from the first check of each server ever made until it left its configuration."""
    objective_ratio: float | None
    repair: Repair
    reasons: Mapping[str, int]
    """Reasons of downtime, each with the milliseconds of the incidents that it began."""
    burns: tuple[Burn, ...] = ()
    down_spans_ms: tuple[int, ...] = ()
    """Known downtime within the period by incident."""
    interval_ms: int | None = None
    """Typical interval between checks of a server; None if unknown."""

    @property
    def up_ms(self) -> int:
        """Time healthy or degraded."""
        return self.numbers["healthy_ms"] + self.numbers["degraded_ms"]

    @property
    def known_ms(self) -> int:
        """Time up or down."""
        return self.up_ms + self.numbers["unhealthy_ms"]

    @property
    def availability_ratio(self) -> float | None:
        """The up share of the known time; None if nothing is known."""
        return availability(self.up_ms, self.numbers["unhealthy_ms"])

    @property
    def coverage_ratio(self) -> float | None:
        """The known share of the watched time."""
        return self.known_ms / self.watched_ms if self.watched_ms else None

    @property
    def good_checks(self) -> int:
        """Number of checks with the result healthy or degraded."""
        return self.numbers["healthy"] + self.numbers["degraded"]

    @property
    def known_checks(self) -> int:
        """Number of checks with a known result."""
        return self.good_checks + self.numbers["unhealthy"]

    @property
    def good_interval(self) -> Interval | None:
        """The 95% interval of the share of good checks, from incidents; None for one or two incidents."""
        if not self.known_checks or 0 < self.incidents < FEWEST_INCIDENTS:
            return None
        bad = outages(self.known_checks - self.good_checks, self.known_checks, self.down_spans_ms)
        return Interval(1 - bad.high, 1 - bad.low)

    @property
    def incidents(self) -> int:
        """Number of incidents that overlap the period."""
        return sum(span > 0 for span in self.down_spans_ms)

    @property
    def budget(self) -> ErrorBudget | None:
        """The error budget of the known time; None without an objective or without known time."""
        if self.objective_ratio is None or not self.known_ms:
            return None
        return error_budget(self.up_ms, self.numbers["unhealthy_ms"], self.objective_ratio)

    @property
    def misses(self) -> bool:
        """True if availability is below the objective."""
        ratio = self.availability_ratio
        return ratio is not None and self.objective_ratio is not None and ratio < self.objective_ratio


def standings(
    past: Past, period: Period, incidents: Sequence[Incident], objective_ratio: float | None = None
) -> list[Standing]:
    """Figures of each server that was checked in the period; ``objective_ratio`` replaces the servers' objectives."""
    sums = past.outcome_sums([server.id for server in past.servers], period)
    rows = np.flatnonzero(sums.any(axis=1)).tolist()
    seen = [past.servers[row] for row in rows]
    numbers = {
        server.id: dict(zip(NUMBERS, sums[row].tolist(), strict=True)) for row, server in zip(rows, seen, strict=True)
    }
    objectives = {server.id: ratio for server in seen if (ratio := _objective(server, objective_ratio)) is not None}
    newest = past.rollups.newest()
    intervals_ms = {server: last.interval_ms for server, last in newest.items() if last.interval_ms is not None}
    burning = burns_of(past, objectives)
    first_ms = past.first_seen([server.id for server in seen])
    down = down_times(incidents, period, {server: of["unhealthy_ms"] for server, of in numbers.items()})
    of_server = by_server(incidents)
    found = []
    for server in seen:
        own, theirs = numbers[server.id], of_server.get(server.id, ())
        until_ms = period.until_ms
        if server.retired_at_ms is not None:  # its last check speaks on all the same
            until_ms = min(until_ms, max(server.retired_at_ms, newest[server.id].until_ms))
        said_ms = sum(own[f"{state}_ms"] for state in ("healthy", "degraded", "unhealthy", "maintenance"))
        watched_ms = max(said_ms, until_ms - max(first_ms.get(server.id, 0), period.since_ms))
        own["unknown_ms"] = watched_ms - said_ms  # where no check speaks nothing is known either
        found.append(
            Standing(
                name=server.name,
                group=server.group,
                servers=1,
                numbers=own,
                watched_ms=watched_ms,
                objective_ratio=objectives.get(server.id),
                repair=repair_of(theirs, period, own["healthy_ms"] + own["degraded_ms"]),
                reasons=reasons_of(theirs, down),
                burns=burning.get(server.id, ()),
                down_spans_ms=tuple(down[one] for one in theirs),
                interval_ms=intervals_ms.get(server.id),
            )
        )
    return found


def combined(name: str, members: Sequence[Standing], incidents: Sequence[Incident], period: Period) -> Standing:
    """Several servers as one: times and counts summed; an objective only if all have the same."""
    numbers = {column: sum(one.numbers[column] for one in members) for column in NUMBERS}
    objectives = {one.objective_ratio for one in members}
    return Standing(
        name=name,
        group=name,
        servers=len(members),
        numbers=numbers,
        watched_ms=sum(one.watched_ms for one in members),
        objective_ratio=objectives.pop() if len(objectives) == 1 else None,
        repair=repair_of(incidents, period, numbers["healthy_ms"] + numbers["degraded_ms"]),
        reasons=_summed(one.reasons for one in members),
        down_spans_ms=tuple(span_ms for one in members for span_ms in one.down_spans_ms),
    )


def _summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The reasons of all parts, summed."""
    found: dict[str, int] = {}
    for part in parts:
        for reason, down_ms in part.items():
            found[reason] = found.get(reason, 0) + down_ms
    return found


def _objective(server: ServerRow, instead: float | None) -> float | None:
    return server.objective_ratio if instead is None else instead


_LATE = 10
"""Recent use of a budget is measured over the last tenth of its window."""
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
    """A row for each server with an objective, by its id; None if there is none."""
    servers = [one for one in past.servers if one.id in objectives]
    rows = []
    for window_ms in sorted({one.objective_window_ms or DEFAULT_WINDOW_MS for one in servers}):
        names = {one.id: one.name for one in servers}
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
            ratios = [ObjectiveRatio(one, objectives[number]) for one in (objectives[number], ratio)]
            rows.append((_first(lasts), [names[number], ratios[0], window_ms, ratios[1], *left, burn, lasts.lasts_ms]))
    if not rows:
        return None
    rows.sort(key=lambda row: (row[0], row[1][4]))
    return Section("objectives", "Objectives and their windows", Table(_COLUMNS, [row for _, row in rows]), _TEXT)


def _first(lasts: Exhaustion) -> float:
    return float("inf") if lasts.lasts_ms is None else lasts.lasts_ms


def _times(past: Past, servers: list[int], length_ms: int) -> list[tuple[float, float]]:
    """Up and down time of each server in the newest milliseconds of this number, from a full hour or day on."""
    sums = past.outcome_sums(servers, Period.of(past.now_ms - length_ms, past.now_ms))
    at = {name: place for place, name in enumerate(NUMBERS)}
    up = sums[:, at["healthy_ms"]] + sums[:, at["degraded_ms"]]
    return list(zip(up.tolist(), sums[:, at["unhealthy_ms"]].tolist(), strict=True))
