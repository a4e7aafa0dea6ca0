"""What a period says of a server, a group or all of them: how long they were up, against their objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.burning import burns_of
from reports.repairs import by_server, down_ms, reasons_of, repair_of
from reports.stats.intervals import FEWEST_INCIDENTS, Interval, outages
from reports.stats.slo import Budget, Burn, Repair, availability, error_budget
from storage.past import Past, ServerRow
from storage.rollups.buckets import NUMBERS
from storage.rollups.read import Incident, Period
from storage.rollups.recent import first_checks
from storage.rollups.sums import outcome_sums


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
    """Why it was down, each with the milliseconds of the incidents that it began."""
    burns: tuple[Burn, ...] = ()
    down_spans_ms: tuple[int, ...] = ()
    """How long each incident lasted in the period."""

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
        """The 95 % interval of the share of good checks, from incidents; None of one or two."""
        if not self.known_checks or 0 < self.incidents < FEWEST_INCIDENTS:
            return None
        bad = outages(self.known_checks - self.good_checks, self.known_checks, self.down_spans_ms)
        return Interval(1 - bad.high, 1 - bad.low)

    @property
    def incidents(self) -> int:
        """That lasted for some of the period."""
        return sum(span > 0 for span in self.down_spans_ms)

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
    past: Past, period: Period, incidents: Sequence[Incident], objective_ratio: float | None = None
) -> list[Standing]:
    """Each server of the past that was checked in the period; ``objective_ratio`` stands in for their own."""
    sums = outcome_sums(past.connection, past.rollups, [server.id for server in past.servers], period)
    rows = np.flatnonzero(sums.numbers.any(axis=1)).tolist()
    seen = [past.servers[row] for row in rows]
    objectives = {server.id: ratio for server in seen if (ratio := _objective(server, objective_ratio)) is not None}
    burning = burns_of(past, objectives)
    raw_first_ms = first_checks(past.connection, [server.id for server in seen], period.since_ms)
    of_server = by_server(incidents)
    found = []
    for row, server in zip(rows, seen, strict=True):
        numbers = dict(zip(NUMBERS, sums.numbers[row].tolist(), strict=True))
        theirs = of_server.get(server.id, ())
        first_ms = max(int(sums.first_from_ms[row]), period.since_ms)
        raw_ms = raw_first_ms.get(server.id)
        if raw_ms is not None and raw_ms < sums.first_to_ms[row]:  # else its raw row is no longer there
            first_ms = raw_ms
        found.append(
            Standing(
                name=server.name,
                group=server.group,
                servers=1,
                numbers=numbers,
                watched_ms=period.until_ms - first_ms,
                objective_ratio=objectives.get(server.id),
                repair=repair_of(theirs, period, numbers["healthy_ms"] + numbers["degraded_ms"]),
                reasons=reasons_of(theirs, period),
                burns=burning.get(server.id, ()),
                down_spans_ms=tuple(down_ms(one, period) for one in theirs),
            )
        )
    return found


def combined(name: str, members: Sequence[Standing], incidents: Sequence[Incident], period: Period) -> Standing:
    """Some servers as one: times and counts added up; an objective where all have the same."""
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
        reasons=reasons_of(incidents, period),
        down_spans_ms=tuple(down_ms(one, period) for one in incidents),
    )


def _objective(server: ServerRow, instead: float | None) -> float | None:
    return server.objective_ratio if instead is None else instead
