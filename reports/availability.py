"""The availability report: up time of servers compared with their objectives, and the error budgets left."""

from __future__ import annotations

from collections.abc import Sequence

from checker.stats.intervals import FEWEST_INCIDENTS
from checker.stats.slo import FEWEST_SAMPLES, MINUTE_MS
from reports.incidents import by_server, most
from reports.objectives import (
    LENGTHS_MS,
    Standing,
    alert,
    burn_by_length,
    cannot_page,
    combined,
    label,
    section,
    standings,
)
from reports.output_forms import duration, objective, per_cent
from reports.percentile_cells import latency_numbers
from reports.report_model import (
    Chart,
    Column,
    Insufficient,
    KeyNumber,
    Kind,
    Level,
    Line,
    ObjectiveRatio,
    Report,
    Section,
    Shape,
    Table,
)
from storage.report_history import Past
from storage.rollups.read import Period
from storage.rollups.watermarks import DAY_MS, STATES

_SERVER = Column("server", "server")
_MEASURED = (
    Column("availability_ratio", "availability", Kind.RATIO, words="Up share of the known time."),
    Column("objective_ratio", "objective", Kind.RATIO, words="Of the server, or given with --objective.", rank=1),
    Column(
        "budget_left_ratio",
        "budget left",
        Kind.RATIO,
        words="What is left of the allowed downtime; below 0 the objective is missed.",
    ),
    Column("budget_left_min", "left", Kind.NUMBER, "min", "What is left of it, in minutes of downtime.", rank=2),
    Column("unhealthy_ms", "down", Kind.DURATION, words="Time in the state unhealthy."),
    Column("unknown_ms", "unknown", Kind.DURATION, words="Time in which nothing is known; not counted.", rank=3),
    Column("maintenance_ms", "maint.", Kind.DURATION, words="Time under maintenance; not counted.", rank=4),
    Column(
        "coverage_ratio",
        "coverage",
        Kind.RATIO,
        words="Known share of the time since the server's first check.",
        rank=3,
    ),
)
_INCIDENTS = Column("incidents", "incidents", Kind.COUNT, words="That began in the period.", rank=1)
_REASONS_COLUMN = Column(
    "reasons", "reasons", Kind.LIST, words="Of its incidents, those with the most downtime.", is_reason=True
)

SERVERS = (
    _SERVER,
    Column("group", "group", rank=2),
    *_MEASURED,
    Column("alert", "alert", words="page or ticket, where a burn rule fires now.", rank=-1),
    _INCIDENTS,
    _REASONS_COLUMN,
)
GROUPS = (
    Column("group", "group"),
    Column("servers", "servers", Kind.COUNT),
    *_MEASURED,
    _INCIDENTS,
    _REASONS_COLUMN,
)
CHECKS = (
    _SERVER,
    Column("good_ratio", "good checks", Kind.RATIO, words="Healthy or degraded, of those that could tell."),
    Column("good_low_ratio", "at least", Kind.RATIO, words="Lower end of its 95% interval, from incidents.", rank=1),
    Column("good_high_ratio", "at most", Kind.RATIO, words="Upper end of it.", rank=1),
    Column("healthy", "healthy", Kind.COUNT, rank=1),
    Column("degraded", "degraded", Kind.COUNT),
    Column("unhealthy", "unhealthy", Kind.COUNT),
    Column("unknown", "unknown", Kind.COUNT, rank=1),
    Column("maintenance", "maintenance", Kind.COUNT, rank=2),
    Column(
        "suspect", "suspect", Kind.COUNT, words="Taken by a worker that was late; its time is unknown time.", rank=2
    ),
    Column("healthy_ms", "time healthy", Kind.DURATION, rank=3),
    Column("degraded_ms", "time degraded", Kind.DURATION, rank=2),
)
BURNS = (
    _SERVER,
    Column("alert", "alert", words="page or ticket, where a rule fires."),
    Column("interval_ms", "every", Kind.DURATION, words="How far apart its checks are, typically."),
    *(Column(f"burn_{label(length)}", f"burn {label(length)}", Kind.NUMBER) for length in LENGTHS_MS),
)
REPAIRS = (
    _SERVER,
    _INCIDENTS,
    Column("unresolved", "open", Kind.COUNT, words="Incidents that are going on."),
    Column("mttr_ms", "MTTR", Kind.DURATION, words="Mean time to repair: mean length of the repaired incidents."),
    Column("mtbf_ms", "MTBF", Kind.DURATION, words="Mean time between failures: up time for each incident."),
    Column("longest_ms", "longest", Kind.DURATION, words="Longest incident that touches the period."),
)
REMARKS = (
    _SERVER,
    Column("kind", "kind"),
    Column("remark", "remark"),
    Column("detail", "detail", wide=True),
    Column("checked_at", "checked", Kind.TIME),
)

LITTLE_LEFT_RATIO = 0.25
"""Share of a budget below which what is left of it is little."""
MOST_LINES = 200
"""Largest number of servers in a chart: the worst ones."""


def state_charts(past: Past, period: Period, servers: Sequence[Standing]) -> list[Chart]:
    """The availability of the first of these servers in each slot, as a chart; none without servers."""
    lines = _server_lines(past, period, [one.name for one in servers[:MOST_LINES]])
    return [_by_slot(period, lines)] if lines else []


def group_charts(past: Past, period: Period) -> list[Chart]:
    """The availability of each group in each slot, as a chart; none without several groups."""
    groups = {server.id: server.group for server in past.servers}
    names = sorted(set(groups.values()))
    if len(names) < 2:
        return []
    times = past.group_times(groups, period)
    lines = [Line(name, [_ratio(*times.get((name, slot), (0, 0))) for slot in period.slots]) for name in names]
    return [_by_slot(period, lines)]


def _by_slot(period: Period, lines: Sequence[Line]) -> Chart:
    x = [slot * period.slot_ms for slot in period.slots]
    return Chart("by hour" if period.slot_ms < DAY_MS else "by day", Shape.STATES, x, lines, "availability")


def _server_lines(past: Past, period: Period, names: Sequence[str]) -> list[Line]:
    ids = {server.id: server.name for server in past.servers if server.name in set(names)}
    found = past.rollups_of(list(ids)).outcomes(period)
    values: dict[str, list[float | None]] = {name: [None] * len(period.slots) for name in names}
    times_ms = zip(
        found.buckets.series.tolist(), found.buckets.slot.tolist(), found.buckets.numbers[:, 6:9].tolist(), strict=True
    )
    for series, slot, (healthy_ms, degraded_ms, unhealthy_ms) in times_ms:
        if (name := ids.get(found.series[series].server_id)) is not None:
            values[name][slot - period.slots[0]] = _ratio(healthy_ms + degraded_ms, unhealthy_ms)
    return [Line(name, values[name]) for name in names]


def _ratio(up_ms: int, down_ms: int) -> float | None:
    """The up share; None if nothing is known."""
    return up_ms / (up_ms + down_ms) if up_ms + down_ms else None


_NAMED = 3
_REASONS = 2
_FORMULA = (
    "availability = (healthy + degraded time) / (healthy + degraded + unhealthy time); unknown time, which suspect "
    "checks are part of, and maintenance are in neither. coverage = known time / time since the server's first check. "
    "budget left = 1 - unhealthy time / ((1 - objective) x known time)."
)
_BURN_TEXT = (
    "burn = unhealthy share of the known time in the window / (1 - objective): at 1 the budget lasts just as long as "
    "the objective is promised for. Page: 14.4 in 1 h and 5 min, or 6 in 6 h and 30 min; ticket: 1 in 3 d and 6 h. The "
    "short window needs 4 checks, 2 of them bad, and is longer where checks are so far apart; a rule whose long window "
    "has no room for them is left out. The windows of 6 h and 3 d begin at a full hour."
)

_REMARK_TEXT = (
    "Remarks of the newest check of each server, whatever its status. A remark never makes a status worse, "
    "unless the configuration says remarks: degraded."
)


def build(
    past: Past,
    period: Period,
    objective_ratio: float | None = None,
    selection: str = "",
    *,
    pictures: bool = True,
) -> Report:
    """The report; ``objective_ratio`` replaces the objectives of the servers.

    Without ``pictures`` nothing is read that only charts show.
    """
    incidents = past.rollups.incidents(period.since_ms, period.until_ms)
    servers = sorted(standings(past, period, incidents, objective_ratio), key=_worst_first)
    of_server = by_server(incidents)
    ids = {server.name: server.id for server in past.servers}
    groups = []
    for name in sorted({one.group for one in servers}):
        members = [one for one in servers if one.group == name]
        theirs = [incident for one in members for incident in of_server.get(ids[one.name], ())]
        groups.append(combined(name, members, theirs, period))
    overall = combined("all", servers, incidents, period)
    never = len(past.servers) - len(servers)
    return Report(
        name="availability",
        title="Availability",
        verdict=verdict(servers, overall),
        level=_level(servers, overall),
        since_ms=period.since_ms,
        until_ms=period.until_ms,
        sections=(
            Section(
                "servers",
                "Servers",
                Table(SERVERS, [_server(one) for one in servers]),
                _FORMULA,
                state_charts(past, period, servers) if pictures else (),
            ),
            Section(
                "groups",
                "Groups",
                Table(GROUPS, [_group(one) for one in (*groups, overall)]),
                charts=group_charts(past, period) if pictures else (),
            ),
            Section("checks", "Checks and times", Table(CHECKS, [_checks(one) for one in (*servers, overall)])),
            _burn_section(servers),
            *_objectives(past, servers),
            Section("repairs", "Failures and repairs", Table(REPAIRS, _repairs(servers, overall))),
            *_remarks_section(past),
        ),
        servers=len(past.servers),
        selection=selection,
        facts=_facts(overall, objective_ratio),
        numbers=_numbers(past, period, servers, overall) if pictures else (),
        notes=tuple(_notes(servers, never)),
    )


def _notes(servers: Sequence[Standing], never: int) -> list[str]:
    """Notes on servers left out, and on objectives that no alert can watch."""
    notes = [f"{_counted(never, 'server')} not checked in this time, and left out"] if never else []
    seldom = [one for one in servers if one.objective_ratio is not None and cannot_page(one.interval_ms or 0)]
    if seldom:
        named = [f"{one.name} (every {duration(one.interval_ms or 0)})" for one in seldom[:_NAMED]]
        more = f" and {len(seldom) - _NAMED} more" if len(seldom) > _NAMED else ""
        notes.append(
            f"checked too seldom for a page, however long an outage is: {', '.join(named)}{more}; "
            f"a page needs {FEWEST_SAMPLES} checks within its long window of 6 h, a ticket within 3 d"
        )
    return notes


def verdict(servers: Sequence[Standing], overall: Standing) -> str:
    """One sentence: the number of servers that miss their objective, and the worst of them."""
    ratio = overall.availability_ratio
    if ratio is None:
        return "Nothing is known of any server in this time."
    bound = [one for one in servers if one.budget is not None]
    if not bound:
        worst = servers[0]
        lowest = f"; the lowest is {worst.name} with {_share(worst)}" if ratio < 1 else ""
        return f"No server has an objective; all together were up for {per_cent(ratio)} of the known time{lowest}."
    missing = [one for one in bound if one.misses]
    if not missing:
        return f"All {_counted(len(bound), 'server')} with an objective meet it; all were up for {per_cent(ratio)}."
    named = [f"{one.name} ({_share(one)} of {objective(one.objective_ratio or 0)})" for one in missing[:_NAMED]]
    more = f", and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    verb = "misses its" if len(missing) == 1 else "miss their"
    return f"{len(missing)} of {_counted(len(bound), 'server')} {verb} objective: {', '.join(named)}{more}."


def _level(servers: Sequence[Standing], overall: Standing) -> Level:
    if overall.availability_ratio is None or not any(one.budget for one in servers):
        return Level.UNKNOWN
    if any(one.misses for one in servers):
        return Level.BAD
    return Level.WARNING if any(alert(one.burns) for one in servers) else Level.GOOD


def _worst_first(one: Standing) -> tuple[float, float, str]:
    """Servers with the least budget left first, then those without an objective by availability."""
    budget, ratio = one.budget, one.availability_ratio
    return (
        float("inf") if budget is None else budget.left_ratio,
        float("inf") if ratio is None else ratio,
        one.name,
    )


def _server(one: Standing) -> list[object]:
    return [one.name, one.group, *_measured(one), alert(one.burns), one.repair.failures, most(one.reasons, _REASONS)]


def _group(one: Standing) -> list[object]:
    return [one.name, one.servers, *_measured(one), one.repair.failures, most(one.reasons, _REASONS)]


def _measured(one: Standing) -> list[object]:
    """The columns that servers and groups have in common."""
    budget = one.budget
    return [
        None if one.availability_ratio is None else ObjectiveRatio(one.availability_ratio, one.objective_ratio),
        None if one.objective_ratio is None else ObjectiveRatio(one.objective_ratio, one.objective_ratio),
        None if budget is None else budget.left_ratio,
        None if budget is None else budget.left_down_ms / MINUTE_MS,
        one.numbers["unhealthy_ms"],
        one.numbers["unknown_ms"],
        one.numbers["maintenance_ms"],
        one.coverage_ratio,
    ]


def _checks(one: Standing) -> list[object]:
    interval = one.good_interval
    good_ratio = one.good_checks / one.known_checks if one.known_checks else None
    few = Insufficient(one.incidents, FEWEST_INCIDENTS) if one.incidents else None
    sure = [few, few] if interval is None else [interval.low, interval.high]
    counts = [one.numbers[name] for name in ("healthy", "degraded", "unhealthy", "unknown", "maintenance", "suspect")]
    return [one.name, good_ratio, *sure, *counts, one.numbers["healthy_ms"], one.numbers["degraded_ms"]]


def _burn_section(servers: Sequence[Standing]) -> Section:
    """Servers that are using up their budget, those with an alert and the fastest first."""
    bound = [one for one in servers if one.burns]
    rates = {one.name: burn_by_length(one.burns) for one in bound}
    burning = [one for one in bound if any(rates[one.name].values())]
    fastest = {name: max(rate or 0.0 for rate in found.values()) for name, found in rates.items()}
    burning.sort(key=lambda one: (alert(one.burns) or "without", -fastest[one.name]))
    rows = [
        [one.name, alert(one.burns), one.interval_ms, *(rates[one.name][length] for length in LENGTHS_MS)]
        for one in burning
    ]
    quiet = len(bound) - len(burning)
    rest = f" {_counted(quiet, 'other server')} with an objective burn nothing." if quiet else ""
    return Section("burn", "Error budgets that burn", Table(BURNS, rows), _BURN_TEXT + rest if bound else "")


def _objectives(past: Past, servers: Sequence[Standing]) -> list[Section]:
    """Each objective over its own window; None without any objective."""
    ids = {server.name: server.id for server in past.servers}
    found = section(past, {ids[one.name]: one.objective_ratio for one in servers if one.objective_ratio is not None})
    return [] if found is None else [found]


def _remarks_section(past: Past) -> list[Section]:
    """Remarks of the newest check of each server; None if there are none."""
    names = {server.id: server.name for server in past.servers}
    rows = [
        [names[one.server_id], one.kind, str(one.remark.name), one.remark.detail, one.at_ms]
        for one in past.newest_remarks()
        if one.server_id in names
    ]
    return [Section("remarks", "Remarks", Table(REMARKS, rows), _REMARK_TEXT)] if rows else []


def _repairs(servers: Sequence[Standing], overall: Standing) -> list[list[object]]:
    return [
        [one.name, found.failures, found.unresolved, found.mttr_ms, found.mtbf_ms, found.longest_ms]
        for one in (*servers, overall)
        if (found := one.repair).longest_ms is not None
    ]


def _facts(overall: Standing, objective_ratio: float | None) -> list[tuple[str, str]]:
    facts = [("availability", "unknown" if (ratio := overall.availability_ratio) is None else per_cent(ratio))]
    if objective_ratio is not None:
        facts.append(("objective of all", objective(objective_ratio)))
    return [*facts, ("checks", f"{sum(overall.numbers[name] for name in STATES):,}")]


def _numbers(past: Past, period: Period, servers: Sequence[Standing], overall: Standing) -> list[KeyNumber]:
    """Availability, objectives, the smallest budget left, downtime and latencies."""
    bound = [one for one in servers if one.budget is not None]
    missing, found = sum(one.misses for one in bound), []
    level = Level.BAD if missing else Level.GOOD if bound else None
    if (ratio := overall.availability_ratio) is not None:
        lowest = min(servers, key=lambda one: 2.0 if one.availability_ratio is None else one.availability_ratio)
        note = "of the known time" if ratio == 1 else f"lowest {_share(lowest)}, {lowest.name}"
        found.append(KeyNumber("availability", per_cent(ratio), note, level))
    if bound:
        least = min(bound, key=lambda one: one.budget.left_ratio if one.budget else 0.0)
        left_ratio = least.budget.left_ratio if least.budget else 0.0
        kept = f"{len(bound) - missing} of {len(bound)}"
        found.append(KeyNumber("objectives met", kept, f"{missing} missed" if missing else "", level))
        worth = Level.BAD if left_ratio < 0 else Level.WARNING if left_ratio < LITTLE_LEFT_RATIO else Level.GOOD
        found.append(KeyNumber("least budget left", per_cent(left_ratio), least.name, worth))
    down = f"{_counted(overall.repair.failures, 'incident')}"
    repaired = "" if overall.repair.mttr_ms is None else f", {duration(overall.repair.mttr_ms)} each"
    found.append(KeyNumber("down", duration(overall.numbers["unhealthy_ms"]), f"{down}{repaired}"))
    return [*found, *latency_numbers(past, period)]


def _share(one: Standing) -> str:
    ratio = one.availability_ratio
    return "unknown" if ratio is None else per_cent(ratio, one.objective_ratio)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
