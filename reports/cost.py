"""The cost report: tokens that tool lists take from models, and resources that checking takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct

from checker.stats import Floats
from checker.stats.intervals import fewest
from reports.output_forms import number
from reports.report_model import (
    Chart,
    Column,
    Insufficient,
    KeyNumber,
    Kind,
    Level,
    Line,
    Report,
    Section,
    Shape,
    Table,
)
from storage.checking_cost import NEWEST_CHECKS, CacheSlot, Footprint, PoolSlot, ProbeCost, Schedule
from storage.contract_changes import ServerFacts
from storage.report_history import Past, ServerRow
from storage.rollups.read import Period

SINCE = "7d"
"""Default start of the period."""
MANY_TOOLS = 20
"""With more, models choose the wrong one more often (OpenAI, Function calling: aim for fewer than 20 at a time)."""

_COSTS = (
    Column("tools", "tools", Kind.COUNT),
    Column("tools_bytes", "size", Kind.COUNT, "bytes", "Of the tool list as canonical JSON."),
    Column("tools_tokens", "tokens", Kind.COUNT, words="Estimate of what a model reads: a quarter of the bytes."),
    Column("tokens_grown", "grown", Kind.COUNT, "tokens", "Since the oldest check of the period that is still there."),
    Column("tokens_grown_ratio", "by", Kind.RATIO, words="The same, of what it was."),
)
SERVERS = (
    Column("server", "server"),
    Column("group", "group"),
    *_COSTS,
    Column("warning", "warning", words=f"Where there are more than {MANY_TOOLS} tools."),
)
GROUPS = (Column("group", "group"), Column("servers", "servers", Kind.COUNT), *_COSTS)
_WORDS = (
    f"Tokens are estimated as a quarter of the bytes of the tool list. Among more than {MANY_TOOLS} tools a model "
    "chooses the wrong one more often."
)


class Context(Struct, frozen=True):
    """A server's tool list and its size."""

    server: ServerRow
    now: ServerFacts
    before: ServerFacts

    @property
    def grown(self) -> int | None:
        """Increase in tokens."""
        if self.now.tools_tokens is None or self.before.tools_tokens is None:
            return None
        return self.now.tools_tokens - self.before.tools_tokens

    @property
    def many(self) -> bool:
        """True if the server has more tools than recommended."""
        return (self.now.tool_count or 0) > MANY_TOOLS


def contexts(past: Past, period: Period) -> list[Context]:
    """The tool lists of the servers that reported any in the period, the most tokens first."""
    ids = [server.id for server in past.servers]
    now = past.newest_facts(ids, period.since_ms)
    before = past.oldest_facts(ids, period.since_ms)
    found = [
        Context(server, now[server.id], before.get(server.id, now[server.id]))
        for server in past.servers
        if server.id in now and now[server.id].tool_count is not None
    ]
    return sorted(found, key=lambda one: (-(one.now.tools_tokens or 0), -(one.now.tool_count or 0), one.server.name))


def sections(found: Sequence[Context]) -> list[Section]:
    """Tables with a row for each server, and for each group plus a total."""
    rows = [
        [one.server.name, one.server.group, *_costs([one]), f"more than {MANY_TOOLS} tools" if one.many else None]
        for one in found
    ]
    names = sorted({one.server.group for one in found})
    groups: list[list[object]] = []
    for name in names:
        members = [one for one in found if one.server.group == name]
        groups.append([name, len(members), *_costs(members)])
    if found:
        groups.append(["all", len(found), *_costs(found)])
    return [
        Section("context", "Context that tool lists take", Table(SERVERS, rows), _WORDS if rows else ""),
        Section("groups", "Groups", Table(GROUPS, groups)),
    ]


def _costs(members: Sequence[Context]) -> list[object]:
    """Totals of these servers; growth only of servers where it is known."""
    compared = [one for one in members if one.grown is not None]
    grown = sum(one.grown or 0 for one in compared)
    was = sum(one.before.tools_tokens or 0 for one in compared)
    return [
        _total(one.now.tool_count for one in members),
        _total(one.now.tools_bytes for one in members),
        _total(one.now.tools_tokens for one in members),
        grown if compared else None,
        grown / was if was else None,
    ]


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


_MIB = 1024 * 1024
_MISSED = 1.5
"""A gap longer than this many intervals means that a run is missing."""

CHECKING = (
    Column("kind", "probe"),
    Column("probes", "probes", Kind.COUNT, words=f"Of the newest {NEWEST_CHECKS} checks of each server."),
    Column(
        "requests", "requests", Kind.NUMBER, words="Requests for each check, of the runs' own counts of connections."
    ),
    Column("connections_opened", "connections", Kind.NUMBER, words="Opened for each probe."),
    Column("sessions_opened", "sessions", Kind.NUMBER, words="MCP sessions opened for each probe."),
    Column("received_bytes", "received", Kind.NUMBER, "bytes", "Body bytes for each probe, decompressed."),
    Column("attempts", "attempts", Kind.NUMBER, words="Tries for each probe."),
    Column("duration_ms", "duration", Kind.DURATION, words="Mean of the last attempts."),
)
FOOTPRINT = (
    Column("at", "time", Kind.TIME),
    Column("runs", "runs", Kind.COUNT),
    Column("checks", "checks", Kind.COUNT),
    Column("cpu_ms", "CPU", Kind.NUMBER, "ms per check", "Of the worker processes."),
    Column("worker_memory_mib", "worker", Kind.NUMBER, "MiB", "Largest memory of a worker."),
    Column("memory_mib", "checker", Kind.NUMBER, "MiB", "Largest memory of all its processes together."),
    Column("lag_p99_ms", "lag", Kind.NUMBER, "ms", "How late a worker's loop was (p99), where it was worst."),
    Column("suspect", "suspect", Kind.COUNT, words="Checks by a worker that was too late."),
    Column("closed_ms", "held back", Kind.DURATION, words="How long limits let no check begin."),
)
SCHEDULES = (
    Column("config", "config"),
    Column("environment", "environment"),
    Column("runs", "runs", Kind.COUNT),
    Column("interval_ms", "interval", Kind.DURATION, words="Median time between the starts of runs."),
    Column("slip_p50_ms", "slip p50", Kind.DURATION, words="Distance of a start from where the interval puts it."),
    Column("slip_p95_ms", "slip p95", Kind.DURATION),
    Column("longest_gap_ms", "longest gap", Kind.DURATION),
    Column("late_ratio", "late", Kind.RATIO, words=f"Gaps of {_MISSED} intervals and more."),
    Column("missed", "missed", Kind.COUNT, words="Runs that the interval would have had in these gaps."),
)
CACHES = (
    Column("category", "cache"),
    Column("hits", "hits", Kind.COUNT),
    Column("misses", "misses", Kind.COUNT),
    Column("hit_ratio", "hit rate", Kind.RATIO),
    Column("stale_hits", "stale", Kind.COUNT, words="Hits past their time, taken while a new value was fetched."),
    Column("evicted", "evicted", Kind.COUNT),
)
POOLS = (
    Column("kind", "probe"),
    Column("opened", "opened", Kind.COUNT),
    Column("reused", "reused", Kind.COUNT),
    Column("reuse_ratio", "reuse", Kind.RATIO, words="Requests over a connection that was open."),
    Column("closed_by_peer", "closed by server", Kind.COUNT),
    Column("wait_ratio", "waited", Kind.RATIO, words="Requests that waited for a connection."),
    Column("wait_ms", "wait", Kind.NUMBER, "ms", "Mean of those."),
    Column("longest_wait_ms", "longest", Kind.NUMBER, "ms"),
    Column("most_open", "most open", Kind.COUNT),
    Column("tls_resumed_ratio", "TLS resumed", Kind.RATIO, words="TLS handshakes that resumed a session."),
)
Slotted = TypeVar("Slotted", PoolSlot, CacheSlot)


def checking(costs: Sequence[ProbeCost], used: Footprint) -> Section:
    """Requests and other load that a probe of each kind puts on its server."""
    checks = sum(one.checks for one in used.workers)
    requests = {
        kind: sum(one.created + one.reused for one in theirs) for kind, theirs in _by(used.pools, _kind).items()
    }
    rows = [
        [
            one.kind,
            one.probes,
            requests[one.kind] / checks if checks and one.kind in requests else None,
            one.connections_opened / one.probes,
            one.sessions_opened / one.probes,
            one.received_bytes / one.probes,
            one.attempts / one.probes,
            one.duration_us / one.probes / 1000,
        ]
        for one in costs
    ]
    return Section("checking", "What a check asks of its server", Table(CHECKING, rows))


def footprint(used: Footprint, period: Period) -> Section:
    """Resources used by the checker, slot by slot."""
    whole = {one.slot: one for one in used.resources}
    rows = [
        [
            one.slot * period.slot_ms,
            one.runs,
            one.checks,
            one.cpu_ms / one.checks if one.checks else None,
            one.peak_memory_bytes / _MIB,
            whole[one.slot].most_memory_bytes / _MIB if one.slot in whole else None,
            one.lag_p99_us / 1000,
            one.suspect_checks,
            whole[one.slot].closed_ms if one.slot in whole else None,
        ]
        for one in used.workers
    ]
    found = {row[0]: row for row in rows}
    x = [slot * period.slot_ms for slot in period.slots]

    def line(label: str, column: int) -> Line:
        return Line(label, [found[at][column] if at in found else None for at in x])

    charts = (
        Chart("CPU of the workers for each check", Shape.LINES, x, [line("CPU", 3)], "ms"),
        Chart("Memory at most", Shape.LINES, x, [line("a worker", 4), line("the checker", 5)], "MiB"),
    )
    return Section("footprint", "What the checker uses", Table(FOOTPRINT, rows), charts=charts if rows else ())


def punctuality(schedules: Sequence[Schedule]) -> Section:
    """Regularity of the start times of runs."""
    rows: list[list[object]] = []
    for one in schedules:
        gaps_ms: Floats = np.diff(np.array(one.started_at_ms, np.float64))
        rows.append([one.config_path, one.environment, len(one.started_at_ms), *_slip(gaps_ms)])
    text = "slip = |time between two starts - their median|." if rows else ""
    return Section("schedule", "How regularly runs began", Table(SCHEDULES, rows), text)


def _slip(gaps_ms: Floats) -> list[object]:
    """The cells of a schedule that are computed from its gaps."""
    number, middle, tail = len(gaps_ms), fewest(0.5), fewest(0.95)
    if number < middle:
        return [Insufficient(number, middle)] * 6
    interval_ms = float(np.median(gaps_ms))
    slip_ms = np.abs(gaps_ms - interval_ms)
    late = gaps_ms >= max(1.0, _MISSED * interval_ms)
    return [
        interval_ms,
        float(np.median(slip_ms)),
        float(np.quantile(slip_ms, 0.95)) if number >= tail else Insufficient(number, tail),
        float(gaps_ms.max()),
        float(late.mean()),
        int(np.rint(gaps_ms[late] / interval_ms - 1).sum()) if interval_ms else None,
    ]


def caches(used: Footprint, period: Period) -> Section:
    """Hit rates of the caches."""
    rows = []
    by_category = _by(used.caches, lambda one: one.category)
    for category, theirs in by_category.items():
        hits, misses = sum(one.hits for one in theirs), sum(one.misses for one in theirs)
        stale, evicted = sum(one.stale_hits for one in theirs), sum(one.evicted for one in theirs)
        rows.append([category, hits, misses, _ratio(hits, hits + misses), stale, evicted])
    lines = [
        _line(category, theirs, period, lambda one: _ratio(one.hits, one.hits + one.misses))
        for category, theirs in by_category.items()
    ]
    charts = _rates("Hit rates", lines, period)
    return Section("caches", "Caches", Table(CACHES, rows), charts=charts)


def pools(used: Footprint, period: Period) -> Section:
    """Use of connections."""
    rows = []
    by_kind = _by(used.pools, _kind)
    for kind, theirs in by_kind.items():
        opened, reused = sum(one.created for one in theirs), sum(one.reused for one in theirs)
        waits = sum(one.waits for one in theirs)
        rows.append(
            [
                kind,
                opened,
                reused,
                _ratio(reused, opened + reused),
                sum(one.closed_by_peer for one in theirs),
                _ratio(waits, opened + reused),
                sum(one.wait_us for one in theirs) / waits / 1000 if waits else None,
                max(one.longest_wait_us for one in theirs) / 1000,
                max(one.most_open for one in theirs),
                _ratio(sum(one.tls_resumed for one in theirs), sum(one.tls_handshakes for one in theirs)),
            ]
        )
    lines = [
        _line(kind, theirs, period, lambda one: _ratio(one.reused, one.created + one.reused))
        for kind, theirs in by_kind.items()
    ]
    return Section("pools", "Connections", Table(POOLS, rows), charts=_rates("Reuse of connections", lines, period))


def _by(slots: Iterable[Slotted], key: Callable[[Slotted], str]) -> dict[str, list[Slotted]]:
    found: dict[str, list[Slotted]] = {}
    for one in slots:
        found.setdefault(key(one), []).append(one)
    return dict(sorted(found.items()))


def _kind(one: PoolSlot) -> str:
    return one.kind


def _line(label: str, slots: Sequence[Slotted], period: Period, value: Callable[[Slotted], float | None]) -> Line:
    found = {one.slot: value(one) for one in slots}
    return Line(label, [found.get(slot) for slot in period.slots])


def _rates(title: str, lines: Sequence[Line], period: Period) -> tuple[Chart, ...]:
    x = [slot * period.slot_ms for slot in period.slots]
    return (Chart(title, Shape.LINES, x, lines, "ratio"),) if lines else ()


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def build(past: Past, period: Period, selection: str = "") -> Report:
    """Report the tokens that tool lists take from models, and the resources that checking takes.

    Context: tools, bytes and estimated tokens (bytes / 4) of each MCP server now, how they have grown since the
    oldest check of the period, and a warning above 20 tools.

    Checking: requests, connections, sessions and bytes for each check; CPU and memory of the checker over time; how
    regularly runs started (slip = |time between two starts - their median|); hit rates of caches, use of connections.

    \b
    mcp-status report cost --since 30d
    mcp-status report cost --group prod --format csv         the context of each server
    mcp-status report cost --format html -o cost.html
    """  # noqa: D301 # click wants the backspace itself
    found = contexts(past, period)
    # what runs measured of themselves is of all servers, whichever were selected
    used = past.footprint_since(period.since_ms, period.slot_ms)
    costs = past.probe_costs([server.id for server in past.servers], period.since_ms)
    notes = []
    if selection and used.workers:
        notes.append("footprint, schedule, caches and connections are of whole runs, not of the selected servers")
    if used.step > 1:
        notes.append(f"of the many runs one in {used.step} was looked at; counts are of those")
    return Report(
        name="cost",
        title="Cost",
        verdict=verdict(found, used),
        level=_level(found, used),
        since_ms=period.since_ms,
        until_ms=period.until_ms,
        sections=(
            *sections(found),
            checking(costs, used),
            footprint(used, period),
            punctuality(past.schedules_since(period.since_ms)),
            caches(used, period),
            pools(used, period),
        ),
        servers=len(past.servers),
        selection=selection,
        numbers=_numbers(found, used),
        facts=[("MCP servers", str(len(found))), ("runs looked at", str(sum(one.runs for one in used.workers)))],
        notes=notes,
    )


def _numbers(found: Sequence[Context], used: Footprint) -> list[KeyNumber]:
    """Tokens and tools of all servers, and what a check takes."""
    numbers = []
    if found:
        tokens, many = sum(one.now.tools_tokens or 0 for one in found), sum(one.many for one in found)
        numbers = [
            KeyNumber("tokens of context", f"{tokens:,}", f"tools of {len(found):,} MCP servers"),
            KeyNumber("tools", f"{sum(one.now.tool_count or 0 for one in found):,}"),
            KeyNumber(f"more than {MANY_TOOLS} tools", f"{many:,}", "servers", Level.WARNING if many else Level.GOOD),
        ]
    checks = sum(one.checks for one in used.workers)
    if checks:
        cpu_ms = sum(one.cpu_ms for one in used.workers) / checks
        numbers.append(KeyNumber("CPU of a check", f"{number(cpu_ms)} ms", f"of {checks:,} checks"))
    return numbers


def verdict(found: Sequence[Context], used: Footprint) -> str:
    """One sentence: tokens of all tool lists, servers with too many tools, and the cost of a check."""
    parts = []
    if found:
        tokens = sum(one.now.tools_tokens or 0 for one in found)
        tools = sum(one.now.tool_count or 0 for one in found)
        servers = f"{len(found)} MCP server{'' if len(found) == 1 else 's'}"
        parts.append(f"The tools of {servers} ({tools:,}) take about {tokens:,} tokens of context")
        if many := [one for one in found if one.many]:
            most = max(many, key=lambda one: one.now.tool_count or 0)
            verb = "has" if len(many) == 1 else "have"
            parts.append(
                f"{len(many)} {verb} more than {MANY_TOOLS}, {most.server.name} the most with {most.now.tool_count}"
            )
    checks = sum(one.checks for one in used.workers)
    if checks:
        cpu_ms = sum(one.cpu_ms for one in used.workers) / checks
        parts.append(f"a check takes {number(cpu_ms)} ms of CPU")
    if not parts:
        return "Nothing is known of any cost in this time."
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _level(found: Sequence[Context], used: Footprint) -> Level:
    if not found and not used.workers:
        return Level.UNKNOWN
    return Level.WARNING if any(one.many for one in found) else Level.GOOD
