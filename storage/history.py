"""Read access to the history as frozen rows: runs, checks, probes, contracts, measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
from msgspec import Struct
from msgspec.structs import replace

from checker.errors import StorageError, UsageError
from checker.metrics import CacheMeasures, PoolMeasures, ResourceAlert, ResourceMeasures, RunMeasures, WorkerMeasures
from checker.model import McpFacts, ProbeResult, figures
from checker.probe_kinds import STAGES
from storage.connections import DatabaseConnection, errors_of, reading_connection, writing_connection
from storage.contracts import read_document
from storage.raw_parts import BOTH, NEWEST_TRUSTED, RawPart, in_both, in_part
from storage.remarks import remarks_of
from storage.rollups import watermarks
from storage.schema import NEWEST, migrate, missing_stages, version_of

Record = TypeVar("Record")


def measures_of(connection: DatabaseConnection, run_id: int) -> RunMeasures:
    """The measurements of a run; empty for a run that has not ended."""
    return measures_of_runs(connection, [run_id])[run_id]


def measures_of_runs(connection: DatabaseConnection, run_ids: Sequence[int]) -> dict[int, RunMeasures]:
    """Run id -> `measures_of`; five queries for all of these runs."""
    workers = _records(connection, run_ids, "run_workers", WorkerMeasures, "worker, pid")
    pools = _records(connection, run_ids, "run_pools", PoolMeasures, "kind")
    caches = _records(connection, run_ids, "run_caches", CacheMeasures, "category")
    resources = _records(connection, run_ids, "run_resources", ResourceMeasures)
    alerts = _alerts(connection, run_ids)
    return {
        one: RunMeasures(
            workers=tuple(workers.get(one, ())),
            pools=tuple(pools.get(one, ())),
            caches=tuple(caches.get(one, ())),
            resources=resources[one][0] if one in resources else None,
            alerts=tuple(alerts.get(one, ())),
        )
        for one in run_ids
    }


def _alerts(connection: DatabaseConnection, run_ids: Sequence[int]) -> dict[int, list[ResourceAlert]]:
    return _records(connection, run_ids, "run_alerts", ResourceAlert, "at_ms, resource, level")


def _records(
    connection: DatabaseConnection, run_ids: Sequence[int], table: str, kind: type[Record], order: str = "run_id"
) -> dict[int, list[Record]]:
    """The rows of each of these runs in this order; runs without any are left out."""
    of_kind: Any = kind
    names = of_kind.__struct_fields__
    places = ", ".join("?" * len(run_ids))
    found = f"select run_id, {', '.join(names)} from {table} where run_id in ({places}) order by {order}"  # noqa: S608 # our names
    records: dict[int, list[Record]] = {}
    for run_id, *values in connection.exec_driver_sql(found, tuple(run_ids)):
        records.setdefault(run_id, []).append(of_kind(**dict(zip(names, values, strict=True))))
    return records


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
_NEWEST_VERSIONS = """select v.server_id, v.version, v.seen_at_ms, v.grade from contract_versions v
    join (select server_id, max(version) as version from contract_versions group by server_id) n
    on n.server_id = v.server_id and n.version = v.version"""


class Newest(Struct, frozen=True):
    """The newest check of a server that can be trusted."""

    run_id: int
    at_ms: int
    status: str
    reason: str | None
    maintenance: bool


class OfferRow(Struct, frozen=True):
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


def newest_checks(connection: DatabaseConnection) -> dict[int, Newest]:
    """Newest check by server id, skipping suspect ones; one index lookup per server, however long the history."""
    return {
        server_id: Newest(run_id, at_ms, status, reason, bool(maintenance))
        for server_id, run_id, at_ms, status, reason, maintenance in connection.exec_driver_sql(_CHECKS)
    }


def newest_offers(connection: DatabaseConnection, found: dict[int, Newest]) -> dict[int, OfferRow]:
    """By server id, for servers with an MCP probe that answered in these checks, or with a contract."""
    facts = {server_id: told for server_id, *told in connection.exec_driver_sql(_OFFERS)}
    versions = {server_id: told for server_id, *told in connection.exec_driver_sql(_NEWEST_VERSIONS)}
    return {one: _offer(facts.get(one), versions.get(one)) for one in found if one in facts or one in versions}


def _offer(facts: list[Any] | None, version: list[Any] | None) -> OfferRow:
    number, since_ms, grade = version or (None, None, None)
    return OfferRow(
        **dict(zip(_FACTS, facts or [None] * len(_FACTS), strict=True)),
        contract_version=number,
        contract_since_ms=since_ms,
        contract_grade=grade,
    )


_WAIT_S = 10.0
_NEVER_MS = 1 << 62
_GRADES = ("breaking", "risky", "cosmetic")
_TRUTHS = tuple(figure.name for figure in figures() if figure.type is bool)
_STAGES = tuple((stage, f"{stage}_us") for stage in STAGES)
_PROBE_FIELDS = tuple(name for name in ProbeResult.__struct_fields__ if name not in ("stages_us", "mcp", "remarks"))


class CheckRow(Struct, frozen=True):
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


class RunRow(Struct, frozen=True):
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


class ContractRow(Struct, frozen=True):
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


class HistoryReader:
    """Read access to one database."""

    def __init__(self, connection: DatabaseConnection, path: Path) -> None:
        self._connection, self._path = connection, path

    def run(self, run_id: int) -> RunRow:
        """The run; raises UsageError if it does not exist."""
        with errors_of(self._path):
            row = self._connection.exec_driver_sql(_RUN, (run_id,)).first()
        if row is None:
            raise UsageError(f"{self._path}: no run {run_id}")
        return RunRow(*row)

    def checks_of_run(self, run_id: int) -> list[CheckRow]:
        """All checks of a run, including results reused from earlier runs, by server name."""
        own = self._checks("where c.run_id = :run", _PROBES_OF_RUN, {"run": run_id})
        return sorted([*own, *self._cached_checks(run_id)], key=lambda check: check.server)

    def checks_stored(self, run_id: int, servers: Sequence[str]) -> list[CheckRow]:
        """The checks that a run itself has made of these servers, as far as they are stored."""
        asked = {"run": run_id, "servers": orjson.dumps(servers).decode()}
        return self._checks(_OF_SERVERS.format(row="c"), _OF_SERVERS.format(row="p"), asked)

    def runs(self, limit: int) -> list[RunRow]:
        """The newest runs, newest first."""
        with errors_of(self._path):
            return [RunRow(*row) for row in self._connection.exec_driver_sql(_RUNS, (limit,))]

    def server_names(self) -> list[str]:
        """The names of all servers, in order."""
        with errors_of(self._path):
            return [str(name) for name in self._connection.exec_driver_sql(_NAMES).scalars()]

    def statuses_of_run(self, run_id: int) -> set[tuple[str, bool]]:
        """Statuses in a run, reused ones included, each with a flag for suspect.

        Servers under maintenance are left out.
        """
        with errors_of(self._path):
            return {
                (str(status), bool(suspect))
                for status, suspect in self._connection.exec_driver_sql(_STATUSES, {"run": run_id})
            }

    def _cached_checks(self, run_id: int) -> list[CheckRow]:
        """Checks that a run reused instead of checking again, each with its age."""
        run = self.run(run_id)
        if not run.servers_cached:
            return []
        found = self._checks(_REUSED.format(row="c"), _REUSED.format(row="p"), {"run": run_id})
        return [replace(one, cached_ms=max(0, run.started_at_ms - one.started_at_ms)) for one in found]

    def checks_of_server(
        self, server: str, since_ms: int, limit: int, *, until_ms: int = _NEVER_MS, problems: bool = False
    ) -> list[CheckRow]:
        """The checks of a server that began in this time, newest first, at most ``limit``; of problems, those alone.

        Raises UsageError if the server is unknown, suggesting similar names.
        """
        asked = {
            "server": self._server_id(server),
            "since_ms": since_ms,
            "until_ms": until_ms,
            "problems": int(problems),
            "limit": limit,
        }
        found = self._checks(_NEWEST_OF_SERVER, _PROBES_OF_NEWEST, asked)
        return sorted(found, key=lambda one: (one.started_at_ms, one.run_id), reverse=True)[:limit]

    def contracts_of_server(self, server: str) -> list[ContractRow]:
        """The versions of a server's contract, oldest first; raises UsageError if the server is unknown."""
        return self._contracts("where v.server_id = ? order by v.version", self._server_id(server))

    def drift_of_run(self, run_id: int) -> list[ContractRow]:
        """Versions that a run saw first and that differ from the one before, by server name."""
        return self._contracts("where v.run_id = ? and v.grade is not null order by s.name", run_id)

    def measures_of_run(self, run_id: int) -> RunMeasures:
        """Measurements that the run made of itself."""
        with errors_of(self._path):
            return measures_of(self._connection, run_id)

    def alerts_of_run(self, run_id: int) -> tuple[ResourceAlert, ...]:
        """Alerts that the run raised."""
        with errors_of(self._path):
            return tuple(_alerts(self._connection, [run_id]).get(run_id, ()))

    def is_behind(self, now_ms: int) -> bool:
        """True if an hour has ended that has no buckets yet."""
        with errors_of(self._path):
            return watermarks.is_behind(self._connection, now_ms)

    def _contracts(self, which: str, number: int) -> list[ContractRow]:
        with errors_of(self._path):
            return [
                ContractRow(
                    server=row["name"],
                    version=row["version"],
                    run_id=row["run_id"],
                    seen_at_ms=row["seen_at_ms"],
                    digest=row["digest"],
                    grade=row["grade"],
                    changes=tuple(orjson.loads(row["changes"])),
                    change_counts={grade: row[grade] for grade in _GRADES},
                    document=read_document(row["document"]),
                    contract_bytes=row["contract_bytes"],
                )
                for row in self._connection.exec_driver_sql(f"{_CONTRACTS} {which}", (number,)).mappings()
            ]

    def _server_id(self, server: str) -> int:
        with errors_of(self._path):
            server_id = self._connection.exec_driver_sql("select id from servers where name = ?", (server,)).scalar()
        if server_id is None:
            raise UsageError(f"{self._path}: no server {server!r}{self._alike(server)}")
        return int(server_id)

    def _checks(self, which: str, their_probes: str, asked: Mapping[str, Any]) -> list[CheckRow]:
        """The checks ``c`` that these words select, with those of the probes ``p`` that the others select."""
        with errors_of(self._path):
            return [one for part in BOTH for one in self._checks_of(part, which, their_probes, asked)]

    def _checks_of(self, part: RawPart, which: str, their_probes: str, asked: Mapping[str, Any]) -> Iterator[CheckRow]:
        by_check: dict[tuple[int, int], list[ProbeResult]] = {}
        found = in_part(part, f"{_PROBES} {their_probes} order by p.position")
        for row in self._connection.exec_driver_sql(found, asked).mappings():
            by_check.setdefault((row["server_id"], row["run_id"]), []).append(_probe(row))
        for server_id, tags, suspect, maintenance, *others in self._connection.exec_driver_sql(
            in_part(part, f"{_CHECKS_WITH_SERVERS} {which}"), asked
        ):
            told = dict(zip(_CHECK_FIELDS, others, strict=True))
            yield CheckRow(
                **told,
                tags=tuple(orjson.loads(tags)),
                suspect=bool(suspect),
                maintenance=bool(maintenance),
                probes=tuple(by_check.get((server_id, told["run_id"]), ())),
            )

    def _alike(self, server: str) -> str:
        names = self._connection.exec_driver_sql("select name from servers").scalars()
        from difflib import get_close_matches

        close = get_close_matches(server, names, n=3)
        if close:
            return f"; did you mean {', '.join(map(repr, close))}?"
        return "; it has none yet, run `mcp-status check` first" if not names else ""


@contextmanager
def open_history(path: Path) -> Iterator[HistoryReader]:
    """The history in this file, read-only; raises StorageError if there is none."""
    with reading(path) as connection:
        yield HistoryReader(connection, path)


@contextmanager
def reading(path: Path) -> Iterator[DatabaseConnection]:
    """A read-only connection to the history in this file; raises StorageError if there is none of a known format.

    A file that was written by an older version of this program, or with fewer kinds of probes, is migrated first.
    """
    connection = DatabaseConnection(reading_connection(path))
    try:
        with errors_of(path):
            version = version_of(connection, str(path))
            if not version:
                raise StorageError(f"{path}: holds no history; `mcp-status check --db {path}` begins one")
            if version < NEWEST or missing_stages(connection):
                with writing_connection(path, _WAIT_S) as writing, writing.begin():
                    migrate(writing, str(path))
            yield connection
    finally:
        connection.close()


_RUN = f"select {', '.join(RunRow.__struct_fields__)} from runs where id = ?"  # noqa: S608 # our names
_RUNS = f"select {', '.join(RunRow.__struct_fields__)} from runs order by id desc limit ?"  # noqa: S608 # our names
_NAMES = "select name from servers order by name"
_CONTRACTS = """select v.*, s.name, d.document, d.contract_bytes from contract_versions v
    join servers s on s.id = v.server_id left join contracts d on d.digest = v.digest"""
_CHECK_FIELDS = (
    "run_id",
    "started_at_ms",
    "duration_us",
    "status",
    "reason",
    "detail",
    "score",
    "tries",
    "server",
    "group",
)
"""Those of a `CheckRow` that are columns as they are, and its server's name and group."""
_CHECKS_WITH_SERVERS = f"""select c.server_id, s.tags, c.suspect, c.maintenance,
    {", ".join(f"c.{name}" for name in _CHECK_FIELDS[:-2])}, s.name, s.group_name
    from {{checks}} c join servers s on s.id = c.server_id"""  # noqa: S608 # our names
_PROBES = f"""select p.*, u.url, {", ".join(f"f.{name} as mcp_{name}" for name in McpFacts.__struct_fields__)}
    from {{probes}} p left join mcp_facts f on f.id = p.mcp_facts_id left join urls u on u.id = p.url_id"""  # noqa: S608
_PROBES_OF_RUN = "join {checks} c on c.server_id = p.server_id and c.run_id = p.run_id where c.run_id = :run"
"""By the checks, which have an index of runs."""
_OF_SERVERS = """where {row}.run_id = :run and {row}.server_id in (
    select id from servers where name in (select value from json_each(:servers)))"""
"""The words that select rows of checks or probes of some servers in a run."""
_REUSED = (
    """join run_cached r on r.server_id = {row}.server_id and r.from_run_id = {row}.run_id where r.run_id = :run"""
)
"""The words that select rows of checks or probes that a run took from an earlier one."""
_STATUSES = in_both(
    f"""select c.status, c.suspect from {{checks}} c where c.run_id = :run and not c.maintenance
    union select c.status, c.suspect from {{checks}} c {_REUSED.format(row="c")} and not c.maintenance"""  # noqa: S608
)
_NEWEST_OF_SERVER = """where c.server_id = :server and c.started_at_ms >= :since_ms and c.started_at_ms < :until_ms
    and (:problems = 0 or c.status <> 'HEALTHY')
    order by c.started_at_ms desc, c.run_id desc limit :limit"""
_PROBES_OF_NEWEST = f"""where p.server_id = :server and p.run_id in (
    select c.run_id from {{checks}} c {_NEWEST_OF_SERVER})"""  # noqa: S608 # our words


def _probe(row: Mapping[str, Any]) -> ProbeResult:
    facts = None
    if row["mcp_facts_id"] is not None:
        facts = McpFacts(**{name: row[f"mcp_{name}"] for name in McpFacts.__struct_fields__})
    given = {name: row[name] for name in _PROBE_FIELDS}
    for name in _TRUTHS:
        if given[name] is not None:
            given[name] = bool(given[name])
    return ProbeResult(
        **given,
        stages_us={stage: spent for stage, name in _STAGES if (spent := row[name]) is not None},
        mcp=facts,
        remarks=remarks_of(row["remarks"]),
    )
