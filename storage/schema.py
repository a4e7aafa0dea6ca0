"""The steps that bring an older database up to date.

A new column takes a field in checker/model.py or checker/measures.py, a column in storage/tables.py, and a step at
the end of `MIGRATIONS`; one of load tests only the field in checker/bench/results.py and the step. Released steps are
never edited.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from sqlalchemy import Connection, func, inspect, select, text

from checker.bench.results import plan_digest
from checker.errors import StorageError
from storage.schema_5 import BENCHMARKS
from storage.schema_7 import KNOWN_TIME
from storage.tables import metadata, rollup_marks, schema_migrations
from storage.views import VIEWS

_VERSION_3 = (
    """create table run_cached (
        run_id integer not null, server_id integer not null, from_run_id integer not null, primary key
        (run_id, server_id), foreign key(run_id) references runs (id), foreign key(server_id) references
        servers (id), foreign key(from_run_id) references runs (id)
    ) without rowid""",
    """create table run_pools (
        run_id integer not null, kind text not null, created integer not null, reused integer not null,
        closed_by_peer integer not null, evicted integer not null, waits integer not null, wait_us integer
        not null, longest_wait_us integer not null, most_in_use integer not null, most_open integer not
        null, idle integer not null, in_use integer not null, tls_handshakes integer not null, tls_resumed
        integer not null, primary key (run_id, kind), foreign key(run_id) references runs (id)
    ) without rowid""",
    """create table run_caches (
        run_id integer not null, category text not null, hits integer not null, misses integer not null,
        stale_hits integer not null, evicted integer not null, entries integer not null, primary key
        (run_id, category), foreign key(run_id) references runs (id)
    ) without rowid""",
    """create table run_workers (
        run_id integer not null, worker integer not null, pid integer not null, checks integer not null,
        suspect_checks integer not null, cpu_ms integer not null, peak_memory_bytes integer not null,
        lag_p99_us integer not null, longest_lag_us integer not null, most_at_once integer not null,
        concurrency_at_end integer not null,
        ports_at_busiest_origin integer not null, primary key (run_id, worker, pid), foreign key(run_id)
        references runs (id)
    ) without rowid""",
    """create table run_resources (
        run_id integer not null, samples integer not null, warnings integer not null, most_cpu_percent float
        not null, most_machine_cpu_percent float not null, most_memory_bytes integer not null,
        most_machine_memory_percent float not null, most_descriptors_percent float not null,
        most_ports_percent float not null, closed_ms integer not null, most_waiting integer not null,
        longest_wait_ms integer not null, dropped integer not null, primary key (run_id), foreign
        key(run_id) references runs (id)
    ) without rowid""",
    """create table run_alerts (
        run_id integer not null, at_ms integer not null, resource text not null, level text not null, value
        float not null, threshold float not null, detail text not null, primary key (run_id, at_ms,
        resource, level), foreign key(run_id) references runs (id)
    ) without rowid""",
    """create table breakers (
        server_id integer not null, kind text not null, state text not null, failures integer not null,
        successes integer not null, since_ms integer not null, retry_at_ms integer, reason text, primary key
        (server_id, kind), constraint known_state check (state in ('closed', 'open', 'half_open')), foreign
        key(server_id) references servers (id)
    ) without rowid""",
)

_OUTCOMES = """(
        series_id integer not null, slot integer not null, healthy integer not null, degraded integer not null,
        unhealthy integer not null, unknown integer not null, maintenance integer not null, suspect integer not
        null, healthy_ms integer not null, degraded_ms integer not null, unhealthy_ms integer not null,
        unknown_ms integer not null, maintenance_ms integer not null, changes integer not null, reasons text,
        primary key (series_id, slot), foreign key(series_id) references series (id)
    ) without rowid"""
_LATENCY = """(
        series_id integer not null, slot integer not null, count integer not null, sum_us integer not null,
        min_us integer not null, max_us integer not null, p50_us integer not null, p95_us integer not null,
        p99_us integer not null, histogram blob not null, primary key (series_id, slot), foreign key(series_id)
        references series (id)
    ) without rowid"""
_VERSION_4 = (
    "create table urls (id integer not null primary key, url text not null unique)",
    "insert into urls (url) select distinct url from probes where url is not null",
    "alter table probes add column url_id integer references urls (id)",
    "update probes set url_id = (select id from urls where urls.url = probes.url)",
    "alter table probes drop column url",
    "drop index if exists probes_by_run",  # a run's probes are found through its checks
    "alter table checks add column maintenance boolean not null default '0'",
    "alter table servers add column objective_ratio float",
    """create table series (
        id integer not null primary key, server_id integer not null, kind text not null, stage text not null,
        constraint series_names unique (server_id, kind, stage), foreign key(server_id) references servers (id)
    )""",
    *(f"create table {slot}_outcomes {_OUTCOMES}" for slot in ("hour", "day")),
    *(f"create table {slot}_latency {_LATENCY}" for slot in ("hour", "day")),
    """create table incidents (
        server_id integer not null, started_at_ms integer not null, ended_at_ms integer, reason text,
        primary key (server_id, started_at_ms), foreign key(server_id) references servers (id)
    ) without rowid""",
    """create table rollup_state (
        server_id integer not null, rolled_until_ms integer not null, last_at_ms integer, last_gap_ms integer,
        last_outcome integer, last_known integer, base_at_ms integer, base_gap_ms integer, base_outcome integer,
        base_known integer, primary key (server_id), foreign key(server_id) references servers (id)
    ) without rowid""",
    """create table rollup_marks (
        id integer not null primary key, first_run_id integer not null, raw_from_ms integer not null
    )""",
    "insert into rollup_state (server_id, rolled_until_ms) select id, 0 from servers",
    "insert into rollup_marks (id, first_run_id, raw_from_ms) values (1, 0, 0)",
)


def _contracts(connection: Connection) -> None:
    """Version 2: contracts in place of tool lists, which the next run brings again; transports, stages, stderr."""
    connection.exec_driver_sql("drop table tool_snapshots")
    _drop_views(connection)
    for column in ("auth_us", "start_us", "call_us"):
        connection.exec_driver_sql(f"alter table probes add column {column} integer")
    connection.exec_driver_sql("alter table probes add column stderr_tail text")
    for column in ("transport text", "resource_count integer", "template_count integer", "prompt_count integer"):
        connection.exec_driver_sql(f"alter table mcp_facts add column {column}")
    for column in ("contract_digest text", "tools_tokens integer"):
        connection.exec_driver_sql(f"alter table mcp_facts add column {column}")
    connection.exec_driver_sql("create table contracts (digest text not null primary key, document text not null)")
    connection.exec_driver_sql(
        """create table contract_versions (
            server_id integer not null references servers (id),
            version integer not null,
            run_id integer not null references runs (id),
            seen_at_ms integer not null,
            digest text not null,
            grade text constraint known_grade check (grade in ('breaking', 'risky', 'cosmetic')),
            changes text not null,
            primary key (server_id, version)
        ) without rowid"""
    )
    connection.exec_driver_sql("create index contract_versions_by_run on contract_versions (run_id)")


def _drop_views(connection: Connection) -> None:
    """Drop all views, which are made anew: one that names a missing column stops "alter table"."""
    for view in connection.execute(text("select name from sqlite_master where type = 'view'")).scalars().all():
        connection.exec_driver_sql(f"drop view {view}")


def _measures(connection: Connection) -> None:
    """Version 3: what a run measures of itself, suspect results, results taken from an earlier run, breakers."""
    _drop_views(connection)
    connection.exec_driver_sql("alter table checks add column suspect boolean not null default '0'")
    connection.exec_driver_sql("alter table runs add column servers_cached integer not null default '0'")
    connection.exec_driver_sql("alter table cache_entries add column used_at_ms integer not null default '0'")
    for statement in _VERSION_3:
        connection.exec_driver_sql(statement)


def _rollups(connection: Connection) -> None:
    """Version 4: hour and day buckets, incidents, maintenance, objectives; addresses once instead of in every row."""
    _drop_views(connection)
    for statement in _VERSION_4:
        connection.exec_driver_sql(statement)


def _benchmarks(connection: Connection) -> None:
    """Version 5: load tests."""
    for statement in BENCHMARKS:
        connection.exec_driver_sql(statement)


def _sizes(connection: Connection) -> None:
    """Version 6: what contracts take, how many changes a version has of each grade."""
    _drop_views(connection)
    for column in ("contract_bytes integer", "document_bytes integer"):
        connection.exec_driver_sql(f"alter table contracts add column {column}")
    connection.exec_driver_sql("update contracts set document_bytes = length(cast(document as blob))")
    connection.exec_driver_sql("update contracts set contract_bytes = document_bytes")
    for grade in ("breaking", "risky", "cosmetic"):
        connection.exec_driver_sql(f"alter table contract_versions add column {grade} integer not null default '0'")
        counted = f"(select count(*) from json_each(changes) where json_extract(value, '$.grade') = '{grade}')"  # noqa: S608 # our words
        connection.exec_driver_sql(f"update contract_versions set {grade} = {counted}")  # noqa: S608 # our words
    connection.exec_driver_sql("create index contract_versions_by_digest on contract_versions (digest)")


def _remarks(connection: Connection) -> None:
    """Version 7: remarks of probes; the windows of objectives."""
    _drop_views(connection)
    connection.exec_driver_sql("alter table servers add column objective_window_ms integer")
    connection.exec_driver_sql("alter table probes add column remarks text")


def _digests(connection: Connection) -> None:
    """Version 7, too: a plan's digest is of the load alone, so that another output folder begins no new trend."""
    for run_id, plan in connection.exec_driver_sql("select id, plan from bench_runs").all():
        digest = plan_digest(orjson.loads(plan))
        connection.exec_driver_sql("update bench_runs set plan_digest = ? where id = ?", (digest, run_id))


def _truth(connection: Connection) -> None:
    """Version 7."""
    _remarks(connection)
    _digests(connection)
    for table in ("bench_slots", "bench_summaries"):
        connection.exec_driver_sql(f"alter table {table} add column resent integer not null default '0'")
    connection.exec_driver_sql("alter table bench_health add column starved_us integer not null default '0'")
    for column in ("paced", "paced_us", "program_waits", "program_wait_us"):
        connection.exec_driver_sql(f"alter table run_pools add column {column} integer not null default '0'")
    for statement in KNOWN_TIME:
        connection.exec_driver_sql(statement)


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_contracts, _measures, _rollups, _benchmarks, _sizes, _truth)
"""Step n brings a database from version n to version n + 1; a new database is made as the tables above stand."""

NEWEST = 1 + len(MIGRATIONS)
"""The version that this program writes."""


def migrate(connection: Connection, path: str) -> None:
    """Bring the database up to date inside the caller's transaction.

    Raises StorageError for a database of another program or of a newer version of this one.
    """
    if not inspect(connection).has_table("schema_migrations"):
        if inspect(connection).get_table_names():
            raise StorageError(f"{path}: a SQLite database of another program; use another file with --db")
        metadata.create_all(connection)
        connection.execute(rollup_marks.insert().values(id=1, first_run_id=0, raw_from_ms=0))
        _record(connection, NEWEST)
    version = connection.scalar(select(func.max(schema_migrations.c.version))) or 0
    if version > NEWEST:
        raise StorageError(
            f"{path}: made by a newer version of mcp-status-check (schema {version}, this program knows "
            f"{NEWEST}); upgrade the program, or use another file with --db"
        )
    for number, step in enumerate(MIGRATIONS[version - 1 :], version + 1):
        step(connection)
        _record(connection, number)
    _refresh_views(connection)


def _record(connection: Connection, version: int) -> None:
    connection.execute(schema_migrations.insert().values(version=version, applied_at=func.datetime("now")))


def _refresh_views(connection: Connection) -> None:
    """Make the views anew where they are not as this program has them: they hold no data."""
    wanted = {view.name: f"CREATE VIEW {view.name} as {view.select}" for view in VIEWS}
    stored = text("select name, sql from sqlite_master where type = 'view'")
    present = {str(name): str(sql) for name, sql in connection.execute(stored)}
    if all(present.get(name) == sql for name, sql in wanted.items()):
        return
    for name, sql in wanted.items():
        connection.exec_driver_sql(f"drop view if exists {name}")
        connection.exec_driver_sql(sql)
