"""Evidence about the checker's own settings from stored runs, the input of recommendations; read-only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import case, func, select

from checker.metrics import RunMeasures
from storage.connections import DatabaseConnection, errors_of
from storage.history import measures_of_runs, reading
from storage.rows import columns_of
from storage.tables import checks, probes, runs, servers

MOST_RUNS = 500
"""Largest number of newest runs whose measurements are read."""
_MOST_PROBES = 100_000
"""Largest number of newest probes, in whole runs, that durations and retries are taken from."""
_SERIES = 220
"""Newest good checks of a server that are read."""


class RunEvidence(Struct, frozen=True, kw_only=True):
    """A finished run and the measurements it made of itself."""

    id: int
    started_at_ms: int
    duration_ms: int
    checked: int
    workers: int
    concurrency: int
    host: str
    measures: RunMeasures
    spent_ms: int = 0
    """Sum of the durations of its checks; 0 for a run that is not among the newest."""


class RetryEvidence(Struct, frozen=True, kw_only=True):
    """Number of probes of a server, and of those that succeeded only on a retry."""

    server: str
    kind: str
    probes: int
    retried: int
    reason: str | None
    """Reason of a failed earlier attempt."""


class SeriesEvidence(Struct, frozen=True, kw_only=True):
    """Durations of a server's good, trusted checks in milliseconds, newest first."""

    server: str
    durations_ms: Sequence[float]


class Evidence(Struct, frozen=True, kw_only=True):
    """Everything the rules look at."""

    since_ms: int
    runs: Sequence[RunEvidence]
    checks: int
    durations_ms: dict[str, list[float]]
    """Probe kind -> durations of trusted probes that ended well, including slow ones."""
    retries: Sequence[RetryEvidence]
    series: Sequence[SeriesEvidence]


def evidence_since(path: Path, since_ms: int) -> Evidence:
    """Evidence from runs that began at or after ``since_ms``; raises StorageError if there is no history."""
    with reading(path) as connection, errors_of(path):
        found = _runs(connection, since_ms)
        first = found[-1].id if found else 0
        newest = _newest_enough(found)
        return Evidence(
            since_ms=since_ms,
            runs=_with_spent(connection, found, newest),
            checks=sum(run.checked for run in found),
            durations_ms=_durations(connection, newest),
            retries=_retries(connection, newest),
            series=_series(connection, first),
        )


def _runs(connection: DatabaseConnection, since_ms: int) -> list[RunEvidence]:
    """Finished runs, newest first."""
    wanted = select(runs).where(runs.c.started_at_ms >= since_ms, runs.c.finished_at_ms.is_not(None))
    newest = connection.execute(wanted.order_by(runs.c.id.desc()).limit(MOST_RUNS)).all()
    measures = measures_of_runs(connection, [row.id for row in newest])
    return [
        RunEvidence(
            id=row.id,
            started_at_ms=row.started_at_ms,
            duration_ms=max(1, row.finished_at_ms - row.started_at_ms),
            checked=row.servers_expected,
            workers=row.workers,
            concurrency=row.concurrency,
            host=row.host,
            measures=measures[row.id],
        )
        for row in newest
    ]


def _newest_enough(found: Sequence[RunEvidence]) -> list[int]:
    """The newest runs that together have about the number of checks to be read."""
    chosen: list[int] = []
    left = _MOST_PROBES
    for run in found:
        if left <= 0:
            break
        chosen.append(run.id)
        left -= run.checked
    return chosen


def _with_spent(
    connection: DatabaseConnection, found: Sequence[RunEvidence], newest: Sequence[int]
) -> list[RunEvidence]:
    if not newest:
        return list(found)
    spent = select(checks.c.run_id, func.sum(checks.c.duration_us)).group_by(checks.c.run_id)
    rows = connection.execute(spent.where(checks.c.run_id.between(min(newest), max(newest)))).all()
    spent_us = {run_id: total or 0 for run_id, total in rows}
    return [replace(run, spent_ms=round(spent_us.get(run.id, 0) / 1000)) for run in found]


def _durations(connection: DatabaseConnection, run_ids: Sequence[int]) -> dict[str, list[float]]:
    if not run_ids:
        return {}
    trusted = probes.join(
        checks, (checks.c.server_id == probes.c.server_id) & (checks.c.run_id == probes.c.run_id) & ~checks.c.suspect
    )
    good = probes.c.run_id.between(min(run_ids), max(run_ids)) & probes.c.status.in_(("HEALTHY", "DEGRADED"))
    wanted = select(probes.c.kind, probes.c.duration_us).select_from(trusted).where(good)
    kinds, durations_us = columns_of(connection, wanted, 2)
    of_kind: dict[str, list[float]] = {kind: [] for kind in dict.fromkeys(kinds)}
    for kind, duration_us in zip(kinds, durations_us, strict=True):
        of_kind[kind].append(duration_us / 1000)
    return of_kind


def _retries(connection: DatabaseConnection, run_ids: Sequence[int]) -> list[RetryEvidence]:
    if not run_ids:
        return []
    again = (probes.c.attempts > 1) & (probes.c.status == "HEALTHY")
    retried = func.count(case((again, 1)))
    counted = (
        select(servers.c.name, probes.c.kind, func.count(), retried, func.max(probes.c.earlier_reasons))
        .join(servers, servers.c.id == probes.c.server_id)
        .where(probes.c.run_id.between(min(run_ids), max(run_ids)))
        .group_by(probes.c.server_id, probes.c.kind)
        .having(retried > 0)
    )
    return [
        RetryEvidence(
            server=server, kind=kind, probes=made, retried=good, reason=reason.split(",")[0] if reason else None
        )
        for server, kind, made, good, reason in connection.execute(counted)
    ]


def _series(connection: DatabaseConnection, first_run: int) -> list[SeriesEvidence]:
    found = []
    for server_id, name in connection.execute(select(servers.c.id, servers.c.name).order_by(servers.c.name)).all():
        # By the driver: a statement of SQLAlchemy's for each server would take longer than its rows.
        newest = connection.exec_driver_sql(_NEWEST_GOOD, (server_id, first_run, _SERIES))
        found.append(SeriesEvidence(server=name, durations_ms=[duration_us / 1000 for (duration_us,) in newest]))
    return found


_NEWEST_GOOD = """select duration_us from checks
    where server_id = ? and run_id >= ? and status = 'HEALTHY' and not suspect order by run_id desc limit ?"""
