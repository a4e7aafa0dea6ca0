"""What a period says of a server, a group or all of them: how long they were up, against their objective."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from reports.burning import burns_of
from reports.repairs import by_server, repair_of
from reports.stats.intervals import Interval, wilson
from reports.stats.slo import Budget, Burn, Repair, availability, error_budget
from storage.past import Past, ServerRow
from storage.rollups.buckets import NUMBERS, OutcomeBuckets
from storage.rollups.histogram import Integers
from storage.rollups.read import Found, Incident, Period
from storage.rollups.recent import first_checks
from storage.rollups.samples import CHECK


@dataclass(frozen=True, slots=True)
class Standing:
    """A server, a group or all servers in a period."""

    name: str
    group: str
    servers: int
    numbers: Mapping[str, int]
    """The columns `storage.rollups.buckets.NUMBERS`: counts by outcome, milliseconds in each state, changes."""
    watched_ms: int
    """Since the first check of each server in the period."""
    objective_ratio: float | None
    repair: Repair
    reasons: Mapping[str, int]
    """Why checks were not healthy, and how many."""
    burns: tuple[Burn, ...] = ()

    @property
    def up_ms(self) -> int:
        """Healthy or degraded."""
        return self.numbers["healthy_ms"] + self.numbers["degraded_ms"]

    @property
    def known_ms(self) -> int:
        """Up or down."""
        return self.up_ms + self.numbers["unhealthy_ms"]

    @property
    def availability_ratio(self) -> float | None:
        """The up share of the known time; None where nothing is known."""
        return availability(self.up_ms, self.numbers["unhealthy_ms"])

    @property
    def coverage_ratio(self) -> float | None:
        """The known share of the time that it was watched."""
        return min(1.0, self.known_ms / self.watched_ms) if self.watched_ms else None

    @property
    def good_checks(self) -> int:
        """Those that found it healthy or degraded."""
        return self.numbers["healthy"] + self.numbers["degraded"]

    @property
    def known_checks(self) -> int:
        """Those that could tell."""
        return self.good_checks + self.numbers["unhealthy"]

    @property
    def good_interval(self) -> Interval | None:
        """Wilson's interval of the share of good checks, at 95 %; None without a check that could tell."""
        return wilson(self.good_checks, self.known_checks) if self.known_checks else None

    @property
    def budget(self) -> Budget | None:
        """The error budget of the known time; None without an objective or without known time."""
        if self.objective_ratio is None or not self.known_ms:
            return None
        return error_budget(self.up_ms, self.numbers["unhealthy_ms"], self.objective_ratio)

    @property
    def misses(self) -> bool:
        """Whether it was up for less than its objective."""
        ratio = self.availability_ratio
        return ratio is not None and self.objective_ratio is not None and ratio < self.objective_ratio


def standings(
    past: Past,
    period: Period,
    found: Found[OutcomeBuckets],
    incidents: Sequence[Incident],
    objective_ratio: float | None = None,
) -> list[Standing]:
    """Each server of the past that has a check in these outcomes; ``objective_ratio`` stands in for their own."""
    place = {server.id: number for number, server in enumerate(past.servers)}
    rows, buckets = places(past, found)
    sums = np.zeros((len(past.servers), len(NUMBERS)), np.int64)
    np.add.at(sums, rows, buckets.numbers)
    first_slot = np.full(len(past.servers), np.iinfo(np.int64).max)
    np.minimum.at(first_slot, rows, buckets.slot)
    reasons: list[dict[str, int]] = [{} for _ in past.servers]
    for row, text in zip(rows.tolist(), buckets.reasons, strict=True):
        if text is not None:
            counts = reasons[row]
            for reason, times in orjson.loads(text).items():
                counts[reason] = counts.get(reason, 0) + times
    seen = [server for server in past.servers if sums[place[server.id]].any()]
    objectives = {server.id: ratio for server in seen if (ratio := _objective(server, objective_ratio)) is not None}
    burning = burns_of(past, objectives)
    raw_first_ms = first_checks(past.connection, [server.id for server in seen], period.since_ms)
    of_server = by_server(incidents)
    table = sums.tolist()
    return [
        Standing(
            name=server.name,
            group=server.group,
            servers=1,
            numbers=(numbers := dict(zip(NUMBERS, table[row], strict=True))),
            watched_ms=period.until_ms - _first_ms(int(first_slot[row]), raw_first_ms.get(server.id), period),
            objective_ratio=objectives.get(server.id),
            repair=repair_of(of_server.get(server.id, ()), period, numbers["healthy_ms"] + numbers["degraded_ms"]),
            reasons=reasons[row],
            burns=burning.get(server.id, ()),
        )
        for server in seen
        for row in (place[server.id],)
    ]


def combined(name: str, members: Sequence[Standing], incidents: Sequence[Incident], period: Period) -> Standing:
    """Some servers as one: times and counts added up; an objective where all have the same."""
    numbers = {column: sum(one.numbers[column] for one in members) for column in NUMBERS}
    objectives = {one.objective_ratio for one in members}
    reasons: Counter[str] = Counter()
    for one in members:
        reasons.update(one.reasons)
    return Standing(
        name=name,
        group=name,
        servers=len(members),
        numbers=numbers,
        watched_ms=sum(one.watched_ms for one in members),
        objective_ratio=objectives.pop() if len(objectives) == 1 else None,
        repair=repair_of(incidents, period, numbers["healthy_ms"] + numbers["degraded_ms"]),
        reasons=reasons,
    )


def places(past: Past, found: Found[OutcomeBuckets]) -> tuple[Integers, OutcomeBuckets]:
    """The buckets of whole checks, and for each the position of its server among those of the past."""
    place = {server.id: number for number, server in enumerate(past.servers)}
    of_series = np.array([place.get(one.server_id, -1) if one.kind == CHECK else -1 for one in found.series], np.int64)
    buckets = found.buckets
    rows = of_series[buckets.series]
    if (rows >= 0).all():
        return rows, buckets
    kept = np.flatnonzero(rows >= 0)
    chosen = [buckets.reasons[one] for one in kept.tolist()]
    return rows[kept], OutcomeBuckets(buckets.series[kept], buckets.slot[kept], buckets.numbers[kept], chosen)


def _objective(server: ServerRow, instead: float | None) -> float | None:
    return server.objective_ratio if instead is None else instead


def _first_ms(first_slot: int, raw_ms: int | None, period: Period) -> int:
    """When the server's first check in the period began: to the slot where its raw row is no longer there."""
    slot_ms = max(first_slot * period.slot_ms, period.since_ms)
    return raw_ms if raw_ms is not None and raw_ms < slot_ms + period.slot_ms else slot_ms
