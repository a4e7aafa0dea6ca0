"""The incidents report: when servers were down, for how long and why, which of it was one fault, and who flaps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.causes import clusters
from reports.flaps import Flapping, flapping_servers
from reports.incident_columns import CAUSES, FLAPPING, INCIDENTS, REASONS, SERVERS
from reports.repairs import (
    by_server,
    down_times,
    is_down,
    lasted_ms,
    maintenance_ms,
    most,
    reasons_of,
    repair_of,
    unknown_ms,
)
from reports.report import Chart, Level, Line, Report, Section, Shape, Table
from reports.show import duration, when
from reports.stats.slo import DAY_MS
from storage.outages import details_of, hosts_of
from storage.past import Past, ServerRow
from storage.rollups.outcomes import Outcome
from storage.rollups.read import Incident, Last, Period
from storage.rollups.sums import outcome_sums

MOST_DETAILS = 200
"""The newest incidents whose raw row is looked up."""
MOST_NAMED = 20
"""Servers and hosts that a cluster names."""
_NAMED = 3
_UP_MS = slice(6, 8)
_DOWN_MS = 8
_WORDS = (
    "An incident lasts from the first UNHEALTHY check of a server to the next that was up. Unknown checks and those "
    "under maintenance neither begin nor end one: of its duration the server was known to be down, or under "
    "maintenance, and the rest is unknown. Where no check has ended it and the last one speaks no more it is unknown "
    "since then."
)
_TOGETHER = (
    "Incidents are taken as one fault where they overlap, begin within two minutes and have the same reason, or their "
    "servers the same host. With many servers some of that is chance."
)
_FLAPS = "Weighted share of state changes in the newest 21 checks, above 20% (as in Nagios)."


@dataclass(frozen=True, slots=True)
class _SeenIncidents:
    """The incidents of the report and what is known of them."""

    past: Past
    period: Period
    incidents: Sequence[Incident]
    """Newest first."""
    causes: Sequence[Sequence[Incident]]
    servers: dict[int, ServerRow]
    down_ms: Mapping[Incident, int]
    """For how much of the period the server was known to be down."""
    newest: Mapping[int, Last]

    @property
    def down_now(self) -> list[Incident]:
        """Those of servers that are known to be down now, the newest first."""
        return [one for one in self.incidents if self.state(one) == "now"]

    def state(self, one: Incident) -> str:
        """How it stands: over, now, maintenance, retired or, where nothing is known of its server, unknown."""
        if one.ended_at_ms is not None:
            return "over"
        if self.servers[one.server_id].retired_at_ms is not None:
            return "retired"
        if is_down(one, self.past.now_ms):
            return "now"
        last = self.newest[one.server_id]
        under = last.outcome is Outcome.MAINTENANCE and last.until_ms >= self.past.now_ms
        return "maintenance" if under else "unknown"


def build(past: Past, period: Period, min_duration_ms: float = 0, selection: str = "") -> Report:
    """The report; incidents that were over in less than ``min_duration_ms`` are left out of all but the flapping."""
    everything = past.rollups.incidents(period.since_ms, period.until_ms)
    kept = [one for one in everything if lasted_ms(one) >= min_duration_ms]
    kept.sort(key=lambda one: (-one.started_at_ms, one.server_id))
    hosts = hosts_of(past.connection)
    servers = {server.id: server for server in past.servers}
    sums = outcome_sums(past.connection, past.rollups, list(servers), period)
    up_ms = dict(zip(servers, sums[:, _UP_MS].sum(axis=1).tolist(), strict=True))
    down = down_times(everything, period, dict(zip(servers, sums[:, _DOWN_MS].tolist(), strict=True)))
    seen = _SeenIncidents(past, period, kept, clusters(kept, hosts), servers, down, past.rollups.newest())
    flapping = flapping_servers(past)
    short = len(everything) - len(kept)
    notes = []
    silent = [one for one in kept if seen.state(one) == "unknown"]
    if silent:
        named = [f"{servers[one.server_id].name} (since {when(one.down_until_ms)})" for one in silent[:_NAMED]]
        more = f" and {len(silent) - _NAMED} more" if len(silent) > _NAMED else ""
        notes.append(f"failing when checked last, and unknown since: {', '.join(named)}{more}")
    if short:
        notes.append(f"{short} incidents shorter than {duration(min_duration_ms)} are left out")
    if len(kept) > MOST_DETAILS:
        notes.append(f"details are looked up for the newest {MOST_DETAILS} incidents")
    return Report(
        name="incidents",
        title="Incidents",
        verdict=_verdict(seen, bool(sums.any())),
        level=_level(seen, bool(sums.any())),
        since_ms=period.since_ms,
        until_ms=period.until_ms,
        sections=(
            Section("incidents", "Incidents", Table(INCIDENTS, _incidents(seen)), _WORDS, [_chart(seen)]),
            Section("causes", "Faults of several servers", Table(CAUSES, _causes(seen, hosts)), _TOGETHER),
            Section("servers", "Failures and repairs", Table(SERVERS, _servers(seen, up_ms))),
            Section("reasons", "Downtime by reason", Table(REASONS, _reasons(seen))),
            Section("flapping", "Flapping now", Table(FLAPPING, [_flap(one) for one in flapping]), _FLAPS),
        ),
        servers=len(past.servers),
        selection=selection,
        facts=[("incidents", str(len(kept))), ("faults", str(len(seen.causes)))],
        notes=notes,
    )


def _verdict(seen: _SeenIncidents, checked: bool) -> str:
    """Who is down now, and how much there was, in a sentence."""
    if not checked:
        return "No server was checked in this time."
    now = seen.down_now
    down = "No server is down now"
    if now:
        named = [f"{seen.servers[one.server_id].name} (since {when(one.started_at_ms)})" for one in now[:_NAMED]]
        more = f" and {len(now) - _NAMED} more" if len(now) > _NAMED else ""
        down = f"{len(now)} server{' is' if len(now) == 1 else 's are'} down now: {', '.join(named)}{more}"
    if not seen.incidents:
        return f"{down}, and there was no incident."
    number = len(seen.incidents)
    faults = f" of {len(seen.causes)} faults" if len(seen.causes) < number else ""
    mttr_ms = repair_of(seen.incidents, seen.period, 0).mttr_ms
    repaired = f", repaired in {duration(mttr_ms)} on average" if mttr_ms is not None else ""
    return f"{down}; {number} incident{'' if number == 1 else 's'}{faults}{repaired}."


def _level(seen: _SeenIncidents, checked: bool) -> Level:
    if not checked:
        return Level.UNKNOWN
    if seen.down_now:
        return Level.BAD
    return Level.WARNING if seen.incidents else Level.GOOD


def _incidents(seen: _SeenIncidents) -> list[list[object]]:
    details = details_of(seen.past.connection, seen.incidents[:MOST_DETAILS])
    size = {one: _servers_of(cause) for cause in seen.causes for one in cause}
    return [
        [
            (server := seen.servers[one.server_id]).name,
            server.group,
            one.started_at_ms,
            one.ended_at_ms,
            state := seen.state(one),
            None if state in ("over", "now") else one.down_until_ms,
            lasted_ms(one),
            one.down_ms,
            unknown_ms(one),
            maintenance_ms(one),
            one.reason,
            size[one],
            details.get(one),
        ]
        for one in seen.incidents
    ]


def _causes(seen: _SeenIncidents, hosts: dict[int, frozenset[str]]) -> list[list[object]]:
    """The clusters of more than one server, newest first."""
    rows: list[list[object]] = []
    for cause in reversed(seen.causes):
        number = _servers_of(cause)
        if number > 1:
            ids = list(dict.fromkeys(one.server_id for one in cause))
            shared = Counter(host for server in ids for host in hosts.get(server, ()))
            reasons = Counter(one.reason for one in cause if one.reason is not None)
            rows.append(
                [
                    cause[0].started_at_ms,
                    None
                    if any(one.ended_at_ms is None for one in cause)
                    else max(one.ended_at_ms or 0 for one in cause),
                    number,
                    len(cause),
                    most(reasons, _NAMED),
                    [host for host, times in shared.most_common(MOST_NAMED) if times > 1],
                    [seen.servers[server].name for server in ids[:MOST_NAMED]],
                ]
            )
    return rows


def _servers(seen: _SeenIncidents, up_ms: dict[int, int]) -> list[list[object]]:
    """Those with an incident, the longest down first."""
    rows: list[list[object]] = []
    for server, theirs in by_server(seen.incidents).items():
        found = repair_of(theirs, seen.period, up_ms[server])
        spent = sum(seen.down_ms[one] for one in theirs)
        row = seen.servers[server]
        measured = (found.mttr_ms, found.mtbf_ms, found.longest_ms)
        parts = (sum(map(unknown_ms, theirs)), sum(map(maintenance_ms, theirs)))
        rows.append([row.name, row.group, found.failures, found.unresolved, spent, *parts, *measured])
    return sorted(rows, key=lambda row: (-row[4], row[0]))  # type: ignore[operator] # cells are of any kind


def _reasons(seen: _SeenIncidents) -> list[list[object]]:
    """Each reason with its share of the downtime, the largest first."""
    spent = reasons_of(seen.incidents, seen.down_ms)
    number: Counter[str] = Counter()
    servers: defaultdict[str, set[int]] = defaultdict(set)
    for one in seen.incidents:
        reason = one.reason or "unknown"
        number[reason] += 1
        servers[reason].add(one.server_id)
    total = sum(spent.values())
    return [
        [reason, number[reason], len(servers[reason]), took_ms, took_ms / total if total else None]
        for reason, took_ms in sorted(spent.items(), key=lambda item: -item[1])
    ]


def _flap(one: Flapping) -> list[object]:
    return [one.server.name, one.server.group, one.flap_ratio, one.checks, one.since_ms]


def _chart(seen: _SeenIncidents) -> Chart:
    """How many incidents began in each slot."""
    slots = seen.period.slots
    starts = np.array([one.started_at_ms for one in seen.incidents], np.int64) // seen.period.slot_ms - slots[0]
    counted = np.bincount(starts[starts >= 0], minlength=len(slots))
    word = "hour" if seen.period.slot_ms < DAY_MS else "day"
    x = [slot * seen.period.slot_ms for slot in slots]
    return Chart(f"Incidents that began in each {word}", Shape.BARS, x, [Line("incidents", counted.tolist())])


def _servers_of(cause: Sequence[Incident]) -> int:
    return len({one.server_id for one in cause}) if len(cause) > 1 else 1
