"""Read access to buckets: rolled ones together with the raw rows that are not rolled yet, exact to the last row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from sqlalchemy import Select, Table, case, func, or_, select, text

from checker.stats.histogram import Integers
from storage.connections import DatabaseConnection
from storage.raw_parts import in_both, nth_of_both
from storage.rollups.buckets import (
    LatencyBuckets,
    OutcomeBuckets,
    PackedBuckets,
    SeriesOf,
    joined_latencies,
    joined_outcomes,
    joined_packed,
    latency_buckets,
    latency_columns,
    no_latencies,
    outcome_buckets,
    outcome_columns,
    packed,
    packed_columns,
    packed_of,
    read_latencies,
    read_outcomes,
    read_packed,
)
from storage.rollups.fold import FoldedLatencies, Keys, Outcomes, Spell, States, fold_checks, fold_probes
from storage.rollups.partial import (
    PercentileBuckets,
    ReasonBuckets,
    StandingBuckets,
    joined_reasons,
    joined_standing,
    percentile_columns,
    percentiles_of,
    read_percentiles,
    read_reasons,
    read_standing,
    reason_columns,
    reasons_of,
    standing_columns,
    standing_of,
)
from storage.rollups.raw_rows import Checks, probes_of, unrolled_checks
from storage.rollups.slot_sums import SlotSums, slot_sums
from storage.rollups.states import states_of
from storage.rollups.watermarks import CHECK, DAY_HOURS, DAY_MS, HOUR_MS, TOTAL, Outcome, marks
from storage.rows import batches_of, columns_of
from storage.tables import day_latency, day_outcomes, hour_latency, hour_outcomes, incidents, rollup_state, series

HOURLY_UP_TO_MS = 3 * DAY_MS
"""A longer period is read by full days."""
_ROWS_AT_ONCE = 8192
"""Buckets that are read at a time where all would be too many."""
Buckets = TypeVar(
    "Buckets", OutcomeBuckets, LatencyBuckets, PackedBuckets, PercentileBuckets, ReasonBuckets, StandingBuckets
)


@dataclass(frozen=True, slots=True)
class Period:
    """A period that buckets cover exactly: starts at a full hour or, if it is long, at a full day in UTC."""

    since_ms: int
    until_ms: int
    slot_ms: int
    """Length of a slot: an hour or a day."""

    @classmethod
    def of(cls, since_ms: int, until_ms: int) -> Period:
        """The period that begins at ``since_ms`` or up to a slot earlier."""
        slot_ms = HOUR_MS if until_ms - since_ms <= HOURLY_UP_TO_MS else DAY_MS
        return cls(since_ms // slot_ms * slot_ms, until_ms, slot_ms)

    @property
    def finished(self) -> Period:
        """The period without its last slot, if that has not ended."""
        return replace(self, until_ms=max(self.since_ms, self.until_ms // self.slot_ms * self.slot_ms))

    @property
    def slots(self) -> range:
        """The slots in the period, counted from 1970."""
        return range(self.since_ms // self.slot_ms, (self.until_ms - 1) // self.slot_ms + 1)


@dataclass(frozen=True, slots=True)
class BucketSeries:
    """One series of buckets: server, kind of probe and stage."""

    server_id: int
    kind: str
    stage: str


@dataclass(frozen=True, slots=True)
class FoundBuckets(Generic[Buckets]):
    """Buckets, one for each series and slot that has any."""

    series: Sequence[BucketSeries]
    """The series, indexed by the numbers in the buckets."""
    buckets: Buckets


class Incident(NamedTuple):
    """A period in which a server was down: from the first failed check to the next one that was up.

    It includes time known to be down and time under maintenance; the state in the rest is unknown. A tuple, since
    reports make tens of thousands of them and look them up by themselves.
    """

    server_id: int
    started_at_ms: int
    ended_at_ms: int | None
    """None if no check has found it up since."""
    reason: str | None
    down_ms: int
    maintenance_ms: int
    down_until_ms: int
    """End of the time for which it was known to be down."""


@dataclass(frozen=True, slots=True)
class Last:
    """The newest check of a server, by time."""

    at_ms: int
    outcome: Outcome
    until_ms: int
    """End of the time for which it counts: after that the state of the server is unknown."""
    interval_ms: int | None
    """Typical interval between checks of the server; None after a single one."""


@dataclass(frozen=True, slots=True)
class LatencyStream:
    """Latency buckets that are read once, piece by piece."""

    series: Sequence[BucketSeries]
    """The series, indexed by the numbers in the buckets."""
    period: Period
    _parts: Iterator[PackedBuckets]

    def summed(self, row: Integers, rows: int) -> SlotSums:
        """The buckets summed by row and slot; a series ``s`` counts for row ``row[s]``, or for none if it is < 0."""
        return slot_sums(self._parts, row, rows, self.period.slots)


class Rollups:
    """Buckets of some servers up to now, of one database."""

    def __init__(self, connection: DatabaseConnection, now_ms: int, servers: Sequence[int] | None = None) -> None:
        """The buckets of these servers, by id; None is all."""
        self._connection, self._now_ms = connection, now_ms
        self._servers = None if servers is None else sorted(servers)
        self._read: tuple[Checks, States] | None = None
        self._folded: tuple[Outcomes, list[Spell], States] | None = None
        self._folded_probes: dict[tuple[str, ...], tuple[Sequence[str], Outcomes, FoldedLatencies]] = {}

    def outcomes(self, period: Period, kinds: Sequence[str] = (CHECK,)) -> FoundBuckets[OutcomeBuckets]:
        """Number of checks or probes by outcome and, for checks, the time in each state."""
        found = _Numbers(self._connection, self._servers, [(kind, TOTAL) for kind in kinds])
        tables = (hour_outcomes, day_outcomes)
        parts = self._rolled(period, tables, outcome_columns, read_outcomes, found)
        of_checks = self._folded_tail()[0]
        if CHECK in kinds:
            parts.append(outcome_buckets(of_checks, found.of(of_checks.keys, [CHECK])))
        if set(kinds) - {CHECK}:
            probe_kinds, of_probes, _ = self._probes_of_tail(())
            parts.append(outcome_buckets(of_probes, found.of(of_probes.keys, probe_kinds)))
        joined = joined_outcomes(parts)
        kept = _kept(joined, period, found.asked)
        cut = OutcomeBuckets(
            joined.series[kept],
            joined.slot[kept],
            joined.numbers[kept],
            [joined.reasons[one] for one in kept.tolist()],
        )
        return FoundBuckets(found.listed, cut.merged(cut.series, cut.slot * HOUR_MS // period.slot_ms))

    def latencies(
        self, period: Period, kinds: Sequence[str], stages: Sequence[str] = (TOTAL,)
    ) -> FoundBuckets[LatencyBuckets]:
        """Durations of answered probes."""
        found = _Numbers(self._connection, self._servers, [(kind, stage) for kind in kinds for stage in stages])
        joined = joined_latencies(
            (
                *self._rolled(period, (hour_latency, day_latency), latency_columns, read_latencies, found),
                self._latencies_of_tail(period, stages, found),
            )
        )
        return FoundBuckets(found.listed, joined.merged(joined.series, joined.slot * HOUR_MS // period.slot_ms))

    def packed(
        self, period: Period, kinds: Sequence[str], stages: Sequence[str] = (TOTAL,)
    ) -> FoundBuckets[PackedBuckets]:
        """The same as `latencies` in packed form: sums over many buckets become several times faster."""
        found = _Numbers(self._connection, self._servers, [(kind, stage) for kind in kinds for stage in stages])
        parts = self._rolled(period, (hour_latency, day_latency), packed_columns, read_packed, found)
        joined = joined_packed((*parts, packed(self._latencies_of_tail(period, stages, found))))
        joined.slot[:] = joined.slot * HOUR_MS // period.slot_ms
        return FoundBuckets(found.listed, joined)

    def stream(self, period: Period, kinds: Sequence[str], stages: Sequence[str] = (TOTAL,)) -> LatencyStream:
        """`packed`, for sums of so many series that their buckets should not be in memory at the same time."""
        found = _Numbers(self._connection, self._servers, [(kind, stage) for kind in kinds for stage in stages])
        tail = packed(self._latencies_of_tail(period, stages, found))
        return LatencyStream(found.listed, period, self._pieces(period, kinds, stages, found, tail))

    def _pieces(
        self, period: Period, kinds: Sequence[str], stages: Sequence[str], found: _Numbers, tail: PackedBuckets
    ) -> Iterator[PackedBuckets]:
        """The buckets of one kind and stage after the other: what is summed together comes together."""
        tail.slot[:] = tail.slot * HOUR_MS // period.slot_ms
        yield tail
        by_days = period.slot_ms == DAY_MS
        wanted = [(hour_latency, self._hours(period, hour_latency, found), HOUR_MS)]
        wanted += [(day_latency, self._days(period, day_latency, found), DAY_MS)] if by_days else []
        for kind, stage in itertools.product(kinds, stages):
            for table, every, slot_ms in wanted:
                query = every.with_only_columns(*packed_columns(table))
                query = query.where(series.c.kind == kind, series.c.stage == stage)
                for columns in batches_of(self._connection, query, _ROWS_AT_ONCE):
                    part = found.renamed(packed_of(columns))
                    part.slot[:] = part.slot * slot_ms // period.slot_ms
                    yield part

    def packed_hours(self, hours: Sequence[int], kinds: Sequence[str]) -> FoundBuckets[PackedBuckets]:
        """Packed buckets of single hours, counted from 1970: total durations of probes, as far as hours are kept."""
        found = _Numbers(self._connection, self._servers, [(kind, TOTAL) for kind in kinds])
        wanted = self._of_series(hour_latency, found).with_only_columns(*packed_columns(hour_latency))
        rolled = found.renamed(read_packed(self._connection, wanted.where(hour_latency.c.slot.in_(hours))))
        span = Period(min(hours) * HOUR_MS, (max(hours) + 1) * HOUR_MS, HOUR_MS)
        tail = packed(self._latencies_of_tail(span, (TOTAL,), found))
        return FoundBuckets(found.listed, joined_packed((rolled, tail.only(np.flatnonzero(np.isin(tail.slot, hours))))))

    def percentiles(
        self, period: Period, kinds: Sequence[str], stages: Sequence[str] = (TOTAL,)
    ) -> FoundBuckets[PercentileBuckets]:
        """Count, median and p95 of each bucket of `latencies`; reads no histograms of completed slots."""
        found = _Numbers(self._connection, self._servers, [(kind, stage) for kind in kinds for stage in stages])
        by_days = period.slot_ms == DAY_MS
        wanted = self._days(period, day_latency, found) if by_days else self._hours(period, hour_latency, found)
        over = read_percentiles(
            self._connection, wanted.with_only_columns(*percentile_columns(day_latency if by_days else hour_latency))
        )
        fresh = [self._latencies_of_tail(period, stages, found)]
        if by_days:
            hours = self._hours(period, hour_latency, found).with_only_columns(*latency_columns(hour_latency))
            fresh.append(found.renamed(read_latencies(self._connection, hours)))
        joined = joined_latencies(fresh)
        rest = percentiles_of(joined.merged(joined.series, joined.slot * HOUR_MS // period.slot_ms))
        return FoundBuckets(found.listed, found.renamed(over).plus(rest))

    def reasons(self, period: Period, kinds: Sequence[str]) -> FoundBuckets[ReasonBuckets]:
        """Reasons why probes were not HEALTHY: the same as in `outcomes`, without reading the rest."""
        found = _Numbers(self._connection, self._servers, [(kind, TOTAL) for kind in kinds])
        parts = self._rolled(period, (hour_outcomes, day_outcomes), reason_columns, read_reasons, found)
        probe_kinds, of_probes, _ = self._probes_of_tail(())
        tail = reasons_of(outcome_buckets(of_probes, found.of(of_probes.keys, probe_kinds)))
        kept = _kept(tail, period, found.asked)
        tail = ReasonBuckets(tail.series[kept], tail.slot[kept], [tail.reasons[one] for one in kept.tolist()])
        joined = joined_reasons((*parts, tail))
        joined.slot[:] = joined.slot * HOUR_MS // period.slot_ms
        return FoundBuckets(found.listed, joined)

    def standing(self, period: Period) -> FoundBuckets[StandingBuckets]:
        """Up and down times of servers and the number of changes: the part of `outcomes` that trends use."""
        found = _Numbers(self._connection, self._servers, [(CHECK, TOTAL)])
        parts = self._rolled(period, (hour_outcomes, day_outcomes), standing_columns, read_standing, found)
        if not self._is_rolled(period):
            of_checks = self._folded_tail()[0]
            tail = standing_of(outcome_buckets(of_checks, found.of(of_checks.keys, [CHECK])))
            parts.append(tail.only(_kept(tail, period, found.asked)))
        joined = joined_standing(parts)
        joined.slot[:] = joined.slot * HOUR_MS // period.slot_ms
        return FoundBuckets(found.listed, joined)

    def incidents(self, since_ms: int, until_ms: int) -> list[Incident]:
        """The incidents that overlap this period, by server and start."""
        wanted = select(*(incidents.c[name] for name in Incident._fields)).where(incidents.c.started_at_ms < until_ms)
        wanted = wanted.where(or_(incidents.c.ended_at_ms.is_(None), incidents.c.ended_at_ms > since_ms))
        if self._servers is not None:
            wanted = wanted.where(incidents.c.server_id.in_(self._servers))
        ordered = wanted.order_by(incidents.c.server_id, incidents.c.started_at_ms)
        columns = columns_of(self._connection, ordered, len(Incident._fields))
        rolled = list(map(Incident, *columns))
        merged = _continued(rolled, self._folded_tail()[1])
        return [
            one
            for one in merged
            if one.started_at_ms < until_ms
            # One that no check has ended lies where it is known: a server may be checked no more.
            and (one.down_until_ms if one.ended_at_ms is None else one.ended_at_ms) > since_ms
        ]

    def _rolled(
        self,
        period: Period,
        tables: tuple[Table, Table],
        columns: Callable[[Table], list[Any]],
        read: Callable[[DatabaseConnection, Select[Any]], Buckets],
        numbers: _Numbers,
    ) -> list[Buckets]:
        """Buckets from the tables with slots in hours: days if the period is of days and the day has ended."""
        hours, days = tables
        wanted_hours = self._hours(period, hours, numbers).with_only_columns(*columns(hours))
        of_hours = numbers.renamed(read(self._connection, wanted_hours))
        if period.slot_ms == HOUR_MS:
            return [of_hours]
        wanted_days = self._days(period, days, numbers).with_only_columns(*columns(days))
        of_days = numbers.renamed(read(self._connection, wanted_days))
        of_days.slot[:] *= DAY_HOURS
        return [of_days, of_hours]

    def _hours(self, period: Period, hours: Table, numbers: _Numbers) -> Select[Any]:
        """The hours of these series; in a period of days only those whose day has not ended."""
        first, last = period.since_ms // HOUR_MS, (period.until_ms - 1) // HOUR_MS
        wanted = self._of_series(hours, numbers).where(hours.c.slot <= last)
        if period.slot_ms == HOUR_MS:
            return wanted.where(hours.c.slot >= first)
        open_day = rollup_state.c.rolled_until_ms // DAY_MS * DAY_HOURS
        # As one bound: with two, SQLite seeks the first and reads through all hours that are kept.
        return wanted.where(hours.c.slot >= case((open_day > first, open_day), else_=first))

    def _days(self, period: Period, days: Table, numbers: _Numbers) -> Select[Any]:
        """The completed days of these series."""
        wanted = self._of_series(days, numbers)
        return wanted.where(days.c.slot.between(period.since_ms // DAY_MS, (period.until_ms - 1) // DAY_MS))

    def _of_series(self, table: Table, numbers: _Numbers) -> Select[Any]:
        of_series = select(table.c.series_id).join(series, series.c.id == table.c.series_id)
        of_series = of_series.join(rollup_state, rollup_state.c.server_id == series.c.server_id)
        return of_series.where(numbers.condition)

    def _latencies_of_tail(self, period: Period, stages: Sequence[str], numbers: _Numbers) -> LatencyBuckets:
        """The hours of the raw rows that are not rolled."""
        if self._is_rolled(period):
            return no_latencies()
        probe_kinds, _, folded = self._probes_of_tail(stages)
        buckets = latency_buckets(folded, numbers.of(folded.keys, probe_kinds, stages))
        kept = _kept(buckets, period, numbers.asked)
        label = np.full(len(buckets.slot), -1)
        label[kept] = np.arange(len(kept))
        sums = (buckets.count[kept], buckets.sum_us[kept], buckets.min_us[kept], buckets.max_us[kept])
        return LatencyBuckets(buckets.series[kept], buckets.slot[kept], *sums, buckets.cells.regrouped(label))

    def _probes_of_tail(self, stages: Sequence[str]) -> tuple[Sequence[str], Outcomes, FoldedLatencies]:
        """The kinds and the hours of the probes that are not rolled; read once for the same stages.

        Without stages only the outcomes are needed, which every read includes.
        """
        wanted = tuple(stages)
        if not wanted and self._folded_probes:
            return next(iter(self._folded_probes.values()))
        if wanted not in self._folded_probes:
            checks, _ = self._tail()
            probes = probes_of(self._connection, checks, wanted)
            self._folded_probes[wanted] = (probes.kinds, *fold_probes(probes, checks))
        return self._folded_probes[wanted]

    def _is_rolled(self, period: Period) -> bool:
        """True if no unrolled raw row can lie in the period."""
        first_ms = self._connection.scalar(select(func.min(rollup_state.c.rolled_until_ms)))
        return first_ms is not None and first_ms >= period.until_ms

    def _tail(self) -> tuple[Checks, States]:
        """The unrolled raw rows, and the states before the first of each server; read once."""
        if self._read is None:
            first_run = marks(self._connection).first_run_id
            checks = unrolled_checks(self._connection, self._servers, first_run, self._now_ms + 1)
            self._read = checks, states_of(self._connection, self._servers)
        return self._read

    def newest(self) -> dict[int, Last]:
        """Server id -> its newest check up to now, for servers that were ever checked."""
        states = self._folded_tail()[2]
        rows = zip(states.server.tolist(), states.at_ms.tolist(), states.outcome.tolist(), states.rhythm, strict=True)
        return {
            server: Last(at_ms, Outcome(outcome), at_ms + rhythm.hold_ms, rhythm.typical_ms)
            for server, at_ms, outcome, rhythm in rows
            if at_ms >= 0
        }

    def _folded_tail(self) -> tuple[Outcomes, list[Spell], States]:
        """Buckets of the unrolled rows, incidents that are open in them, and the states after them; folded once."""
        if self._folded is None:
            self._folded = fold_checks(*self._tail(), self._now_ms)
        return self._folded


class _Numbers:
    """Series numbers assigned while reading: series of rows that were never rolled have no id."""

    def __init__(
        self, connection: DatabaseConnection, servers: Sequence[int] | None, names: Sequence[tuple[str, str]]
    ) -> None:
        kinds, stages = {kind for kind, _ in names}, {stage for _, stage in names}
        self.condition = series.c.kind.in_(kinds) & series.c.stage.in_(stages)
        if servers is not None:
            self.condition = self.condition & series.c.server_id.in_(servers)
        self._kinds = kinds
        rows = connection.execute(select(series).where(self.condition).order_by(series.c.id)).all()
        self.listed = [BucketSeries(row.server_id, row.kind, row.stage) for row in rows]
        self._ids = np.array([row.id for row in rows], np.int64)
        self._numbers = {(one.server_id, one.kind, one.stage): number for number, one in enumerate(self.listed)}

    @property
    def asked(self) -> npt.NDArray[np.bool_]:
        """Mask of the numbers whose buckets were requested: raw rows have all kinds."""
        return np.array([one.kind in self._kinds for one in self.listed], bool)

    def renamed(self, buckets: Buckets) -> Buckets:
        """The buckets under these numbers instead of ids."""
        buckets.series[:] = np.searchsorted(self._ids, buckets.series)
        return buckets

    def of(self, keys: Keys, kinds: Sequence[str], stages: Sequence[str] = (TOTAL,)) -> SeriesOf:
        """Numbers for these keys; new ones where there are none yet."""
        named = zip(keys.server.tolist(), keys.kind.tolist(), keys.stage.tolist(), strict=True)
        for server, kind, stage in dict.fromkeys(named):
            name = server, kinds[kind], stages[stage]
            if name not in self._numbers:
                self._numbers[name] = len(self.listed)
                self.listed.append(BucketSeries(*name))
        return SeriesOf(kinds, stages, self._numbers)


def _kept(
    buckets: OutcomeBuckets | LatencyBuckets | ReasonBuckets | StandingBuckets,
    period: Period,
    asked: npt.NDArray[np.bool_],
) -> Integers:
    """Indices of buckets that lie in the period and belong to a requested series."""
    first, last = period.since_ms // HOUR_MS, (period.until_ms - 1) // HOUR_MS
    return np.flatnonzero((buckets.slot >= first) & (buckets.slot <= last) & asked[buckets.series])


def _continued(rolled: Sequence[Incident], spells: Sequence[Spell]) -> list[Incident]:
    """The rolled incidents, continued by these newer spells."""
    found = list(rolled)
    is_open = {one.server_id: number for number, one in enumerate(found) if one.ended_at_ms is None}
    for one in spells:
        parts = one.down_ms, one.maintenance_ms, one.down_until_ms
        if one.started_at_ms is not None:
            found.append(Incident(one.server, one.started_at_ms, one.ended_at_ms, one.reason, *parts))
        elif (number := is_open.get(one.server)) is not None:
            before = found[number]
            found[number] = Incident(one.server, before.started_at_ms, one.ended_at_ms, before.reason, *parts)
    return sorted(found, key=lambda one: (one.server_id, one.started_at_ms))


_NEWEST = nth_of_both(
    "run_id",
    "started_at_ms, run_id",
    "from {checks} c where c.server_id = t.id",
    "started_at_ms desc, run_id desc",
)
_URLS = in_both(
    f"""select t.id, u.url from servers t
    cross join {{probes}} p on p.server_id = t.id and p.run_id = {_NEWEST}
    join urls u on u.id = p.url_id"""  # noqa: S608 # our names
)
# A cross join keeps the order: SQLite would read all probes and look for the server of each.
_DETAILS = in_both(
    """select detail, run_id from {checks}
    where server_id = :server and started_at_ms = :at_ms and status = 'UNHEALTHY'"""
)
_DETAIL = text(f"{_DETAILS} order by run_id desc limit 1")


def details_of(connection: DatabaseConnection, incidents: Sequence[Incident]) -> dict[Incident, str]:
    """Detail of the check that began each of these incidents, if its raw row is still there.

    One lookup per incident: use it for a few hundred at most.
    """
    found = {}
    for one in incidents:
        values = {"server": one.server_id, "at_ms": one.started_at_ms}
        if detail := connection.scalar(_DETAIL, values):
            found[one] = detail
    return found


def hosts_of(connection: DatabaseConnection) -> dict[int, frozenset[str]]:
    """Server id -> the hosts, with their ports, that its newest probes connected to."""
    found: dict[int, set[str]] = {}
    for server, url in connection.execute(text(_URLS)):
        if host := urlsplit(url).netloc:
            found.setdefault(server, set()).add(host)
    return {server: frozenset(hosts) for server, hosts in found.items()}
