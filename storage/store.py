"""The sole writer: runs opened and closed, batches written whole, each in one transaction."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import orjson
import platformdirs
from sqlalchemy import Connection, Engine, Table, delete, func, select, update
from sqlalchemy.dialects import sqlite

from checker.errors import StorageError
from checker.measures import RunMeasures
from checker.model import Batch, CheckResult, McpFacts, ProbeResult, RunInfo, RunState, Server, Stages
from storage.contracts import Versions
from storage.schema import migrate
from storage.sqlite import errors_of, writing_engine
from storage.tables import (
    FACTS,
    cache_entries,
    checks,
    contracts,
    mcp_facts,
    probes,
    run_alerts,
    run_caches,
    run_pools,
    run_resources,
    run_workers,
    runs,
    servers,
)

_MOST_PARAMETERS = 500
_CHECK_FIELDS = tuple(field.name for field in fields(CheckResult) if field.name not in ("server", "probes"))
_PROBE_FIELDS = tuple(field.name for field in fields(ProbeResult) if field.name not in ("stages", "mcp"))
_STAGES = tuple(field.name for field in fields(Stages))


def default_path(environ: Mapping[str, str]) -> Path:
    """The database file where none is named: ``MCP_STATUS_DB``, else history.db in the user's data directory."""
    named = environ.get("MCP_STATUS_DB")
    return Path(named) if named else Path(platformdirs.user_data_dir("mcp-status-check")) / "history.db"


@contextmanager
def open_store(path: Path, *, wait_s: float = 60.0) -> Iterator[Store]:
    """The store in this file, made or brought up to date.

    While another process writes, each step waits up to ``wait_s`` and then raises StorageBusy. Raises StorageError
    where the file cannot be used.
    """
    engine = writing_engine(path, wait_s)
    try:
        with errors_of(path), engine.begin() as connection:
            migrate(connection, str(path))
        yield Store(engine, path)
    finally:
        engine.dispose()


class Store:
    """Writes to one database; used by one thread."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine, self.path = engine, path
        self._server_ids: dict[str, int] = {}
        self._facts_ids: dict[McpFacts, int] = {}
        self._versions = Versions()

    def begin_run(self, info: RunInfo, checked: Sequence[Server]) -> int:
        """Open a run and give its id. Runs whose process is gone without a word are marked abandoned."""
        with self._transaction() as connection:
            self._mark_abandoned(connection, info.host)
            insert = sqlite.insert(servers)
            rows = [
                {"name": one.name, "group_name": one.group, "tags": orjson.dumps(list(one.tags)).decode()}
                for one in checked
            ]
            newest = {"group_name": insert.excluded.group_name, "tags": insert.excluded.tags}
            if rows:
                connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=newest), rows)
            self._server_ids = {
                name: number for number, name in connection.execute(select(servers.c.id, servers.c.name))
            }
            self._versions.load(connection)
            values = {"state": RunState.RUNNING, **asdict(info)}
            number = connection.execute(runs.insert().values(values)).inserted_primary_key
        if number is None:
            raise StorageError(f"{self.path}: the run got no number")
        return int(number[0])

    def write(self, run_id: int, batch: Batch) -> int:
        """Write a batch whole; the number of checks that were not there before. A row that is there stays."""
        with self._transaction() as connection:
            rows = [self._check_row(run_id, check) for check in batch.checks]
            added = _insert_new(connection, checks, rows)
            probe_rows = [
                self._probe_row(connection, run_id, check.server, place, probe)
                for check in batch.checks
                for place, probe in enumerate(check.probes)
            ]
            _insert_new(connection, probes, probe_rows)
            _insert_new(connection, contracts, [asdict(one) for one in batch.contracts])
            self._note_contracts(connection, run_id, batch)
            if batch.cache_entries:
                insert = sqlite.insert(cache_entries)
                newer = {name: insert.excluded[name] for name in ("value", "created_at_ms", "expires_at_ms")}
                connection.execute(
                    insert.on_conflict_do_update(index_elements=["category", "key"], set_=newer),
                    [asdict(entry) for entry in batch.cache_entries],
                )
        return added

    def write_measures(self, run_id: int, measures: RunMeasures) -> None:
        """Write what the run measured of itself; a second time replaces the first."""
        resources = [measures.resources] if measures.resources else []
        kinds: tuple[tuple[Table, Sequence[Any]], ...] = (
            (run_workers, measures.workers),
            (run_pools, measures.pools),
            (run_caches, measures.caches),
            (run_resources, resources),
            (run_alerts, measures.alerts),
        )
        with self._transaction() as connection:
            for table, records in kinds:
                connection.execute(delete(table).where(table.c.run_id == run_id))
                if records:
                    connection.execute(table.insert(), [{"run_id": run_id, **asdict(one)} for one in records])

    def missing(self, run_id: int, names: Iterable[str]) -> list[str]:
        """Those of the names that have no check in the run."""
        with self._transaction() as connection:
            found = select(servers.c.name).join(checks, checks.c.server_id == servers.c.id)
            there = set(connection.scalars(found.where(checks.c.run_id == run_id)))
        return [name for name in names if name not in there]

    def finish_run(self, run_id: int, state: RunState, finished_at_ms: int) -> None:
        """Close a run, and drop cache entries that have expired."""
        with self._transaction() as connection:
            ended = {"state": state, "finished_at_ms": finished_at_ms}
            connection.execute(update(runs).where(runs.c.id == run_id).values(ended))
            connection.execute(delete(cache_entries).where(cache_entries.c.expires_at_ms <= finished_at_ms))

    def recall(self, keys: Iterable[str], now_ms: int) -> dict[str, dict[str, str]]:
        """What is remembered under these keys and has not expired: key -> category -> value."""
        recalled: dict[str, dict[str, str]] = {}
        wanted = sorted(keys)
        columns = select(cache_entries.c.key, cache_entries.c.category, cache_entries.c.value)
        with self._transaction() as connection:
            for start in range(0, len(wanted), _MOST_PARAMETERS):
                some = cache_entries.c.key.in_(wanted[start : start + _MOST_PARAMETERS])
                for key, category, value in connection.execute(
                    columns.where(some, cache_entries.c.expires_at_ms > now_ms)
                ):
                    recalled.setdefault(key, {})[category] = value
        return recalled

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """The one place where transactions are opened; raises StorageError and StorageBusy."""
        with errors_of(self.path), self._engine.begin() as connection:
            yield connection

    def _mark_abandoned(self, connection: Connection, host: str) -> None:
        running = select(runs.c.id, runs.c.pid).where(runs.c.state == RunState.RUNNING, runs.c.host == host)
        gone = [number for number, pid in connection.execute(running).all() if not _alive(pid)]
        if gone:
            connection.execute(update(runs).where(runs.c.id.in_(gone)).values(state=RunState.ABANDONED))

    def _check_row(self, run_id: int, check: CheckResult) -> dict[str, Any]:
        row = {name: getattr(check, name) for name in _CHECK_FIELDS}
        return {"server_id": self._server_ids[check.server], "run_id": run_id, **row}

    def _probe_row(
        self, connection: Connection, run_id: int, server: str, place: int, probe: ProbeResult
    ) -> dict[str, Any]:
        row = {name: getattr(probe, name) for name in _PROBE_FIELDS}
        row |= {name: getattr(probe.stages, name) for name in _STAGES}
        row |= {"server_id": self._server_ids[server], "run_id": run_id, "position": place}
        row["mcp_facts_id"] = None if probe.mcp is None else self._facts_id(connection, probe.mcp)
        return row

    def _note_contracts(self, connection: Connection, run_id: int, batch: Batch) -> None:
        for check in batch.checks:
            for probe in check.probes:
                if probe.mcp is not None and (digest := probe.mcp.contract_digest):
                    server_id = self._server_ids[check.server]
                    self._versions.note(connection, run_id, server_id, digest, probe.started_at_ms)

    def _facts_id(self, connection: Connection, facts: McpFacts) -> int:
        """The id of these facts, found or made."""
        known = self._facts_ids.get(facts)
        if known is None:
            values = {name: getattr(facts, name) for name in FACTS}
            mark = hashlib.sha256(orjson.dumps(values)).hexdigest()
            _insert_new(connection, mcp_facts, [{**values, "fingerprint": mark}])
            known = connection.scalar(select(mcp_facts.c.id).where(mcp_facts.c.fingerprint == mark))
            if known is None:
                raise StorageError(f"{self.path}: facts of an MCP server were not stored")
            self._facts_ids[facts] = known
        return known


def _insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose key is not there yet, and give their number."""
    if not rows:
        return 0
    before = connection.scalar(select(func.total_changes())) or 0
    connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
    return int((connection.scalar(select(func.total_changes())) or 0) - before)


def _alive(pid: int) -> bool:
    """Whether a process with this id runs on this machine; one of another user counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
