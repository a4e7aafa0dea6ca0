"""Tables and the steps that bring an older database up to date; what users query are the views in views.py.

A new column takes a field in checker/model.py, a column in its table here, and a step at the end of `MIGRATIONS`.
Released steps are never edited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    inspect,
    select,
    text,
)

from checker.errors import StorageError
from checker.model import McpFacts, Stages
from storage.views import VIEWS

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("started_at_ms", Integer, nullable=False),
    Column("finished_at_ms", Integer),
    Column("servers_expected", Integer, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("config_path", Text),
    Column("environment", Text),
    Column("checker_version", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    sqlite_autoincrement=True,  # the id of a pruned run must not come back
)

servers = Table(
    "servers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("group_name", Text, nullable=False),
    Column("tags", Text, nullable=False),
)
"""Names are kept once; group and tags are those of the server's newest run. ``tags`` is a JSON list."""

checks = Table(
    "checks",
    metadata,
    Column("server_id", Integer, ForeignKey("servers.id"), primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("started_at_ms", Integer, nullable=False),
    Column("duration_us", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("score", Float),
    Column("tries", Integer, nullable=False),
    CheckConstraint("status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')", name="known_status"),
    sqlite_with_rowid=False,
)
"""The key leads with the server: a server's history lies together and its latest check is found at once."""

mcp_facts = Table(
    "mcp_facts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("era", Text),
    Column("transport", Text),
    Column("protocol_version", Text),
    Column("server_name", Text),
    Column("server_version", Text),
    Column("capabilities", Text),
    Column("tool_count", Integer),
    Column("resource_count", Integer),
    Column("template_count", Integer),
    Column("prompt_count", Integer),
    Column("tools_digest", Text),
    Column("contract_digest", Text),
    Column("tools_bytes", Integer),
    Column("tools_tokens", Integer),
    Column("fingerprint", Text, nullable=False),
    UniqueConstraint("fingerprint", name="mcp_facts_fingerprint"),
)
"""Each combination of facts once: a server says the same of itself every minute."""

probes = Table(
    "probes",
    metadata,
    Column("server_id", Integer, ForeignKey("servers.id"), primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("started_at_ms", Integer, nullable=False),
    Column("duration_us", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("score", Float),
    Column("failed_stage", Text),
    Column("url", Text),
    Column("attempts", Integer, nullable=False),
    Column("earlier_reasons", Text),
    *(Column(stage.name, Integer) for stage in fields(Stages)),
    Column("http_status", Integer),
    Column("received_bytes", Integer),
    Column("connections_opened", Integer),
    Column("reused", Boolean),
    Column("redirects", Integer),
    Column("certificate_expires_at_ms", Integer),
    Column("auth_metadata_url", Text),
    Column("retry_after_s", Integer),
    Column("sessions_opened", Integer),
    Column("sessions_closed", Integer),
    Column("stderr_tail", Text),
    Column("mcp_facts_id", Integer, ForeignKey("mcp_facts.id")),
    CheckConstraint("status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')", name="known_status"),
    sqlite_with_rowid=False,
)

contracts = Table(
    "contracts",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("document", Text, nullable=False),
)
"""What MCP servers offer, as canonical JSON: each contract once, whoever has it."""

contract_versions = Table(
    "contract_versions",
    metadata,
    Column("server_id", Integer, ForeignKey("servers.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("run_id", Integer, ForeignKey("runs.id"), nullable=False),
    Column("seen_at_ms", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("grade", Text),
    Column("changes", Text, nullable=False),
    CheckConstraint("grade in ('breaking', 'risky', 'cosmetic')", name="known_grade"),
    sqlite_with_rowid=False,
)
"""When a server's contract became another: version 1 is the first one seen, with no grade and no changes.

``changes`` is a JSON list of objects with kind, grade, item and detail, against the version before.
"""

cache_entries = Table(
    "cache_entries",
    metadata,
    Column("category", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("created_at_ms", Integer, nullable=False),
    Column("expires_at_ms", Integer, nullable=False),
    sqlite_with_rowid=False,
)

Index("checks_by_run", checks.c.run_id)
Index("contract_versions_by_run", contract_versions.c.run_id)
Index("probes_by_run", probes.c.run_id)

schema_migrations = Table(
    "schema_migrations",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("applied_at", Text, nullable=False),
)

FACTS = tuple(field.name for field in fields(McpFacts))


def _contracts(connection: Connection) -> None:
    """Version 2: contracts in place of tool lists, which the next run brings again; transports, stages, stderr."""
    connection.exec_driver_sql("drop table tool_snapshots")
    for view in connection.execute(text("select name from sqlite_master where type = 'view'")).scalars().all():
        connection.exec_driver_sql(f"drop view {view}")  # one that names a missing column stops "alter table"
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


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_contracts,)
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
