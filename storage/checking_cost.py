"""Cost of checking: the measurements of runs, summed by time slot, and the start times of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec import Struct
from sqlalchemy import bindparam, func, select, text

from storage.connections import DatabaseConnection
from storage.raw_parts import in_both, nth_of_both
from storage.rollups.newest_rows import last_run_before
from storage.tables import runs

MOST_RUNS = 20_000
"""If a period has more runs, only every second, third, ... is read, so that about this many remain."""
NEWEST_CHECKS = 20
"""Newest checks of each server whose probes are read."""

_FROM = """from runs r cross join {table} m on m.run_id = r.id
    where r.id > :after and r.id % :step = 0 and r.started_at_ms >= :since_ms"""
_WORKERS = f"""select r.started_at_ms / :slot_ms as slot, count(distinct r.id), sum(m.checks), sum(m.suspect_checks),
    sum(m.cpu_ms), max(m.peak_memory_bytes), max(m.lag_p99_us) {_FROM} group by slot order by slot"""
_RESOURCES = f"""select r.started_at_ms / :slot_ms as slot, max(m.most_memory_bytes), sum(m.closed_ms), sum(m.dropped)
    {_FROM} group by slot order by slot"""
_POOLS = f"""select r.started_at_ms / :slot_ms as slot, m.kind, sum(m.created), sum(m.reused), sum(m.closed_by_peer),
    sum(m.waits), sum(m.wait_us), max(m.longest_wait_us), max(m.most_open), sum(m.tls_handshakes), sum(m.tls_resumed)
    {_FROM} group by slot, m.kind order by slot, m.kind"""
_CACHES = f"""select r.started_at_ms / :slot_ms as slot, m.category, sum(m.hits), sum(m.misses), sum(m.stale_hits),
    sum(m.evicted) {_FROM} group by slot, m.category order by slot, m.category"""
_OLDEST_READ = nth_of_both(
    "run_id", "run_id", "from {checks} e where e.server_id = t.id", "run_id desc", offset=":before"
)
_NEWEST_PROBES = in_both(
    f"""select p.kind, p.attempts, p.connections_opened, p.sessions_opened, p.received_bytes, p.duration_us
    from servers t cross join {{probes of t.id}}
    where t.id in :servers and p.run_id >= max(:after + 1, coalesce({_OLDEST_READ}, 0))"""  # noqa: S608
)
# As one bound: with two, SQLite seeks the first and reads through all rows after it.
_PROBES = f"""select made.kind, count(*), sum(made.attempts), sum(coalesce(made.connections_opened, 0)),
    sum(coalesce(made.sessions_opened, 0)), sum(coalesce(made.received_bytes, 0)), sum(made.duration_us)
    from ({_NEWEST_PROBES}) made group by made.kind order by made.kind"""  # noqa: S608 # our names


class WorkerSlot(Struct, frozen=True):
    """CPU and memory used by worker processes in a slot."""

    slot: int
    runs: int
    checks: int
    suspect_checks: int
    cpu_ms: int
    peak_memory_bytes: int
    """Of a single worker."""
    lag_p99_us: int
    """Of the worker and run with the largest value."""


class ResourceSlot(Struct, frozen=True):
    """Resources used by the whole checker in a slot, and the effect of its limits."""

    slot: int
    most_memory_bytes: int
    closed_ms: int
    """Time during which no check was started."""
    dropped: int


class PoolSlot(Struct, frozen=True):
    """Connections of a probe kind in a slot."""

    slot: int
    kind: str
    created: int
    reused: int
    closed_by_peer: int
    waits: int
    wait_us: int
    longest_wait_us: int
    most_open: int
    tls_handshakes: int
    tls_resumed: int


class CacheSlot(Struct, frozen=True):
    """A cache category in a slot."""

    slot: int
    category: str
    hits: int
    misses: int
    stale_hits: int
    evicted: int


class ProbeCost(Struct, frozen=True):
    """Cost of the newest probes of a kind."""

    kind: str
    probes: int
    attempts: int
    connections_opened: int
    sessions_opened: int
    received_bytes: int
    duration_us: int


class Schedule(Struct, frozen=True):
    """Runs of one configuration and environment."""

    config_path: str | None
    environment: str | None
    started_at_ms: Sequence[int]
    """Start times of its runs, in order."""


class Footprint(Struct, frozen=True):
    """Measurements of the runs of a period."""

    step: int
    """Sampling step: one of this many runs was read."""
    workers: Sequence[WorkerSlot]
    resources: Sequence[ResourceSlot]
    pools: Sequence[PoolSlot]
    caches: Sequence[CacheSlot]


Slot = TypeVar("Slot", WorkerSlot, ResourceSlot, PoolSlot, CacheSlot)


def footprint_since(
    connection: DatabaseConnection, since_ms: int, slot_ms: int, most_runs: int = MOST_RUNS
) -> Footprint:
    """The measurements of runs that began in this period, in slots of ``slot_ms`` counted from 1970."""
    after = last_run_before(connection, since_ms)
    newest = connection.scalar(select(func.max(runs.c.id))) or 0
    step = -(-max(1, newest - after) // most_runs)
    values = {"after": after, "since_ms": since_ms, "slot_ms": slot_ms, "step": step}

    def read(query: str, table: str, kind: type[Slot]) -> list[Slot]:
        of_kind: Any = kind
        return [of_kind(*row) for row in connection.execute(text(query.format(table=table)), values)]

    return Footprint(
        step=step,
        workers=read(_WORKERS, "run_workers", WorkerSlot),
        resources=read(_RESOURCES, "run_resources", ResourceSlot),
        pools=read(_POOLS, "run_pools", PoolSlot),
        caches=read(_CACHES, "run_caches", CacheSlot),
    )


def probe_costs(connection: DatabaseConnection, servers: Sequence[int], since_ms: int) -> list[ProbeCost]:
    """Cost of the probes in the newest checks of each of these servers in this period, by kind."""
    query = text(_PROBES).bindparams(bindparam("servers", expanding=True))
    after = last_run_before(connection, since_ms)
    values = {"servers": list(servers), "after": after, "before": NEWEST_CHECKS - 1}
    return [ProbeCost(*row) for row in connection.execute(query, values)]


def schedules_since(connection: DatabaseConnection, since_ms: int) -> list[Schedule]:
    """Start times of the runs of each configuration and environment, those with the most runs first."""
    begun: dict[tuple[str | None, str | None], list[int]] = {}
    wanted = select(runs.c.config_path, runs.c.environment, runs.c.started_at_ms).where(
        runs.c.id > last_run_before(connection, since_ms), runs.c.started_at_ms >= since_ms
    )
    for config_path, environment, started_at_ms in connection.execute(wanted).all():
        begun.setdefault((config_path, environment), []).append(started_at_ms)
    found = [Schedule(*of, sorted(starts)) for of, starts in begun.items()]
    return sorted(found, key=lambda one: (-len(one.started_at_ms), one.config_path or "", one.environment or ""))
