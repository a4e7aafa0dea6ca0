"""Folding of raw rows into hour buckets: counts, time in each state, incidents, latencies; no database.

A check counts for its server until the server's next check, but no longer than `check_interval` allows: while the
checker itself was away the state is unknown. Of several checks of a server in one millisecond the one of the newest run
decides the server's state; all are counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from msgspec import Struct

from checker.stats.histogram import Cells, Integers
from storage.rollups.check_interval import Rhythm, holds
from storage.rollups.raw_rows import REFUSALS, Checks, Probes
from storage.rollups.watermarks import HOUR_MS, Outcome

_STATES = 5
"""Number of outcomes with a time: a suspect check leaves the state unknown."""
_DENSE = 8
"""Cells of a table per row, up to which marking them is faster than sorting."""
_NEVER = np.iinfo(np.int64).max


class States(Struct, frozen=True):
    """State of each server before its next check; every array has one entry per server, sorted by id.

    -1 stands for none.
    """

    server: Integers
    from_ms: Integers
    """Start of the rows to fold: a full hour."""
    at_ms: Integers
    """Time of the last check before that."""
    outcome: Integers
    known: Integers
    """The last outcome that said anything about the server."""
    down_ms: Integers
    """Time for which the server was known to be down in its open incident."""
    maintenance_ms: Integers
    """Time under maintenance in the open incident."""
    down_until_ms: Integers
    """End of the time for which the server was known to be down."""
    rhythm: Sequence[Rhythm]
    """Intervals between the server's checks."""


class Keys(Struct, frozen=True):
    """Keys of the buckets; every array has one entry per bucket."""

    server: Integers
    kind: Integers
    """Position in the list of probe kinds; 0 is CHECK."""
    stage: Integers
    hour: Integers
    """Hours since 1970."""


class Outcomes(Struct, frozen=True):
    """Buckets of outcomes, as rows of their tables."""

    keys: Keys
    counts: Integers
    """Shape (buckets, 6): columns by `Outcome`."""
    times_ms: Integers
    """Shape (buckets, 5): columns by `Outcome`, without SUSPECT."""
    changes: Integers
    reasons: Sequence[str | None]
    """JSON object: reason -> count."""


class FoldedLatencies(Struct, frozen=True):
    """Buckets of latencies in microseconds."""

    keys: Keys
    count: Integers
    sum_us: Integers
    min_us: Integers
    max_us: Integers
    cells: Cells
    """Group ``i`` is bucket ``i``."""


class Spell(Struct, frozen=True):
    """An incident as far as it is folded: already open before these rows, or begun in them."""

    server: int
    started_at_ms: int | None
    """None if it began before these rows."""
    ended_at_ms: int | None
    """None if it is still open."""
    reason: str | None
    """Reason of the check that began it."""
    down_ms: int
    """Time for which the server was known to be down, since the incident began."""
    maintenance_ms: int
    """Time under maintenance during the incident."""
    down_until_ms: int
    """End of the time for which the server was known to be down."""


def fold_checks(checks: Checks, before: States, until_ms: int) -> tuple[Outcomes, list[Spell], States]:
    """The buckets of these checks, which all began at or after ``before.from_ms`` and before ``until_ms``.

    Also returns the incidents that were open in this period, and the states for the rows from ``until_ms`` on. Time is
    counted up to ``until_ms``.
    """
    carried = np.flatnonzero(before.at_ms >= 0)
    place = np.concatenate((carried, np.searchsorted(before.server, checks.server)))
    at_ms = np.concatenate((before.at_ms[carried], checks.at_ms))
    outcome = np.concatenate((before.outcome[carried], checks.outcome))
    fresh = np.arange(len(place)) >= len(carried)
    order = np.lexsort((np.arange(len(place)), at_ms, place))
    source = order - len(carried)
    place, at_ms, outcome, fresh = place[order], at_ms[order], outcome[order], fresh[order]
    opens = np.diff(place, prepend=-1) > 0
    closes = np.append(opens[1:], True) if len(opens) else opens
    hold_ms, rhythm = _holds(place, at_ms, fresh, before.rhythm)
    start, end, state = spans(at_ms, outcome, hold_ms, closes, until_ms)
    start = np.maximum(start, before.from_ms[place])
    spent = _times(place, start, end, state)
    turned, known = _turns(place, at_ms, outcome, fresh, before)
    there = np.flatnonzero(fresh)
    slots = at_ms // HOUR_MS
    buckets, bucket = distinct(np.concatenate((place[there], spent[0])), np.concatenate((slots[there], spent[1])))
    of_row, of_time = bucket[: len(there)], bucket[len(there) :]
    size = len(buckets[0])
    counts = _table(of_row, outcome[there], np.ones(len(there), np.int64), size, len(Outcome))
    times_ms = _table(of_time, spent[2], spent[3], size, _STATES)
    changes = np.bincount(of_row[turned[there]], minlength=size)
    counted = outcome[there] < Outcome.MAINTENANCE
    reason = checks.reason[source[there]]
    reasons = _reasons(of_row[counted], reason[counted], checks.reasons, size)
    keys = Keys(before.server[buckets[0]], np.zeros(size, np.int64), np.zeros(size, np.int64), buckets[1])
    rows = _CheckRows(place, at_ms, outcome, opens, turned, start, end, state)
    spells, parts = _spells(rows, before, [_name(checks, one) for one in source[turned].tolist()])
    last = np.flatnonzero(closes)
    after = States(
        server=before.server,
        from_ms=np.full(len(before.server), until_ms),
        at_ms=_put(before.at_ms, place[last], at_ms[last]),
        outcome=_put(before.outcome, place[last], outcome[last]),
        known=known,
        down_ms=parts[0],
        maintenance_ms=parts[1],
        down_until_ms=parts[2],
        rhythm=rhythm,
    )
    return Outcomes(keys, counts, times_ms, changes, reasons), spells, after


def fold_probes(probes: Probes, checks: Checks) -> tuple[Outcomes, FoldedLatencies]:
    """The buckets of the probes of these checks, each at the time of its check."""
    kind = probes.kind
    server, hour = checks.server[probes.check], checks.at_ms[probes.check] // HOUR_MS
    (servers, of_kind, hours), bucket = distinct(server, kind, hour)
    size = len(servers)
    counts = _table(bucket, probes.outcome, np.ones(len(bucket), np.int64), size, len(Outcome))
    none = np.zeros((size, _STATES), np.int64)
    counted = probes.outcome < Outcome.MAINTENANCE
    reasons = _reasons(bucket[counted], probes.reason[counted], probes.reasons, size)
    keys = Keys(servers, of_kind, np.zeros(size, np.int64), hours)
    outcomes = Outcomes(keys, counts, none, np.zeros(size, np.int64), reasons)

    refusals = [number for number, name in enumerate(probes.reasons) if name in REFUSALS]
    answered = (probes.outcome <= Outcome.DEGRADED) & ~np.isin(probes.reason, refusals)
    row, stage = np.nonzero((probes.times_us >= 0) & answered[:, None])
    return outcomes, _latencies(server[row], kind[row], stage, hour[row], probes.times_us[row, stage])


def spans(
    at_ms: Integers, outcome: Integers, hold_ms: Integers, closes: Any, until_ms: int
) -> tuple[Integers, Integers, Integers]:
    """The time for which each check counts, as start and end, and its state.

    The checks are ordered by server and time; ``hold_ms`` is the longest time that each counts, and ``closes`` marks
    the last check of each server.
    """
    next_ms = np.append(at_ms[1:], _NEVER)[: len(at_ms)]
    next_ms[closes] = _NEVER
    end = np.minimum(np.minimum(next_ms, at_ms + hold_ms), until_ms)
    return at_ms, end, np.where(outcome == Outcome.SUSPECT, Outcome.UNKNOWN, outcome)


def _holds(place: Integers, at_ms: Integers, fresh: Any, before: Sequence[Rhythm]) -> tuple[Integers, list[Rhythm]]:
    """The longest time that each row counts, and the rhythm of each server after them."""
    after = list(before)
    found = np.zeros(len(place), np.int64)
    starts = np.flatnonzero(np.diff(place, prepend=-1) > 0).tolist()
    for first, end in zip(starts, [*starts[1:], len(place)], strict=False):
        server = int(place[first])
        if not fresh[first]:
            found[first] = before[server].hold_ms
            first += 1  # its rhythm has this check in it
        found[first:end], after[server] = holds(before[server], at_ms[first:end].tolist())
    return found, after


def _times(
    place: Integers, start: Integers, end: Integers, state: Integers
) -> tuple[Integers, Integers, Integers, Integers]:
    """The time for which each check counted, split at full hours: position of the server, hour, state, milliseconds."""
    pieces = []
    while len(start):
        cut = np.minimum(end, (start // HOUR_MS + 1) * HOUR_MS)
        some = cut > start
        place, start, end, state, cut = place[some], start[some], end[some], state[some], cut[some]
        pieces.append((place, start // HOUR_MS, state, cut - start))
        start = cut
    none = np.zeros(0, np.int64)
    found = [np.concatenate(column) for column in zip(*pieces, strict=True)] if pieces else [none] * 4
    return found[0], found[1], found[2], found[3]


def _turns(place: Integers, at_ms: Integers, outcome: Integers, fresh: Any, before: States) -> tuple[Any, Integers]:
    """Mask of the rows that turn a server down or up, and the last known outcome of each server."""
    turned = np.zeros(len(place), bool)
    known = before.known.copy()
    says = np.flatnonzero(fresh & (outcome <= Outcome.UNHEALTHY))
    if len(says):
        # Of one millisecond only the last says what the server was: an incident lasts, and begins once.
        same = (place[says][1:] == place[says][:-1]) & (at_ms[says][1:] == at_ms[says][:-1])
        says = says[np.append(~same, True)]
        of, down = place[says], outcome[says] == Outcome.UNHEALTHY
        opens = np.diff(of, prepend=-1) > 0
        was_down = np.append(False, down[:-1])
        was_down[opens] = before.known[of[opens]] == Outcome.UNHEALTHY
        turned[says] = down != was_down
        ends = np.append(opens[1:], True)
        known[of[ends]] = outcome[says[ends]]
    return turned, known


class _CheckRows(Struct, frozen=True):
    """The rows of a fold, ordered by server and time, with the time for which each counts."""

    place: Integers
    at_ms: Integers
    outcome: Integers
    opens: Any
    turned: Any
    start: Integers
    end: Integers
    state: Integers


def _spells(
    rows: _CheckRows, before: States, reasons: Sequence[str | None]
) -> tuple[list[Spell], tuple[Integers, Integers, Integers]]:
    """The incidents of these rows; ``reasons`` are of the rows that turn.

    Also returns, for each server, the times of the incident that is open after them: 0 without one.
    """
    open_parts = before.down_ms.copy(), before.maintenance_ms.copy(), before.down_until_ms.copy()
    if not len(rows.place):
        return [], open_parts
    downturn = rows.turned & (rows.outcome == Outcome.UNHEALTHY)
    number = np.cumsum(downturn | rows.opens) - 1  # each incident has a number, and so has what is before the first
    firsts = np.flatnonzero(downturn | rows.opens)
    carried = ~downturn[firsts] & (before.known[rows.place[firsts]] == Outcome.UNHEALTHY)
    turns = np.maximum.accumulate(np.where(rows.turned | rows.opens, np.arange(len(number)), 0))
    is_down = np.where(rows.turned[turns], downturn[turns], carried[number])
    size, of_server = len(firsts), rows.place[firsts]
    spent_ms = np.maximum(0, rows.end - rows.start)
    parts = []
    for state, so_far in ((Outcome.UNHEALTHY, before.down_ms), (Outcome.MAINTENANCE, before.maintenance_ms)):
        added = np.bincount(number, spent_ms * (is_down & (rows.state == state)), size).astype(np.int64)
        parts.append(added + np.where(carried, so_far[of_server], 0))
    until = np.where(carried, before.down_until_ms[of_server], 0)
    failing = np.flatnonzero(is_down & (rows.state == Outcome.UNHEALTHY))
    np.maximum.at(until, number[failing], rows.end[failing])
    ended = np.full(size, -1)
    upturns = np.flatnonzero(rows.turned & ~downturn)
    ended[number[upturns]] = rows.at_ms[upturns]
    reason = dict(zip(np.flatnonzero(rows.turned).tolist(), reasons, strict=True))
    spells = [
        Spell(
            server=int(before.server[of_server[one]]),
            started_at_ms=None if carried[one] else int(rows.at_ms[firsts[one]]),
            ended_at_ms=None if ended[one] < 0 else int(ended[one]),
            reason=None if carried[one] else reason[int(firsts[one])],
            down_ms=int(parts[0][one]),
            maintenance_ms=int(parts[1][one]),
            down_until_ms=int(until[one]),
        )
        for one in np.flatnonzero(carried | downturn[firsts]).tolist()
    ]
    last = np.flatnonzero(np.append(np.diff(of_server) > 0, True))
    goes_on = (carried | downturn[firsts])[last] & (ended[last] < 0)
    for column, of_part in zip(open_parts, (*parts, until), strict=True):
        column[of_server[last]] = np.where(goes_on, of_part[last], 0)
    return spells, open_parts


def _latencies(
    server: Integers, kind: Integers, stage: Integers, hour: Integers, times_us: Integers
) -> FoldedLatencies:
    (servers, kinds, stages, hours), bucket = distinct(server, kind, stage, hour)
    size = len(servers)
    if not size:
        none = np.zeros(0, np.int64)
        return FoldedLatencies(Keys(servers, kinds, stages, hours), none, none, none, none, Cells(none, none, none))
    order = np.argsort(bucket, kind="stable")
    starts = np.searchsorted(bucket[order], np.arange(size))
    sorted_us = times_us[order]
    return FoldedLatencies(
        keys=Keys(servers, kinds, stages, hours),
        count=np.bincount(bucket, minlength=size),
        sum_us=np.add.reduceat(sorted_us, starts),
        min_us=np.minimum.reduceat(sorted_us, starts),
        max_us=np.maximum.reduceat(sorted_us, starts),
        cells=Cells.of_values(bucket, times_us),
    )


def distinct(*columns: Integers) -> tuple[tuple[Integers, ...], Integers]:
    """The distinct rows of these columns, sorted, and for each row the index of its distinct row."""
    if not len(columns[0]):
        return columns, np.zeros(0, np.int64)
    lowest = [int(column.min()) for column in columns]
    widths = [int(column.max()) - low + 1 for column, low in zip(columns, lowest, strict=True)]
    key = columns[0] - lowest[0]
    for column, low, width in zip(columns[1:], lowest[1:], widths[1:], strict=True):
        key = key * width + (column - low)
    if math.prod(widths) <= _DENSE * len(key):
        there = np.bincount(key, minlength=1) > 0
        keys = np.flatnonzero(there)
        which = (np.cumsum(there) - 1)[key]
    else:
        keys, which = np.unique(key, return_inverse=True)
    found = []
    for low, width in zip(reversed(lowest), reversed(widths), strict=True):
        found.append(keys % width + low)
        keys = keys // width
    return tuple(reversed(found)), which


def _table(bucket: Integers, column: Integers, amount: Integers, buckets: int, columns: int) -> Integers:
    """Amounts summed in a table of shape (buckets, columns)."""
    summed = np.bincount(bucket * columns + column, amount, buckets * columns)
    return summed.astype(np.int64).reshape(buckets, columns)


def _reasons(bucket: Integers, reason: Integers, names: Sequence[str], size: int) -> list[str | None]:
    """Number of occurrences of each reason per bucket, as JSON text; None without any."""
    found: dict[int, dict[str, int]] = {}
    given = reason >= 0
    if given.any():
        keys, times = np.unique(bucket[given] * len(names) + reason[given], return_counts=True)
        for key, count in zip(keys.tolist(), times.tolist(), strict=True):
            found.setdefault(key // len(names), {})[names[key % len(names)]] = count
    texts: list[str | None] = [None] * size
    for number, counts in found.items():
        texts[number] = reasons_text(counts)
    return texts


def _name(checks: Checks, row: int) -> str | None:
    return checks.reasons[checks.reason[row]] if checks.reason[row] >= 0 else None


def reasons_text(counts: dict[str, int] | None) -> str | None:
    """Reasons with their counts as canonical JSON text; None without any."""
    return orjson.dumps(counts, option=orjson.OPT_SORT_KEYS).decode() if counts else None


def _put(values: Integers, places: Integers, new: Integers) -> Integers:
    changed = values.copy()
    changed[places] = new
    return changed
