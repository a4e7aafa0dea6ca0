"""Incidents of each server as the statistics of failures and repairs want them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reports.stats.slo import Repair, repair
from storage.rollups.read import Incident, Period


def by_server(incidents: Iterable[Incident]) -> dict[int, list[Incident]]:
    """The incidents of each server that has any, in their order."""
    found: dict[int, list[Incident]] = defaultdict(list)
    for one in incidents:
        found[one.server_id].append(one)
    return found


def repair_of(incidents: Sequence[Incident], period: Period, up_ms: float) -> Repair:
    """How often the servers of these incidents failed in the period, of which they were up so long in all."""
    spans = [(one.started_at_ms, one.ended_at_ms) for one in incidents]
    found = repair(spans, period.since_ms, period.until_ms, up_ms)
    return replace(found, longest_ms=max((lasted_ms(one) for one in incidents), default=None))


def is_down(one: Incident, now_ms: int) -> bool:
    """Whether the newest word of its server is that it is down."""
    return one.ended_at_ms is None and one.down_until_ms >= now_ms


def lasted_ms(one: Incident) -> int:
    """How long the incident lasted or, where no check has ended it, is known to have lasted."""
    return (one.down_until_ms if one.ended_at_ms is None else one.ended_at_ms) - one.started_at_ms


def maintenance_ms(one: Incident) -> int:
    """How much of that was maintenance."""
    return min(one.maintenance_ms, lasted_ms(one) - one.down_ms)


def unknown_ms(one: Incident) -> int:
    """In how much of that nothing was known of the server."""
    return lasted_ms(one) - one.down_ms - maintenance_ms(one)


def down_times(incidents: Iterable[Incident], period: Period, down_ms: Mapping[int, int]) -> dict[Incident, int]:
    """For how much of the period servers were known to be down, by incident.

    ``incidents`` are all that lie in the period, ``down_ms`` is what it comes to for each server by id: what is left of
    it belongs to the incident that began before the period.
    """
    found: dict[Incident, int] = {}
    for server, theirs in by_server(incidents).items():
        within = {one: one.down_ms for one in theirs if one.started_at_ms >= period.since_ms}
        found |= {one: max(0, down_ms.get(server, 0) - sum(within.values())) for one in theirs}
        found |= within
    return found


def reasons_of(incidents: Iterable[Incident], down_ms: Mapping[Incident, int]) -> dict[str, int]:
    """Reasons of incidents, each with the time that servers were down for it."""
    found: dict[str, int] = {}
    for one in incidents:
        reason = one.reason or "unknown"
        found[reason] = found.get(reason, 0) + down_ms[one]
    return found


def most(counts: Mapping[str, float], number: int) -> list[str]:
    """The keys with the largest values, the largest first."""
    return [key for key, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]]
