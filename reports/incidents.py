"""The incidents report: start, duration and reason of downtime, common causes, and flapping servers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from checker.stats.flapping import RESULTS, START_RATIO, flap_ratio
from checker.stats.slo import DAY_MS, Repair, repair
from reports.blips import WORDS, entries
from reports.output_forms import duration, when
from reports.report_model import Chart, Column, KeyNumber, Kind, Level, Line, Report, Section, Shape, Table
from storage.report_history import Past, ServerRow
from storage.rollups.read import Incident, Last, Period
from storage.rollups.watermarks import Outcome

_SERVER, _GROUP = Column("server", "server"), Column("group", "group", rank=3)
_REASON = Column("reason", "reason", words="Of the check that began it.", rank=-1)
_COUNT = Column("incidents", "incidents", Kind.COUNT)

INCIDENTS = (
    _SERVER,
    _GROUP,
    Column("started_at", "start", Kind.TIME),
    Column("ended_at", "end", Kind.TIME, words="Empty where no check has ended it.", rank=2),
    Column(
        "state",
        "until",
        words="over; now while the server is known to be down; maintenance; retired where it left the configuration; "
        "unknown where no check speaks for it any more.",
        rank=1,
    ),
    Column("unknown_since", "unknown since", Kind.TIME, words="Where the server is not known to be down now.", rank=4),
    Column("duration_ms", "duration", Kind.DURATION, words="As far as it is known, while it has no end."),
    Column("down_ms", "down", Kind.DURATION, words="Of that, known to be down.", rank=3),
    Column("unknown_ms", "unknown", Kind.DURATION, words="Of that, not known.", rank=4),
    Column("maintenance_ms", "maint.", Kind.DURATION, words="Of that, under maintenance.", rank=4),
    _REASON,
    Column(
        "cause_servers",
        "together",
        Kind.COUNT,
        words="How many servers failed by the same fault, this one with it.",
        rank=2,
    ),
    Column("detail", "detail", words="What the check said that began it, while its raw row is kept.", is_reason=True),
)
ENTRIES = (
    _SERVER,
    _GROUP,
    Column("incidents", "times", Kind.COUNT, words="Short incidents in quick succession are one entry."),
    Column("started_at", "start", Kind.TIME, words="Of the first."),
    Column("ended_at", "end", Kind.TIME, words="Of the last; empty where no check has ended it."),
    Column("state", "until", words="As in the whole list."),
    Column("down_ms", "down", Kind.DURATION, words="Known to be down, together."),
    Column("longest_ms", "longest", Kind.DURATION),
    Column("reasons", "reasons", Kind.LIST, words="The most frequent first."),
    Column("cause_servers", "together", Kind.COUNT, words="How many servers failed by the same fault, at most."),
    Column("detail", "detail", words="What the check said that began the last one.", wide=True),
)
CAUSES = (
    Column("started_at", "start", Kind.TIME, words="Of the first incident."),
    Column("ended_at", "end", Kind.TIME, words="Of the last one; empty while one has none."),
    Column("servers", "servers", Kind.COUNT),
    _COUNT,
    Column("reasons", "reasons", Kind.LIST, words="The most frequent first.", is_reason=True),
    Column("hosts", "hosts", Kind.LIST, words="That several of the servers have in common.", is_reason=True),
    Column("names", "names", Kind.LIST, words="The first twenty.", is_reason=True),
)
SERVERS = (
    _SERVER,
    _GROUP,
    Column("incidents", "incidents", Kind.COUNT, words="That began in the period."),
    Column("unresolved", "open", Kind.COUNT, words="That no check has ended."),
    Column("down_ms", "down", Kind.DURATION, words="Known to be down, in the period."),
    Column("unknown_ms", "unknown", Kind.DURATION, words="Not known, of the time of its incidents.", rank=2),
    Column("maintenance_ms", "maint.", Kind.DURATION, words="Under maintenance, of the time of its incidents.", rank=3),
    Column("mttr_ms", "MTTR", Kind.DURATION, words="Mean time to repair: mean length of the repaired incidents."),
    Column("mtbf_ms", "MTBF", Kind.DURATION, words="Mean time between failures: up time for each incident."),
    Column("longest_ms", "longest", Kind.DURATION),
)
REASONS = (
    _REASON,
    _COUNT,
    Column("servers", "servers", Kind.COUNT),
    Column("down_ms", "down", Kind.DURATION),
    Column("down_ratio", "share", Kind.RATIO, words="Of the downtime of all servers together."),
)
FLAPPING = (
    _SERVER,
    _GROUP,
    Column("flap_ratio", "changes", Kind.RATIO, words="Weighted share of state changes in the newest checks."),
    Column("checks", "checks", Kind.COUNT, words="Checks that it is computed from: 21 or, for a new server, fewer."),
    Column("since", "since", Kind.TIME, words="When the first of them began."),
)


class Flapping(Struct, frozen=True):
    """A server whose results change too often."""

    server: ServerRow
    flap_ratio: float
    """Weighted share of changes, 0 to 1."""
    checks: int
    """Number of checks that it was computed from."""
    since_ms: int
    """Start of the first of these checks."""


def flapping_servers(past: Past, start_ratio: float = START_RATIO) -> Sequence[Flapping]:
    """Servers above the ratio, worst first. A result that says nothing about its server repeats the one before it."""
    ids = [server.id for server in past.servers]
    checks = past.newest_checks(ids, RESULTS)
    if not len(checks.server):
        return []
    opens = np.diff(checks.server, prepend=-1) > 0
    firsts = np.flatnonzero(opens)
    row = np.cumsum(opens) - 1
    counts = np.diff(np.append(firsts, len(row)))
    # The newest result is in the last column; what is missing before the first says nothing.
    column = np.arange(len(row)) - firsts[row] + RESULTS - counts[row]
    statuses = np.full((len(firsts), RESULTS), int(Outcome.UNKNOWN))
    statuses[row, column] = np.minimum(checks.outcome, Outcome.UNKNOWN)
    ratios = flap_ratio(statuses, int(Outcome.UNKNOWN)).tolist()
    by_id = {server.id: server for server in past.servers}
    found = [
        Flapping(by_id[int(checks.server[first])], ratio, int(count), int(checks.at_ms[first]))
        for first, count, ratio in zip(firsts.tolist(), counts.tolist(), ratios, strict=True)
        if ratio > start_ratio
    ]
    return sorted(found, key=lambda one: (-one.flap_ratio, one.server.name))


TOGETHER_MS = 120_000
"""Incidents with a common cause begin within two minutes of each other."""


def clusters(incidents: Sequence[Incident], hosts: Mapping[int, Collection[str]]) -> list[list[Incident]]:
    """Incidents grouped into clusters by common cause, each incident in exactly one, ordered by start.

    Two belong to the same cluster if they overlap, begin within two minutes, and either have the same reason or their
    servers share a host; clusters are transitive.
    """
    ordered = sorted(incidents, key=lambda one: (one.started_at_ms, one.server_id))
    parent = list(range(len(ordered)))
    ends = [math.inf if one.ended_at_ms is None else one.ended_at_ms for one in ordered]
    keys_of_host = {server: [("host", host) for host in of_server] for server, of_server in hosts.items()}
    recent: defaultdict[Hashable, deque[int]] = defaultdict(deque)
    for number, one in enumerate(ordered):
        earliest_ms, end_ms = one.started_at_ms - TOGETHER_MS, ends[number]
        keys = keys_of_host.get(one.server_id, ())
        # Properties that another incident may share with this one.
        for key in keys if one.reason is None else (("reason", one.reason), *keys):
            # Ends fall from left to right: where the leftmost is over, all are; those to its right are with it already.
            candidates = recent[key]
            while candidates and ordered[candidates[0]].started_at_ms < earliest_ms:
                candidates.popleft()
            if candidates and ends[candidates[0]] > one.started_at_ms:
                parent[_root(parent, number)] = _root(parent, candidates[0])
            while candidates and ends[candidates[-1]] <= end_ms:
                candidates.pop()
            candidates.append(number)
    found: dict[int, list[Incident]] = {}
    for number, one in enumerate(ordered):
        found.setdefault(_root(parent, number), []).append(one)
    return list(found.values())


def _root(parent: list[int], number: int) -> int:
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = parent[number]
    return number


def by_server(incidents: Iterable[Incident]) -> dict[int, list[Incident]]:
    """The incidents of each server that has any, in their order."""
    found: dict[int, list[Incident]] = defaultdict(list)
    for one in incidents:
        found[one.server_id].append(one)
    return found


def repair_of(incidents: Sequence[Incident], period: Period, up_ms: float) -> Repair:
    """Failures and repairs of the servers of these incidents in the period, given their total up time."""
    spans = [(one.started_at_ms, one.ended_at_ms) for one in incidents]
    found = repair(spans, period.since_ms, period.until_ms, up_ms)
    return replace(found, longest_ms=max(map(lasted_ms, incidents), default=None)) if incidents else found


def is_down(one: Incident, now_ms: int) -> bool:
    """True if the server is down by its newest known state."""
    return one.ended_at_ms is None and one.down_until_ms >= now_ms


def lasted_ms(one: Incident) -> int:
    """Duration of the incident or, if no check has ended it, the duration known so far."""
    ended_at_ms = one.ended_at_ms
    return (one.down_until_ms if ended_at_ms is None else ended_at_ms) - one.started_at_ms


def maintenance_ms(one: Incident) -> int:
    """Time under maintenance during the incident."""
    return min(one.maintenance_ms, lasted_ms(one) - one.down_ms)


def unknown_ms(one: Incident) -> int:
    """Time during the incident in which the state of the server was unknown."""
    return lasted_ms(one) - one.down_ms - maintenance_ms(one)


def down_times(incidents: Iterable[Incident], period: Period, down_ms: Mapping[int, int]) -> dict[Incident, int]:
    """Known downtime within the period, by incident.

    ``incidents`` are all that overlap the period, ``down_ms`` is the total for each server by id: the remainder belongs
    to the incident that began before the period.
    """
    found: dict[Incident, int] = {}
    for server, theirs in by_server(incidents).items():
        within = [one for one in theirs if one.started_at_ms >= period.since_ms]
        if len(within) < len(theirs):
            left_ms = max(0, down_ms.get(server, 0) - sum(one.down_ms for one in within))
            found.update((one, left_ms) for one in theirs if one.started_at_ms < period.since_ms)
        found.update((one, one.down_ms) for one in within)
    return found


def reasons_of(incidents: Iterable[Incident], down_ms: Mapping[Incident, int]) -> dict[str, int]:
    """Reasons of incidents, each with the downtime of its incidents."""
    found: dict[str, int] = {}
    for one in incidents:
        reason = one.reason or "unknown"
        found[reason] = found.get(reason, 0) + down_ms[one]
    return found


def most(counts: Mapping[str, float], number: int) -> list[str]:
    """The keys with the largest values, largest first."""
    return [key for key, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]]


MOST_DETAILS = 200
"""Largest number of newest incidents whose raw row is looked up."""
MOST_NAMED = 20
"""Largest number of servers and hosts named per cluster."""
_NAMED = 3
_TOGETHER_AT = [column.name for column in INCIDENTS].index("cause_servers")
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


class _SeenIncidents(Struct, frozen=True):
    """The incidents of the report with the figures needed for each."""

    past: Past
    period: Period
    incidents: Sequence[Incident]
    """Newest first."""
    causes: Sequence[Sequence[Incident]]
    servers: dict[int, ServerRow]
    down_ms: Mapping[Incident, int]
    """Known downtime of the server within the period."""
    newest: Mapping[int, Last]

    @property
    def down_now(self) -> list[Incident]:
        """Incidents of servers that are known to be down now, newest first."""
        return [one for one in self.incidents if self.state(one) == "now"]

    def state(self, one: Incident) -> str:
        """State of the incident: over, now, maintenance, retired or, if nothing is known of its server, unknown."""
        if one.ended_at_ms is not None:
            return "over"
        if self.servers[one.server_id].retired_at_ms is not None:
            return "retired"
        if is_down(one, self.past.now_ms):
            return "now"
        last = self.newest[one.server_id]
        under = last.outcome is Outcome.MAINTENANCE and last.until_ms >= self.past.now_ms
        return "maintenance" if under else "unknown"


def build(
    past: Past, period: Period, min_duration_ms: float = 0, selection: str = "", *, pictures: bool = True
) -> Report:
    """The report; incidents shorter than ``min_duration_ms`` are left out of everything except flapping.

    Without ``pictures`` nothing is made that only a page shows.
    """
    everything = past.rollups.incidents(period.since_ms, period.until_ms)
    kept = [one for one in everything if lasted_ms(one) >= min_duration_ms]
    kept.sort(key=lambda one: (-one.started_at_ms, one.server_id))
    hosts = past.hosts_of()
    servers = {server.id: server for server in past.servers}
    sums = past.outcome_sums(list(servers), period)
    up_ms = dict(zip(servers, sums[:, _UP_MS].sum(axis=1).tolist(), strict=True))
    down = down_times(everything, period, dict(zip(servers, sums[:, _DOWN_MS].tolist(), strict=True)))
    seen = _SeenIncidents(past, period, kept, clusters(kept, hosts), servers, down, past.rollups.newest())
    rows = _incidents(seen)
    shown = _entries(seen, rows) if pictures else rows
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
            Section(
                "incidents",
                "Incidents",
                Table(INCIDENTS, rows),
                _WORDS,
                [_chart(seen)],
                page_table=Table(ENTRIES, shown) if len(shown) < len(rows) else None,
                page_note=WORDS,
            ),
            Section("causes", "Faults of several servers", Table(CAUSES, _causes(seen, hosts)), _TOGETHER),
            Section("servers", "Failures and repairs", Table(SERVERS, _servers(seen, up_ms))),
            Section("reasons", "Downtime by reason", Table(REASONS, _reasons(seen))),
            Section("flapping", "Flapping now", Table(FLAPPING, [_flap(one) for one in flapping]), _FLAPS),
        ),
        servers=len(past.servers),
        selection=selection,
        facts=[("incidents", str(len(kept))), ("faults", str(len(seen.causes)))],
        numbers=_numbers(seen, len(shown), flapping) if pictures else (),
        notes=notes,
    )


def _verdict(seen: _SeenIncidents, checked: bool) -> str:
    """One sentence: the servers down now, and the totals."""
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
    details = seen.past.details_of(seen.incidents[:MOST_DETAILS])
    size = {one: _servers_of(cause) for cause in seen.causes for one in cause}
    return [
        [
            (server := seen.servers[one.server_id]).name,
            server.group,
            one.started_at_ms,
            one.ended_at_ms,
            state := seen.state(one),
            None if state in ("over", "now") else one.down_until_ms,
            lasted := lasted_ms(one),
            one.down_ms,
            lasted - one.down_ms - (maintained := min(one.maintenance_ms, lasted - one.down_ms)),
            maintained,
            one.reason,
            size[one],
            details.get(one),
        ]
        for one in seen.incidents
    ]


def _entries(seen: _SeenIncidents, rows: Sequence[Sequence[object]]) -> list[list[object]]:
    """The entries of a page, given the rows of all incidents: blips of one server are taken together."""
    row_of = dict(zip(seen.incidents, rows, strict=True))
    found: list[list[object]] = []
    for entry in entries(seen.incidents, lambda one: one.server_id):
        newest, oldest = row_of[entry[0]], row_of[entry[-1]]
        reasons = Counter(one.reason for one in entry if one.reason is not None)
        down_ms, longest_ms = sum(one.down_ms for one in entry), max(map(lasted_ms, entry))
        together = max(row_of[one][_TOGETHER_AT] for one in entry)  # type: ignore[type-var] # cells are of any kind
        times = (oldest[2], newest[3], newest[4], down_ms, longest_ms)
        found.append([newest[0], newest[1], len(entry), *times, most(reasons, _NAMED), together, newest[-1]])
    return found


def _numbers(seen: _SeenIncidents, listed: int, flapping: Sequence[Flapping]) -> list[KeyNumber]:
    """What is down now, how many incidents there were, and how long they lasted."""
    now, number = len(seen.down_now), len(seen.incidents)
    found = [KeyNumber("down now", f"{now}", f"of {len(seen.servers)} servers", Level.BAD if now else Level.GOOD)]
    faults = f"{len(seen.causes):,} faults" if len(seen.causes) < number else ""
    found.append(KeyNumber("incidents", f"{number:,}", faults or (f"{listed:,} entries" if listed < number else "")))
    if number:
        longest = max(seen.incidents, key=lasted_ms)
        found.append(KeyNumber("downtime", duration(sum(one.down_ms for one in seen.incidents)), "of all servers"))
        found.append(KeyNumber("longest", duration(lasted_ms(longest)), seen.servers[longest.server_id].name))
        mttr_ms = repair_of(seen.incidents, seen.period, 0).mttr_ms
        if mttr_ms is not None:
            found.append(KeyNumber("repaired in", duration(mttr_ms), "on average"))
    words = flapping[0].server.name if flapping else ""
    level = Level.WARNING if flapping else None
    return [*found, KeyNumber("flapping now", f"{len(flapping)}", words, level)]


def _causes(seen: _SeenIncidents, hosts: dict[int, frozenset[str]]) -> list[list[object]]:
    """Clusters of more than one server, newest first."""
    servers_of_host = Counter(host for of_server in hosts.values() for host in of_server)
    common = {  # of most servers none: a host of one server alone is shared with nobody
        server: some
        for server, of_server in hosts.items()
        if (some := [host for host in of_server if servers_of_host[host] > 1])
    }
    rows: list[list[object]] = []
    for cause in reversed(seen.causes):
        number = _servers_of(cause)
        if number > 1:
            ids = list(dict.fromkeys(one.server_id for one in cause))
            shared = Counter(host for server in ids for host in common.get(server, ()))
            reasons = Counter(one.reason for one in cause if one.reason is not None)
            ends = [one.ended_at_ms for one in cause]
            rows.append(
                [
                    cause[0].started_at_ms,
                    None if None in ends else max(end or 0 for end in ends),
                    number,
                    len(cause),
                    most(reasons, _NAMED) if len(reasons) > 1 else list(reasons),
                    [host for host, times in shared.most_common(MOST_NAMED) if times > 1],
                    [seen.servers[server].name for server in ids[:MOST_NAMED]],
                ]
            )
    return rows


def _servers(seen: _SeenIncidents, up_ms: dict[int, int]) -> list[list[object]]:
    """Servers with an incident, the longest downtime first."""
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
    """Each reason with its share of the downtime, largest first."""
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
    """Number of incidents that began in each slot."""
    slots = seen.period.slots
    starts = np.array([one.started_at_ms for one in seen.incidents], np.int64) // seen.period.slot_ms - slots[0]
    counted = np.bincount(starts[starts >= 0], minlength=len(slots))
    word = "hour" if seen.period.slot_ms < DAY_MS else "day"
    x = [slot * seen.period.slot_ms for slot in slots]
    return Chart(f"Incidents that began in each {word}", Shape.BARS, x, [Line("incidents", counted.tolist())])


def _servers_of(cause: Sequence[Incident]) -> int:
    return len({one.server_id for one in cause}) if len(cause) > 1 else 1
