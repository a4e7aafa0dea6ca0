"""How fast servers use up their error budgets now: the burn rules over windows from five minutes to three days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reports.stats.slo import (
    BURN_RULES,
    DEFAULT_WINDOW_MS,
    HOUR_MS,
    MINUTE_MS,
    Burn,
    Severity,
    Window,
    burns,
    rules_for,
)
from storage.past import Past
from storage.rollups.histogram import Integers
from storage.rollups.read import Period
from storage.rollups.recent import checks_since, spans_of
from storage.rollups.samples import Outcome
from storage.rollups.sums import outcome_sums

LENGTHS_MS = tuple(sorted({length for rule in BURN_RULES for length in (rule.long_ms, rule.short_ms)}))
"""Of all windows that the rules look at."""
_RAW_UP_TO_MS = HOUR_MS
"""Shorter windows, and this one, are read from raw rows; longer ones begin at a full hour."""
_UP_MS = slice(6, 8)
_DOWN_MS = 8


def burns_of(past: Past, objectives: Mapping[int, float]) -> dict[int, tuple[Burn, ...]]:
    """Each rule applied to the servers that have an objective, by id."""
    servers = list(objectives)
    if not servers:
        return {}
    windows: list[dict[int, Window]] = [{} for _ in servers]
    for length_ms in LENGTHS_MS:
        if length_ms > _RAW_UP_TO_MS:
            for place, window in enumerate(_rolled(past, servers, length_ms)):
                windows[place][length_ms] = window
    steady = _steady(past, servers)
    read = [server for server, is_steady in zip(servers, steady, strict=True) if not is_steady]
    raw = dict(zip(read, _raw(past, read), strict=True))
    for place, server in enumerate(servers):
        for length_ms in LENGTHS_MS:
            if length_ms <= _RAW_UP_TO_MS:
                found = raw[server][length_ms] if server in raw else Window(length_ms, 0, 0, 0)
                windows[place][length_ms] = found
    promised = {one.id: one.objective_window_ms or DEFAULT_WINDOW_MS for one in past.servers}
    return {
        server: burns(windows[place], objectives[server], rules_for(promised[server]))
        for place, server in enumerate(servers)
    }


def alert(found: Sequence[Burn]) -> Severity | None:
    """The worst severity of the rules that fire."""
    firing = {one.rule.severity for one in found if one.fires}
    return Severity.PAGE if Severity.PAGE in firing else Severity.TICKET if firing else None


def burn_by_length(found: Sequence[Burn]) -> dict[int, float | None]:
    """Length of a window in milliseconds -> its burn rate."""
    rates = {one.rule.short_ms: one.short_burn for one in found}
    return rates | {one.rule.long_ms: one.long_burn for one in found}


def label(length_ms: int) -> str:
    """The length of a window in a name: 5m, 6h, 3d."""
    for size_ms, unit in ((24 * HOUR_MS, "d"), (HOUR_MS, "h")):
        if length_ms % size_ms == 0:
            return f"{length_ms // size_ms}{unit}"
    return f"{length_ms // MINUTE_MS}m"


def _hours(now_ms: int, length_ms: int) -> Period:
    return Period((now_ms - length_ms) // HOUR_MS * HOUR_MS, now_ms, HOUR_MS)


def _rolled(past: Past, servers: Sequence[int], length_ms: int) -> list[Window]:
    sums = outcome_sums(past.connection, past.rollups, servers, _hours(past.now_ms, length_ms)).numbers
    known = sums[:, : Outcome.UNKNOWN].sum(axis=1)
    columns = (sums[:, _UP_MS].sum(axis=1), sums[:, _DOWN_MS], known, sums[:, Outcome.UNHEALTHY])
    return [Window(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _steady(past: Past, servers: Sequence[int]) -> list[bool]:
    """Which servers were up in every moment of the last hour: their short windows need no look at raw rows."""
    period = _hours(past.now_ms, _RAW_UP_TO_MS)
    sums = outcome_sums(past.connection, past.rollups, servers, period).numbers
    up: list[bool] = (sums[:, _UP_MS].sum(axis=1) >= period.until_ms - period.since_ms).tolist()
    return up


def _raw(past: Past, servers: Sequence[int]) -> list[dict[int, Window]]:
    """The short windows of these servers, by length."""
    checks = checks_since(past.connection, servers, past.now_ms - _RAW_UP_TO_MS, past.now_ms + 1) if servers else None
    if checks is None:
        return []
    start, end, state = spans_of(checks, past.now_ms)
    order = np.argsort(np.array(servers, np.int64))
    place = order[np.searchsorted(np.array(servers, np.int64)[order], checks.server)]
    found: list[dict[int, Window]] = [{} for _ in servers]

    def summed(chosen: Integers, amount: Integers) -> list[int]:
        counted = np.bincount(place[chosen], amount[chosen], len(servers))
        return [round(one) for one in counted.tolist()]

    for length_ms in LENGTHS_MS:
        if length_ms <= _RAW_UP_TO_MS:
            since_ms = past.now_ms - length_ms
            spent_ms = np.maximum(0, end - np.maximum(start, since_ms))
            up, down = np.flatnonzero(state <= Outcome.DEGRADED), np.flatnonzero(state == Outcome.UNHEALTHY)
            known = np.flatnonzero((checks.outcome <= Outcome.UNHEALTHY) & (checks.at_ms >= since_ms))
            bad = known[checks.outcome[known] == Outcome.UNHEALTHY]
            one = np.ones(len(start), np.int64)
            columns = (summed(up, spent_ms), summed(down, spent_ms), summed(known, one), summed(bad, one))
            for number, row in enumerate(zip(*columns, strict=True)):
                found[number][length_ms] = Window(*row)
    return found
