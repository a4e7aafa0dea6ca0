"""What checking costs the checker and its servers: work for each check, footprint, punctuality, caches, connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from reports.report import Chart, Column, Insufficient, Kind, Line, Section, Shape, Table
from reports.stats import Floats
from reports.stats.intervals import fewest
from storage.footprint import NEWEST_CHECKS, CacheSlot, Footprint, PoolSlot, ProbeCost, Schedule
from storage.rollups.read import Period

_MIB = 1024 * 1024
_MISSED = 1.5
"""A gap of so many intervals has a run missing."""

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
    """What a probe of each kind asks of its server."""
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
    """What the checker took, slot after slot."""
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
    """How far from regular the starts of runs were."""
    rows: list[list[object]] = []
    for one in schedules:
        gaps_ms: Floats = np.diff(np.array(one.started_at_ms, np.float64))
        rows.append([one.config_path, one.environment, len(one.started_at_ms), *_slip(gaps_ms)])
    text = "slip = |time between two starts - their median|." if rows else ""
    return Section("schedule", "How regularly runs began", Table(SCHEDULES, rows), text)


def _slip(gaps_ms: Floats) -> list[object]:
    """The columns of a schedule that its gaps tell."""
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
    """How often caches had the answer."""
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
    """How connections were used."""
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
