"""Read access to the history as frozen rows: runs, checks, probes, contracts, measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import ColumnElement, CompoundSelect, Connection, Row, Select, Table, and_, func, select, text

from checker.errors import StorageError, UsageError
from checker.metrics import CacheMeasures, PoolMeasures, ResourceAlert, ResourceMeasures, RunMeasures, WorkerMeasures
from checker.model import McpFacts, ProbeResult
from checker.probe_kinds import STAGES
from storage.connections import errors_of, reading_engine, writing_engine
from storage.contracts import read_document
from storage.raw_parts import BOTH, NEWEST_TRUSTED, RawPart, in_both
from storage.remarks import remarks_of
from storage.rollups import watermarks
from storage.schema import NEWEST, migrate, missing_stages, version_of
from storage.tables import (
    FACTS,
    contract_versions,
    contracts,
    mcp_facts,
    run_alerts,
    run_cached,
    run_caches,
    run_pools,
    run_resources,
    run_workers,
    runs,
    servers,
    urls,
)

Record = TypeVar("Record")


def measures_of(connection: Connection, run_id: int) -> RunMeasures:
    """The measurements of a run; empty for a run that has not ended."""
    resources = _records(connection, run_id, run_resources, ResourceMeasures)
    return RunMeasures(
        workers=_records(connection, run_id, run_workers, WorkerMeasures),
        pools=_records(connection, run_id, run_pools, PoolMeasures),
        caches=_records(connection, run_id, run_caches, CacheMeasures),
        resources=resources[0] if resources else None,
        alerts=_records(connection, run_id, run_alerts, ResourceAlert),
    )


def _records(connection: Connection, run_id: int, table: Table, kind: type[Record]) -> tuple[Record, ...]:
    of_kind: Any = kind
    columns = [table.c[name] for name in of_kind.__struct_fields__]
    found = select(*columns).where(table.c.run_id == run_id).order_by(*table.primary_key.columns)
    return tuple(kind(**row._mapping) for row in connection.execute(found))


_FACTS = (
    "server_name",
    "server_version",
    "protocol_version",
    "era",
    "transport",
    "tool_count",
    "resource_count",
    "template_count",
    "prompt_count",
)
# Cross joins: SQLite takes servers first, and does not read through all checks to find the newest of each.
_CHECKS = in_both(
    f"""select c.server_id, c.run_id, c.started_at_ms, c.status, c.reason, c.maintenance
    from servers s cross join {{checks}} c on c.server_id = s.id and c.run_id = {NEWEST_TRUSTED}"""  # noqa: S608
)
_OFFERS = in_both(
    f"""select p.server_id, {", ".join(f"f.{name}" for name in _FACTS)}
    from servers s cross join {{probes}} p on p.server_id = s.id and p.run_id = {NEWEST_TRUSTED}
    join mcp_facts f on f.id = p.mcp_facts_id"""  # noqa: S608 # our names
)


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest check of a server that can be trusted."""

    run_id: int
    at_ms: int
    status: str
    reason: str | None
    maintenance: bool


@dataclass(frozen=True, slots=True)
class OfferRow:
    """Facts that an MCP server stated in that check, and the number of its contract version."""

    server_name: str | None
    server_version: str | None
    protocol_version: str | None
    era: str | None
    transport: str | None
    tool_count: int | None
    resource_count: int | None
    template_count: int | None
    prompt_count: int | None
    contract_version: int | None
    contract_since_ms: int | None
    contract_grade: str | None
    """Worst grade of its changes; None for the first version."""


def newest_checks(connection: Connection) -> dict[int, Newest]:
    """Newest check by server id, skipping suspect ones; one index lookup per server, however long the history."""
    return {
        row.server_id: Newest(row.run_id, row.started_at_ms, row.status, row.reason, bool(row.maintenance))
        for row in connection.execute(text(_CHECKS))
    }


def newest_offers(connection: Connection, found: dict[int, Newest]) -> dict[int, OfferRow]:
    """By server id, for servers with an MCP probe that answered in these checks, or with a contract."""
    facts = {row.server_id: row for row in connection.execute(text(_OFFERS))}
    number = func.max(contract_versions.c.version).label("version")
    newest = select(contract_versions.c.server_id, number).group_by(contract_versions.c.server_id).subquery()
    same = and_(
        contract_versions.c.server_id == newest.c.server_id,
        contract_versions.c.version == newest.c.version,
    )
    versions = {row.server_id: row for row in connection.execute(select(contract_versions).join(newest, same))}
    return {one: _offer(facts.get(one), versions.get(one)) for one in found if one in facts or one in versions}


def _offer(facts: Row[tuple[object, ...]] | None, version: Row[tuple[object, ...]] | None) -> OfferRow:
    told = {name: None if facts is None else getattr(facts, name) for name in _FACTS}
    return OfferRow(
        **told,
        contract_version=None if version is None else version.version,
        contract_since_ms=None if version is None else version.seen_at_ms,
        contract_grade=None if version is None else version.grade,
    )


_WAIT_S = 10.0
_GRADES = ("breaking", "risky", "cosmetic")
_STAGES = tuple((stage, f"{stage}_us") for stage in STAGES)
_PROBE_FIELDS = tuple(name for name in ProbeResult.__struct_fields__ if name not in ("stages_us", "mcp", "remarks"))


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A stored check with its probes in configured order."""

    run_id: int
    server: str
    group: str
    tags: tuple[str, ...]
    status: str
    reason: str | None
    detail: str | None
    score: float | None
    started_at_ms: int
    duration_us: int
    tries: int
    probes: tuple[ProbeResult, ...]
    suspect: bool = False
    """True if its worker was too late for its times to be trusted: the check does not count."""
    maintenance: bool = False
    """True if it was made under maintenance: the check does not count."""
    cached_ms: int | None = None
    """Age of the result when a run reused it from an earlier one, ``run_id``; None if the run made it itself."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A stored run."""

    id: int
    state: str
    started_at_ms: int
    finished_at_ms: int | None
    servers_expected: int
    servers_cached: int
    workers: int
    concurrency: int
    config_path: str | None
    environment: str | None
    checker_version: str
    host: str


@dataclass(frozen=True, slots=True)
class ContractRow:
    """A version of an MCP server's contract."""

    server: str
    version: int
    run_id: int
    seen_at_ms: int
    digest: str
    grade: str | None
    """Worst grade of the changes; None for the first version."""
    changes: tuple[dict[str, str], ...]
    """Each with kind, grade, item and detail: at most 200, worst first."""
    change_counts: Mapping[str, int]
    """Number of changes of each grade."""
    document: dict[str, Any]
    """The contract, or its outline if it is too large; empty if it is not stored."""
    contract_bytes: int | None
    """Digest of the contract's canonical text, whether or not all of it is stored."""


class History:
    """Read access to one database."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    def run(self, run_id: int) -> RunRow:
        """The run; raises UsageError if it does not exist."""
        with errors_of(self._path):
            columns = [runs.c[field.name] for field in fields(RunRow)]
            row = self._connection.execute(select(*columns).where(runs.c.id == run_id)).one_or_none()
        if row is None:
            raise UsageError(f"{self._path}: no run {run_id}")
        return RunRow(*row)

    def checks_of_run(self, run_id: int) -> list[CheckRow]:
        """All checks of a run, including results reused from earlier runs, by server name."""
        own = [
            row
            for part in BOTH
            for row in self._checks(
                _checks_of(part).where(part.checks.c.run_id == run_id),
                _probes_of(part).join(part.checks, _same(part)).where(part.checks.c.run_id == run_id),
            )
        ]
        return sorted([*own, *self._cached_checks(run_id)], key=lambda check: check.server)

    def statuses_of_run(self, run_id: int) -> set[tuple[str, bool]]:
        """Statuses in a run, reused ones included, each with a flag for suspect.

        Servers under maintenance are left out.
        """
        with errors_of(self._path):
            return {
                (str(status), bool(suspect))
                for part in BOTH
                for status, suspect in self._connection.execute(_statuses_of(part.checks, run_id))
            }

    def _cached_checks(self, run_id: int) -> list[CheckRow]:
        """Checks that a run reused instead of checking again, each with its age."""
        run = self.run(run_id)
        if not run.servers_cached:
            return []
        taken = run_cached.c.run_id == run_id
        found = [
            row
            for part in BOTH
            for row in self._checks(
                _checks_of(part).join(run_cached, _reused(part.checks)).where(taken),
                _probes_of(part).join(run_cached, _reused(part.probes)).where(taken),
            )
        ]
        return [replace(one, cached_ms=max(0, run.started_at_ms - one.started_at_ms)) for one in found]

    def checks_of_server(self, server: str, since_ms: int, limit: int) -> list[CheckRow]:
        """The checks of a server that began at or after ``since_ms``, newest first, at most ``limit``.

        Raises UsageError if the server is unknown, suggesting similar names.
        """
        server_id = self._server_id(server)
        found = []
        for part in BOTH:
            of_part, their_probes = part.checks.c, part.probes.c
            by_time = (of_part.started_at_ms.desc(), of_part.run_id.desc())
            wanted = _checks_of(part).where(of_part.server_id == server_id, of_part.started_at_ms >= since_ms)
            newest = wanted.order_by(*by_time).limit(limit)
            kept = newest.with_only_columns(of_part.run_id).order_by(None).order_by(*by_time).subquery()
            of_these = _probes_of(part).where(
                their_probes.server_id == server_id, their_probes.run_id.in_(select(kept))
            )
            found += self._checks(newest, of_these)
        return sorted(found, key=lambda one: (one.started_at_ms, one.run_id), reverse=True)[:limit]

    def contracts_of_server(self, server: str) -> list[ContractRow]:
        """The versions of a server's contract, oldest first; raises UsageError if the server is unknown."""
        found = _CONTRACT_SELECT.where(contract_versions.c.server_id == self._server_id(server))
        return self._contracts(found.order_by(contract_versions.c.version))

    def drift_of_run(self, run_id: int) -> list[ContractRow]:
        """Versions that a run saw first and that differ from the one before, by server name."""
        found = _CONTRACT_SELECT.where(contract_versions.c.run_id == run_id, contract_versions.c.grade.is_not(None))
        return self._contracts(found.order_by(servers.c.name))

    def measures_of_run(self, run_id: int) -> RunMeasures:
        """Measurements that the run made of itself."""
        with errors_of(self._path):
            return measures_of(self._connection, run_id)

    def alerts_of_run(self, run_id: int) -> tuple[ResourceAlert, ...]:
        """Alerts that the run raised."""
        with errors_of(self._path):
            return _records(self._connection, run_id, run_alerts, ResourceAlert)

    def is_behind(self, now_ms: int) -> bool:
        """True if an hour has ended that has no buckets yet."""
        with errors_of(self._path):
            return watermarks.is_behind(self._connection, now_ms)

    def _contracts(self, found: Select[Any]) -> list[ContractRow]:
        with errors_of(self._path):
            return [
                ContractRow(
                    server=row.name,
                    version=row.version,
                    run_id=row.run_id,
                    seen_at_ms=row.seen_at_ms,
                    digest=row.digest,
                    grade=row.grade,
                    changes=tuple(orjson.loads(row.changes)),
                    change_counts={grade: getattr(row, grade) for grade in _GRADES},
                    document=read_document(row.document),
                    contract_bytes=row.contract_bytes,
                )
                for row in self._connection.execute(found)
            ]

    def _server_id(self, server: str) -> int:
        with errors_of(self._path):
            server_id = self._connection.scalar(select(servers.c.id).where(servers.c.name == server))
        if server_id is None:
            raise UsageError(f"{self._path}: no server {server!r}{self._alike(server)}")
        return int(server_id)

    def _checks(self, found: Select[Any], their_probes: Select[Any]) -> list[CheckRow]:
        with errors_of(self._path):
            by_check: dict[tuple[int, int], list[ProbeResult]] = {}
            for row in self._connection.execute(their_probes.order_by(text("position"))):
                by_check.setdefault((row.server_id, row.run_id), []).append(_probe(row))
            return [
                CheckRow(
                    run_id=row.run_id,
                    server=row.name,
                    group=row.group_name,
                    tags=tuple(orjson.loads(row.tags)),
                    status=row.status,
                    reason=row.reason,
                    detail=row.detail,
                    score=row.score,
                    started_at_ms=row.started_at_ms,
                    duration_us=row.duration_us,
                    tries=row.tries,
                    suspect=row.suspect,
                    maintenance=row.maintenance,
                    probes=tuple(by_check.get((row.server_id, row.run_id), ())),
                )
                for row in self._connection.execute(found)
            ]

    def _alike(self, server: str) -> str:
        names = list(self._connection.scalars(select(servers.c.name)))
        from difflib import get_close_matches

        close = get_close_matches(server, names, n=3)
        if close:
            return f"; did you mean {', '.join(map(repr, close))}?"
        return "; it has none yet, run `mcp-status check` first" if not names else ""


@contextmanager
def open_history(path: Path) -> Iterator[History]:
    """The history in this file, read-only; raises StorageError if there is none."""
    with reading(path) as connection:
        yield History(connection, path)


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """A read-only connection to the history in this file; raises StorageError if there is none of a known format.

    A file that was written by an older version of this program, or with fewer kinds of probes, is migrated first.
    """
    engine = reading_engine(path)
    try:
        with errors_of(path):
            with engine.connect() as connection:
                version = version_of(connection, str(path))
                lacks_stages = bool(version and missing_stages(connection))
            if not version:
                raise StorageError(f"{path}: holds no history; `mcp-status check --db {path}` begins one")
            if version < NEWEST or lacks_stages:
                with writing_engine(path, _WAIT_S).begin() as connection:
                    migrate(connection, str(path))
            with engine.connect() as connection:
                yield connection
    finally:
        engine.dispose()


_CONTRACT_SELECT = (
    select(contract_versions, servers.c.name, contracts.c.document, contracts.c.contract_bytes)
    .join(servers, servers.c.id == contract_versions.c.server_id)
    .outerjoin(contracts, contracts.c.digest == contract_versions.c.digest)
)


def _checks_of(part: RawPart) -> Select[Any]:
    """The checks of a part, with their servers."""
    of_server = select(part.checks, servers.c.name, servers.c.group_name, servers.c.tags)
    return of_server.join(servers, servers.c.id == part.checks.c.server_id)


def _probes_of(part: RawPart) -> Select[Any]:
    """The probes of a part, with their addresses and facts."""
    return (
        select(part.probes, urls.c.url, *(mcp_facts.c[name].label(f"mcp_{name}") for name in FACTS))
        .outerjoin(mcp_facts, mcp_facts.c.id == part.probes.c.mcp_facts_id)
        .outerjoin(urls, urls.c.id == part.probes.c.url_id)
    )


def _same(part: RawPart) -> ColumnElement[bool]:
    """Condition that a probe is of the check."""
    same_server = part.checks.c.server_id == part.probes.c.server_id
    return and_(same_server, part.checks.c.run_id == part.probes.c.run_id)


def _reused(rows: Table) -> ColumnElement[bool]:
    """Condition that these rows are those that a run reused."""
    return and_(run_cached.c.server_id == rows.c.server_id, run_cached.c.from_run_id == rows.c.run_id)


def _statuses_of(checks: Table, run_id: int) -> CompoundSelect[Any]:
    counted = checks.c.maintenance.is_(False)
    found = select(checks.c.status, checks.c.suspect).where(counted)
    cached = found.join(run_cached, _reused(checks)).where(run_cached.c.run_id == run_id)
    return found.where(checks.c.run_id == run_id).union(cached)


def _probe(row: Row[Any]) -> ProbeResult:
    columns = row._mapping
    facts = None
    if row.mcp_facts_id is not None:
        facts = McpFacts(**{name: columns[f"mcp_{name}"] for name in FACTS})
    return ProbeResult(
        **{name: columns[name] for name in _PROBE_FIELDS},
        stages_us={stage: spent for stage, name in _STAGES if (spent := columns[name]) is not None},
        mcp=facts,
        remarks=remarks_of(row.remarks),
    )
