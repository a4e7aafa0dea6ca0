"""Incidents of each server as the statistics of failures and repairs want them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

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
    return repair(spans, period.since_ms, period.until_ms, up_ms)


def down_ms(one: Incident, period: Period) -> int:
    """How much of the incident lies in the period."""
    ended_ms = period.until_ms if one.ended_at_ms is None else min(one.ended_at_ms, period.until_ms)
    return max(0, ended_ms - max(one.started_at_ms, period.since_ms))


def lasted_ms(one: Incident, now_ms: int) -> int:
    """How long the incident lasted, or has lasted so far."""
    return (now_ms if one.ended_at_ms is None else one.ended_at_ms) - one.started_at_ms


def reasons_of(incidents: Iterable[Incident], period: Period) -> dict[str, int]:
    """Reasons of incidents, each with the time in the period that the servers were down for it."""
    found: dict[str, int] = {}
    for one in incidents:
        reason = one.reason or "unknown"
        found[reason] = found.get(reason, 0) + down_ms(one, period)
    return found


def most(counts: Mapping[str, float], number: int) -> list[str]:
    """The keys with the largest values, the largest first."""
    return [key for key, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]]
