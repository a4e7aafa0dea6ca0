"""The tables of the database; what users query are the views in views.py."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from checker.measures import CacheMeasures, PoolMeasures, ResourceAlert, ResourceMeasures, WorkerMeasures
from checker.model import McpFacts, Stages

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("started_at_ms", Integer, nullable=False),
    Column("finished_at_ms", Integer),
    Column("servers_expected", Integer, nullable=False),
    Column("servers_cached", Integer, nullable=False, server_default="0"),
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
    Column("suspect", Boolean, nullable=False, server_default="0"),
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
    Column("used_at_ms", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
"""``used_at_ms`` is when a run last read the entry; those unused for longest go when a category is full."""

run_cached = Table(
    "run_cached",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("server_id", Integer, ForeignKey("servers.id"), primary_key=True),
    Column("from_run_id", Integer, ForeignKey("runs.id"), nullable=False),
    sqlite_with_rowid=False,
)
"""The servers whose earlier result a run took instead of checking them again: no sample of their own."""


def _measures(name: str, kind: Any, *keys: str) -> Table:
    """A table of a run's own measures: a column for each field of the record."""
    columns = [
        Column(field.name, _TYPES[str(field.type)], nullable=False, primary_key=field.name in keys)
        for field in fields(kind)
    ]
    run = Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True)
    return Table(name, metadata, run, *columns, sqlite_with_rowid=False)


_TYPES: dict[str, Any] = {"int": Integer, "float": Float, "str": Text}

run_pools = _measures("run_pools", PoolMeasures, "kind")
run_caches = _measures("run_caches", CacheMeasures, "category")
run_workers = _measures("run_workers", WorkerMeasures, "worker", "pid")
run_resources = _measures("run_resources", ResourceMeasures)
run_alerts = _measures("run_alerts", ResourceAlert, "at_ms", "resource", "level")

breakers = Table(
    "breakers",
    metadata,
    Column("server_id", Integer, ForeignKey("servers.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("successes", Integer, nullable=False),
    Column("since_ms", Integer, nullable=False),
    Column("retry_at_ms", Integer),
    Column("reason", Text),
    CheckConstraint("state in ('closed', 'open', 'half_open')", name="known_state"),
    sqlite_with_rowid=False,
)
"""The circuit breaker of each server's probes, where one has counted failures: as the newest run left it."""

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
