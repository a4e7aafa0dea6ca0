"""Read access to buckets: rolled ones together with the raw rows that are not rolled yet, exact to the last row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from checker.stats.histogram import Integers
from storage.connections import DatabaseConnection
from storage.raw_parts import in_both, nth_of_both
from storage.rollups.buckets import (
    LATENCIES,
    OUTCOMES,
    PACKED,
    LatencyBuckets,
    OutcomeBuckets,
    PackedBuckets,
    SeriesOf,
    joined_latencies,
    joined_outcomes,
    joined_packed,
    latency_buckets,
    no_latencies,
    outcome_buckets,
    packed,
    packed_of,
    read_latencies,
    read_outcomes,
    read_packed,
)
from storage.rollups.fold import FoldedLatencies, Keys, Outcomes, Spell, States, fold_checks, fold_probes
from storage.rollups.partial import (
    PERCENTILES,
    REASONS,
    STANDING,
    PercentileBuckets,
    ReasonBuckets,
    StandingBuckets,
    joined_reasons,
    joined_standing,
    percentiles_of,
    read_percentiles,
    read_reasons,
    read_standing,
    reasons_of,
    standing_of,
)
from storage.rollups.raw_rows import Checks, probes_of, unrolled_checks
from storage.rollups.read_states import states_of
from storage.rollups.slot_sums import SlotSums, slot_sums
from storage.rollups.watermarks import CHECK, DAY_HOURS, DAY_MS, HOUR_MS, TOTAL, Outcome, marks
from storage.rows import batches_of, columns_of, of_ids, of_names, rows_of

HOURLY_UP_TO_MS = 3 * DAY_MS
"""A longer period is read by full days."""
_OUTCOMES, _LATENCY = ("hour_outcomes", "day_outcomes"), ("hour_latency", "day_latency")
"""The tables of hours and of days."""
_BUCKETS_AT_ONCE = 8192
"""Buckets that are read at a time where all would be too many."""
Buckets = TypeVar(
    "Buckets", OutcomeBuckets, LatencyBuckets, PackedBuckets, PercentileBuckets, ReasonBuckets, StandingBuckets
)


class Period(Struct, frozen=True):
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

    def rounded_up(self, now_ms: int) -> Period:
        """The period with its last slot as a whole, or up to now: what buckets have of it."""
        return replace(self, until_ms=min(-(-self.until_ms // self.slot_ms) * self.slot_ms, now_ms))

    @property
    def finished(self) -> Period:
        """The period without its last slot, if that has not ended."""
        return replace(self, until_ms=max(self.since_ms, self.until_ms // self.slot_ms * self.slot_ms))

    @property
    def slots(self) -> range:
        """The slots in the period, counted from 1970."""
        return range(self.since_ms // self.slot_ms, (self.until_ms - 1) // self.slot_ms + 1)


class BucketSeries(Struct, frozen=True):
    """One series of buckets: server, kind of probe and stage."""

    server_id: int
    kind: str
    stage: str


class FoundBuckets(Struct, Generic[Buckets], frozen=True):
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


class Last(Struct, frozen=True):
    """The newest check of a server, by time."""

    at_ms: int
    outcome: Outcome
    until_ms: int
    """End of the time for which it counts: after that the state of the server is unknown."""
    interval_ms: int | None
    """Typical interval between checks of the server; None after a single one."""


class LatencyStream(Struct, frozen=True):
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
        parts = self._rolled(period, _OUTCOMES, OUTCOMES, read_outcomes, found)
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
                *self._rolled(period, _LATENCY, LATENCIES, read_latencies, found),
                self._latencies_of_tail(period, stages, found),
            )
        )
        return FoundBuckets(found.listed, joined.merged(joined.series, joined.slot * HOUR_MS // period.slot_ms))

    def packed(
        self, period: Period, kinds: Sequence[str], stages: Sequence[str] = (TOTAL,)
    ) -> FoundBuckets[PackedBuckets]:
        """The same as `latencies` in packed form: sums over many buckets become several times faster."""
        found = _Numbers(self._connection, self._servers, [(kind, stage) for kind in kinds for stage in stages])
        parts = self._rolled(period, _LATENCY, PACKED, read_packed, found)
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
        hours, days = _LATENCY
        series_at_once = max(1, _BUCKETS_AT_ONCE // len(period.slots))
        wanted = [(self._hours(PACKED, period, hours, found), HOUR_MS)]
        wanted += [(self._days(PACKED, period, days, found), DAY_MS)] if period.slot_ms == DAY_MS else []
        for kind, stage in itertools.product(kinds, stages):
            for every, slot_ms in wanted:
                query = f"{every} and s.kind in {of_names([kind])} and s.stage in {of_names([stage])} group by s.id"
                for columns in batches_of(self._connection, query, series_at_once):
                    part = packed_of(columns)
                    part.series[:] = found.places(part.series)
                    part.slot[:] = part.slot * slot_ms // period.slot_ms
                    yield part

    def packed_hours(self, hours: Sequence[int], kinds: Sequence[str]) -> FoundBuckets[PackedBuckets]:
        """Packed buckets of single hours, counted from 1970: total durations of probes, as far as hours are kept."""
        found = _Numbers(self._connection, self._servers, [(kind, TOTAL) for kind in kinds])
        wanted = f"{self._of_series(PACKED, _LATENCY[0], found)} and b.slot in {of_ids(hours)}"
        rolled = found.renamed(read_packed(self._connection, wanted))
        span = Period(min(hours) * HOUR_MS, (max(hours) + 1) * HOUR_MS, HOUR_MS)
        tail = packed(self._latencies_of_tail(span, (TOTAL,), found))
        return FoundBuckets(found.listed, joined_packed((rolled, tail.only(np.isin(tail.slot, hours)))))

    def percentiles(
        self, period: Period, kinds: Sequence[str], stages: Sequence[str] = (TOTAL,)
    ) -> FoundBuckets[PercentileBuckets]:
        """Count, median and p95 of each bucket of `latencies`; reads no histograms of completed slots."""
        found = _Numbers(self._connection, self._servers, [(kind, stage) for kind in kinds for stage in stages])
        by_days = period.slot_ms == DAY_MS
        hours, days = _LATENCY
        whole = self._days if by_days else self._hours
        over = read_percentiles(self._connection, whole(PERCENTILES, period, days if by_days else hours, found))
        fresh = [self._latencies_of_tail(period, stages, found)]
        if by_days:
            of_hours = read_latencies(self._connection, self._hours(LATENCIES, period, hours, found))
            fresh.append(found.renamed(of_hours))
        joined = joined_latencies(fresh)
        rest = percentiles_of(joined.merged(joined.series, joined.slot * HOUR_MS // period.slot_ms))
        return FoundBuckets(found.listed, found.renamed(over).plus(rest))

    def reasons(self, period: Period, kinds: Sequence[str]) -> FoundBuckets[ReasonBuckets]:
        """Reasons why probes were not HEALTHY: the same as in `outcomes`, without reading the rest."""
        found = _Numbers(self._connection, self._servers, [(kind, TOTAL) for kind in kinds])
        parts = self._rolled(period, _OUTCOMES, REASONS, read_reasons, found)
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
        parts = self._rolled(period, _OUTCOMES, STANDING, read_standing, found)
        if not self._is_rolled(period):
            of_checks = self._folded_tail()[0]
            tail = standing_of(outcome_buckets(of_checks, found.of(of_checks.keys, [CHECK])))
            parts.append(tail.only(_kept(tail, period, found.asked)))
        joined = joined_standing(parts)
        joined.slot[:] = joined.slot * HOUR_MS // period.slot_ms
        return FoundBuckets(found.listed, joined)

    def incidents(self, since_ms: int, until_ms: int) -> list[Incident]:
        """The incidents that overlap this period, by server and start."""
        those = "" if self._servers is None else f"and server_id in {of_ids(self._servers)}"
        wanted = f"""select {", ".join(Incident._fields)} from incidents
            where started_at_ms < :until_ms and (ended_at_ms is null or ended_at_ms > :since_ms) {those}
            order by server_id, started_at_ms"""  # noqa: S608 # our names
        asked = {"since_ms": since_ms, "until_ms": until_ms}
        rolled = list(map(Incident._make, rows_of(self._connection, wanted, asked)))
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
        tables: tuple[str, str],
        columns: str,
        read: Callable[[DatabaseConnection, str], Buckets],
        numbers: _Numbers,
    ) -> list[Buckets]:
        """Buckets from the tables with slots in hours: days if the period is of days and the day has ended."""
        hours, days = tables
        of_hours = numbers.renamed(read(self._connection, self._hours(columns, period, hours, numbers)))
        if period.slot_ms == HOUR_MS:
            return [of_hours]
        of_days = numbers.renamed(read(self._connection, self._days(columns, period, days, numbers)))
        of_days.slot[:] *= DAY_HOURS
        return [of_days, of_hours]

    def _hours(self, columns: str, period: Period, table: str, numbers: _Numbers) -> str:
        """The hours of these series; in a period of days only those whose day has not ended."""
        first, last = period.since_ms // HOUR_MS, (period.until_ms - 1) // HOUR_MS
        wanted = f"{self._of_series(columns, table, numbers)} and b.slot <= {last:d}"
        if period.slot_ms == HOUR_MS:
            return f"{wanted} and b.slot >= {first:d}"
        # As one bound: with two, SQLite seeks the first and reads through all hours that are kept.
        return f"{wanted} and b.slot >= max(t.rolled_until_ms / {DAY_MS} * {DAY_HOURS}, {first:d})"

    def _days(self, columns: str, period: Period, table: str, numbers: _Numbers) -> str:
        """The completed days of these series."""
        first, last = period.since_ms // DAY_MS, (period.until_ms - 1) // DAY_MS
        return f"{self._of_series(columns, table, numbers)} and b.slot between {first:d} and {last:d}"

    def _of_series(self, columns: str, table: str, numbers: _Numbers) -> str:
        """These columns of the buckets ``b``: a statement that further conditions can be added to."""
        return f"""select {columns} from series s cross join rollup_state t on t.server_id = s.server_id
            cross join {table} b on b.series_id = s.id where {numbers.condition}"""  # noqa: S608 # our names

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
        first_ms = self._connection.exec_driver_sql("select min(rolled_until_ms) from rollup_state").scalar()
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
        self.condition = f"s.kind in {of_names(kinds)} and s.stage in {of_names(stages)}"
        """That of the series ``s``."""
        if servers is not None:
            self.condition += f" and s.server_id in {of_ids(servers)}"
        self._kinds = kinds
        named = f"select s.id, s.server_id, s.kind, s.stage from series s where {self.condition} order by s.id"  # noqa: S608
        ids, *names_of = columns_of(connection, named, 4)
        self.listed = list(map(BucketSeries, *names_of))
        self._ids = np.array(ids, np.int64)
        self._numbers = {(one.server_id, one.kind, one.stage): number for number, one in enumerate(self.listed)}

    @property
    def asked(self) -> npt.NDArray[np.bool_]:
        """Mask of the numbers whose buckets were requested: raw rows have all kinds."""
        return np.array([one.kind in self._kinds for one in self.listed], bool)

    def renamed(self, buckets: Buckets) -> Buckets:
        """The buckets under these numbers instead of ids."""
        buckets.series[:] = self.places(buckets.series)
        return buckets

    def places(self, ids: Integers) -> Integers:
        """The numbers of the series with these ids."""
        return np.searchsorted(self._ids, ids)

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
    """The rolled incidents, which are by server and start, continued by these newer spells."""
    found = list(rolled)
    if not spells:
        return found
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
_DETAIL = f"{_DETAILS} order by run_id desc limit 1"


def details_of(connection: DatabaseConnection, incidents: Sequence[Incident]) -> dict[Incident, str]:
    """Detail of the check that began each of these incidents, if its raw row is still there.

    One lookup per incident: use it for a few hundred at most.
    """
    found = {}
    for one in incidents:
        values = {"server": one.server_id, "at_ms": one.started_at_ms}
        if detail := connection.exec_driver_sql(_DETAIL, values).scalar():
            found[one] = detail
    return found


def hosts_of(connection: DatabaseConnection) -> dict[int, frozenset[str]]:
    """Server id -> the hosts, with their ports, that its newest probes connected to."""
    found: dict[int, set[str]] = {}
    for server, url in connection.exec_driver_sql(_URLS):
        if host := urlsplit(url).netloc:
            found.setdefault(server, set()).add(host)
    return {server: frozenset(hosts) for server, hosts in found.items()}
