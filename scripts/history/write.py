"""The made-up fleet into a database: raw rows of the newest checks, buckets of all of them."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from history.fleet import DAY_MS, Server, make
from history.samples import CHECK_COLUMNS, KINDS, PROBE_COLUMNS, check_rows, probe_rows, sample
from msgspec.structs import replace
from sqlalchemy import insert, select, text, update

from checker.model import McpFacts, RunInfo, RunState
from checker.model import Server as Checked
from storage import tables
from storage.connections import DatabaseConnection, writing_connection
from storage.retention import DETAIL_HOURS_MS
from storage.rollups.check_interval import Rhythm
from storage.rollups.raw_rows import Checks, Probes
from storage.rollups.read_states import states_of
from storage.rollups.roll import fold_rows
from storage.rollups.states import save_states
from storage.rollups.watermarks import DAY_HOURS, HOUR_MS
from storage.rows import insert_rows
from storage.store import open_store

_SERVERS_AT_ONCE = 50
_RUN_MS = 4000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to write."""

    servers: int
    days: int
    rows: int
    """Raw rows of probes."""
    interval_s: int
    """Between the runs whose raw rows are there."""
    older_interval_s: int
    """Between the runs before."""
    seed: int


def write(path: Path, plan: Plan) -> None:
    """Write the history; the same for the same plan and the same day."""
    end_ms = time.time_ns() // 60_000_000_000 * 60_000
    start_ms = (end_ms - plan.days * DAY_MS) // DAY_MS * DAY_MS
    rng = np.random.default_rng(plan.seed)
    fleet = make(plan.servers, start_ms, end_ms, rng)
    with open_store(path) as store:
        nothing = RunInfo(started_at_ms=start_ms, servers_expected=0, workers=2, concurrency=500)
        checked = [
            Checked(name=one.name, probes={}, group=one.group, tags=one.tags, objective=one.objective) for one in fleet
        ]
        store.finish_run(store.begin_run(nothing, checked), RunState.FINISHED, start_ms)
    with writing_connection(path, 60.0) as connection:
        connection.exec_driver_sql("pragma synchronous = off")  # a file that was cut short is made again
        connection.exec_driver_sql("pragma cache_size = -500000")
        _Writer(connection, plan, fleet, start_ms, end_ms, rng).write()


class _Writer:
    def __init__(
        self,
        connection: DatabaseConnection,
        plan: Plan,
        fleet: Sequence[Server],
        start_ms: int,
        end_ms: int,
        rng: np.random.Generator,
    ) -> None:
        self._connection, self._plan, self._fleet, self._rng = connection, plan, fleet, rng
        self._start_ms, self._end_ms = start_ms, end_ms
        step_ms, per_run = plan.interval_s * 1000, plan.servers * len(KINDS)
        raw_from_ms = max(start_ms, end_ms - plan.rows // per_run * step_ms)
        self._raw_starts = np.arange(raw_from_ms, end_ms, step_ms)
        self._raw_from_ms = raw_from_ms

    def write(self) -> None:
        with self._connection.begin() as connection:
            rows = connection.execute(select(tables.servers.c.name, tables.servers.c.id))
            self._ids = {row.name: row.id for row in rows}
            self._write_runs(connection)
            self._urls = self._write_urls(connection)
            self._write_facts(connection)
        for low in range(0, len(self._fleet), _SERVERS_AT_ONCE):
            servers = self._fleet[low : low + _SERVERS_AT_ONCE]
            for day_ms in range(self._start_ms, self._end_ms, DAY_MS):
                with self._connection.begin() as connection:
                    self._write_day(connection, servers, day_ms)
            with self._connection.begin() as connection:
                self._drop_details(connection, [self._ids[one.name] for one in servers])
            _note(low + len(servers), len(self._fleet))
        with self._connection.begin() as connection:
            self._mark(connection)

    def _write_runs(self, connection: DatabaseConnection) -> None:
        names = ("id", "state", "started_at_ms", "finished_at_ms", "servers_expected", "workers", "concurrency",
                 "checker_version", "host", "pid")  # fmt: skip
        rows = [
            (number, "finished", at_ms, at_ms + _RUN_MS, len(self._fleet), 2, 500, "0.1.0", "here", 1)
            for number, at_ms in enumerate(self._raw_starts.tolist(), 2)
        ]
        insert_rows(connection, tables.runs.name, names, rows)

    def _write_urls(self, connection: DatabaseConnection) -> dict[tuple[int, str], int]:
        places = [(one, kind) for one in self._fleet for kind in KINDS]
        rows = [(number, f"https://{one.name}.example.net/{kind}") for number, (one, kind) in enumerate(places, 1)]
        insert_rows(connection, tables.urls.name, ("id", "url"), rows)
        return {(self._ids[one.name], kind): number for number, (one, kind) in enumerate(places, 1)}

    def _write_facts(self, connection: DatabaseConnection) -> None:
        """What each server says of itself; the id of the facts is the server's."""
        for server in self._ids.values():
            tools = 3 + server * 7 % 40
            facts = McpFacts(
                era="session",
                transport="streamable-http",
                protocol_version="2025-11-25",
                server_name="demo",
                server_version=f"1.{server % 5}.0",
                capabilities="{}",
                tool_count=tools,
                tools_digest=f"{server:064x}",
                contract_digest=f"{server:064x}",
                tools_bytes=tools * 420,
                tools_tokens=tools * 105,
            )
            values = {name: getattr(facts, name) for name in McpFacts.__struct_fields__}
            connection.execute(insert(tables.mcp_facts).values(id=server, fingerprint=str(server), **values))

    def _write_day(self, connection: DatabaseConnection, servers: Sequence[Server], from_ms: int) -> None:
        """A day of some servers: its buckets, and its rows where they are new enough."""
        until_ms = min(from_ms + DAY_MS, self._end_ms)
        older = np.arange(from_ms, min(until_ms, self._raw_from_ms), self._plan.older_interval_s * 1000)
        newer = self._raw_starts[(self._raw_starts >= from_ms) & (self._raw_starts < until_ms)]
        starts = np.concatenate((older, newer))
        runs = np.searchsorted(self._raw_starts, starts) + 2
        ids = [self._ids[one.name] for one in servers]
        checks, probes = sample(servers, ids, starts, runs, self._rng)
        raw, raw_probes = _only(checks, probes, checks.at_ms >= self._raw_from_ms)
        _insert(connection, "sorted_checks", CHECK_COLUMNS, check_rows(raw, raw_probes))
        _insert(connection, "sorted_probes", PROBE_COLUMNS, probe_rows(raw, raw_probes, self._urls))
        rolled_ms = min(until_ms, self._end_ms // HOUR_MS * HOUR_MS)
        if rolled_ms > from_ms:
            rolled, rolled_probes = _only(checks, probes, checks.at_ms < rolled_ms)
            fold_rows(connection, states_of(connection, ids), rolled, rolled_probes, rolled_ms)

    def _drop_details(self, connection: DatabaseConnection, servers: Sequence[int]) -> None:
        slot = (self._end_ms - DETAIL_HOURS_MS) // DAY_MS * DAY_HOURS
        of_servers = tables.series.c.server_id.in_(servers)
        for table, of_series in (
            ("hour_latency", tables.series.c.stage != "total"),
            ("hour_outcomes", tables.series.c.kind != "check"),
        ):
            for number in connection.scalars(select(tables.series.c.id).where(of_servers, of_series)).all():
                values = {"series": number, "slot": slot}
                connection.execute(text(f"delete from {table} where series_id = :series and slot < :slot"), values)

    def _mark(self, connection: DatabaseConnection) -> None:
        """Say from when on raw rows are there, and that what was before them is not known."""
        kept_ms = -(-self._raw_from_ms // DAY_MS) * DAY_MS
        unrolled = int(np.searchsorted(self._raw_starts, self._end_ms // HOUR_MS * HOUR_MS - HOUR_MS)) + 2
        newest = len(self._raw_starts) + 2
        marks = {"first_run_id": unrolled, "raw_from_ms": kept_ms, "sorted_before_run_id": newest}
        connection.execute(update(tables.rollup_marks).values(marks))
        states = states_of(connection, None)
        none, zero = np.full(len(states.server), -1), np.zeros(len(states.server), np.int64)
        forgotten = {"at_ms": none, "outcome": none, "known": none, "rhythm": [Rhythm()] * len(none)}
        parts = dict.fromkeys(("down_ms", "maintenance_ms", "down_until_ms"), zero)
        save_states(connection, replace(states, **forgotten, **parts), "base")


def _only(checks: Checks, probes: Probes, kept: Any) -> tuple[Checks, Probes]:
    """Only these checks, and their probes."""
    place, own = np.cumsum(kept) - 1, kept[probes.check]
    columns = ("server", "run", "at_ms", "outcome", "reason")
    some = replace(checks, **{name: getattr(checks, name)[kept] for name in columns})
    parts = {name: getattr(probes, name)[own] for name in ("kind", "outcome", "reason", "times_us")}
    return some, replace(probes, check=place[probes.check[own]], **parts)


def _insert(connection: DatabaseConnection, table: str, columns: str, rows: Iterator[tuple[Any, ...]]) -> None:
    places = ", ".join("?" * (columns.count(",") + 1))
    cursor = connection.of_driver.cursor()
    cursor.executemany(f"insert into {table} ({columns}) values ({places})", rows)


def _note(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} servers", end="" if done < total else "\n", file=sys.stderr, flush=True)
