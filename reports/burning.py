"""How fast servers use up their error budgets now: the burn rules over windows from five minutes to three days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reports.stats.slo import (
    BURN_RULES,
    DEFAULT_WINDOW_MS,
    HOUR_MS,
    MINUTE_MS,
    BudgetWindow,
    Burn,
    Severity,
    burns,
    rules_for,
    short_window_ms,
)
from storage.past import Past
from storage.rollups.read import Period
from storage.rollups.recent import checks_since, newest_checks, spans_of
from storage.rollups.samples import Checks, Outcome
from storage.rollups.sums import outcome_sums

LENGTHS_MS = tuple(sorted({length for rule in BURN_RULES for length in (rule.long_ms, rule.short_ms)}))
"""Of all windows that the rules look at."""
_RAW_UP_TO_MS = HOUR_MS
"""Shorter windows, and this one, are read from raw rows; longer ones begin at a full hour."""
_NEWEST = 24
"""Checks that are looked at where they are far apart: those of a short window, and some that tell how far."""
_UP_MS = slice(6, 8)
_DOWN_MS = 8


def burns_of(past: Past, objectives: Mapping[int, float]) -> dict[int, tuple[Burn, ...]]:
    """The rules that fit how far apart checks are, applied to the servers that have an objective, by id."""
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
                newest_checks(past.connection, ids, _NEWEST)
                if slow
                else checks_since(past.connection, ids, past.now_ms - _RAW_UP_TO_MS, past.now_ms + 1)
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
    """Whether checks are too far apart for any rule that pages."""
    paging = (rule for rule in BURN_RULES if rule.severity is Severity.PAGE)
    return all(short_window_ms(rule, interval_ms) is None for rule in paging)


def alert(found: Sequence[Burn]) -> Severity | None:
    """The worst severity of the rules that fire."""
    firing = {one.rule.severity for one in found if one.fires}
    return Severity.PAGE if Severity.PAGE in firing else Severity.TICKET if firing else None


def burn_by_length(found: Sequence[Burn]) -> dict[int, float | None]:
    """Length of a window in milliseconds -> its burn rate."""
    rates: dict[int, float | None] = dict.fromkeys(LENGTHS_MS)
    rates |= {one.rule.short_ms: one.short_burn for one in found}
    return rates | {one.rule.long_ms: one.long_burn for one in found}


def label(length_ms: int) -> str:
    """The length of a window in a name: 5m, 6h, 3d."""
    for size_ms, unit in ((24 * HOUR_MS, "d"), (HOUR_MS, "h")):
        if length_ms % size_ms == 0:
            return f"{length_ms // size_ms}{unit}"
    return f"{length_ms // MINUTE_MS}m"


def _hours(now_ms: int, length_ms: int) -> Period:
    return Period((now_ms - length_ms) // HOUR_MS * HOUR_MS, now_ms, HOUR_MS)


def _rolled(past: Past, servers: Sequence[int], length_ms: int) -> list[BudgetWindow]:
    sums = outcome_sums(past.connection, past.rollups, servers, _hours(past.now_ms, length_ms))
    known = sums[:, : Outcome.UNKNOWN].sum(axis=1)
    columns = (sums[:, _UP_MS].sum(axis=1), sums[:, _DOWN_MS], known, sums[:, Outcome.UNHEALTHY])
    return [BudgetWindow(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _steady(past: Past, servers: Sequence[int], windows: Sequence[Mapping[int, BudgetWindow]]) -> list[bool]:
    """Which servers failed in none of these windows and were up in every moment of the last hour.

    Their short windows need no look at raw rows.
    """
    period = _hours(past.now_ms, _RAW_UP_TO_MS)
    sums = outcome_sums(past.connection, past.rollups, servers, period)
    up_ms = sums[:, _UP_MS].sum(axis=1).tolist()
    return [
        of_server >= period.until_ms - period.since_ms
        and not any(window.down_ms or window.bad_samples for window in found.values())
        for of_server, found in zip(up_ms, windows, strict=True)
    ]


def _lengths(interval_ms: int) -> list[int]:
    """The windows that are read from raw rows, for checks so far apart."""
    found = {short_ms for rule in BURN_RULES if (short_ms := short_window_ms(rule, interval_ms)) is not None}
    found |= {rule.long_ms for rule in BURN_RULES}
    return sorted(length for length in found if length <= _RAW_UP_TO_MS or length not in LENGTHS_MS)


def _raw(
    checks: Checks, servers: Sequence[int], lengths: Sequence[Sequence[int]], now_ms: int
) -> list[dict[int, BudgetWindow]]:
    """The windows of these lengths, one list for each of the servers, up to now."""
    start, end, state = spans_of(checks, now_ms)
    known = checks.outcome <= Outcome.UNHEALTHY
    found: list[dict[int, BudgetWindow]] = []
    for server, wanted in zip(servers, lengths, strict=True):
        rows = slice(*np.searchsorted(checks.server, (server, server + 1)).tolist())
        up, down = state[rows] <= Outcome.DEGRADED, state[rows] == Outcome.UNHEALTHY
        of_server: dict[int, BudgetWindow] = {}
        for length_ms in wanted:
            since_ms = now_ms - length_ms
            spent_ms = np.maximum(0, end[rows] - np.maximum(start[rows], since_ms))
            samples = known[rows] & (checks.at_ms[rows] >= since_ms) & (checks.at_ms[rows] <= now_ms)
            counts = (spent_ms[up].sum(), spent_ms[down].sum(), samples.sum(), (samples & down).sum())
            of_server[length_ms] = BudgetWindow(*(int(one) for one in counts))
        found.append(of_server)
    return found
