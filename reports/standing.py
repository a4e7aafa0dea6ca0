"""What a period says of a server, a group or all of them: how long they were up, against their objective."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.burning import burns_of
from reports.repairs import by_server, down_times, reasons_of, repair_of
from reports.stats.intervals import FEWEST_INCIDENTS, Interval, outages
from reports.stats.slo import Burn, ErrorBudget, Repair, availability, error_budget
from storage.past import Past, ServerRow
from storage.rollups.buckets import NUMBERS
from storage.rollups.read import Incident, Period
from storage.rollups.recent import first_seen
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
    """Of the period: since the first check of each server that there ever was, until it left its configuration."""
    objective_ratio: float | None
    repair: Repair
    reasons: Mapping[str, int]
    """Why it was down, each with the milliseconds of the incidents that it began."""
    burns: tuple[Burn, ...] = ()
    down_spans_ms: tuple[int, ...] = ()
    """How long it was known to be down in the period by each incident."""
    interval_ms: int | None = None
    """How far apart checks of a server are, typically; None where that is not known."""

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
        return self.known_ms / self.watched_ms if self.watched_ms else None

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
        """The 95% interval of the share of good checks, from incidents; None of one or two."""
        if not self.known_checks or 0 < self.incidents < FEWEST_INCIDENTS:
            return None
        bad = outages(self.known_checks - self.good_checks, self.known_checks, self.down_spans_ms)
        return Interval(1 - bad.high, 1 - bad.low)

    @property
    def incidents(self) -> int:
        """That lasted for some of the period."""
        return sum(span > 0 for span in self.down_spans_ms)

    @property
    def budget(self) -> ErrorBudget | None:
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
    rows = np.flatnonzero(sums.any(axis=1)).tolist()
    seen = [past.servers[row] for row in rows]
    numbers = {
        server.id: dict(zip(NUMBERS, sums[row].tolist(), strict=True)) for row, server in zip(rows, seen, strict=True)
    }
    objectives = {server.id: ratio for server in seen if (ratio := _objective(server, objective_ratio)) is not None}
    newest = past.rollups.newest()
    intervals_ms = {server: last.interval_ms for server, last in newest.items() if last.interval_ms is not None}
    burning = burns_of(past, objectives)
    first_ms = first_seen(past.connection, [server.id for server in seen])
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
        reasons=_summed(one.reasons for one in members),
        down_spans_ms=tuple(span_ms for one in members for span_ms in one.down_spans_ms),
    )


def _summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The reasons of all parts, added up."""
    found: dict[str, int] = {}
    for part in parts:
        for reason, down_ms in part.items():
            found[reason] = found.get(reason, 0) + down_ms
    return found


def _objective(server: ServerRow, instead: float | None) -> float | None:
    return server.objective_ratio if instead is None else instead
