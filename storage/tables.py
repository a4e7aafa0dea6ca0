"""The tables of the database; users query the views in views.py instead."""

from __future__ import annotations

from typing import Any

from msgspec.structs import fields
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from checker.metrics import CacheMeasures, PoolMeasures, ResourceAlert, ResourceMeasures, WorkerMeasures
from checker.model import figures
from checker.probe_kinds import STAGES

metadata = MetaData()
_TYPE_OF: dict[type, Any] = {int: Integer, float: Float, str: Text, bool: Boolean}

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
    Column("objective_ratio", Float),
    Column("objective_window_ms", Integer),
    Column("config_path", Text),
    Column("environment", Text),
    Column("retired_at_ms", Integer),
)
"""Names are kept once; the rest is that of the server's newest run. ``tags`` is a JSON list.

``retired_at_ms`` is when a run of the configuration that it was in did not find it there any more.
"""

known_fleets = Table(
    "known_fleets",
    metadata,
    Column("config_path", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("servers_digest", Text, nullable=False),
    Column("ttl_ms", Integer),
    sqlite_with_rowid=False,
)
"""Servers that a run need not compare with those stored: their digest, as long as nothing has changed a server since.

Triggers (storage/known_fleets.py) empty it at any change of a server, or of what the results cache knows of one.
``ttl_ms`` is the lifetime that the results cache has for all of them, null if it was not told of them.
"""

urls = Table(
    "urls",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("url", Text, nullable=False, unique=True),
)
"""Addresses of probes, each stored once: in every row they would be a third of the file."""
_NAMED_BY = {"server_id": "servers.id", "run_id": "runs.id"}


def _raw_checks(name: str, *key: str) -> Table:
    """A table of checks in the order of ``key``: the two columns that together name a check."""
    return Table(
        name,
        metadata,
        *(Column(column, Integer, ForeignKey(_NAMED_BY[column]), primary_key=True) for column in key),
        Column("started_at_ms", Integer, nullable=False),
        Column("duration_us", Integer, nullable=False),
        Column("status", Text, nullable=False),
        Column("reason", Text),
        Column("detail", Text),
        Column("score", Float),
        Column("tries", Integer, nullable=False),
        Column("suspect", Boolean, nullable=False, server_default="0"),
        Column("maintenance", Boolean, nullable=False, server_default="0"),
        CheckConstraint("status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')", name="known_status"),
        sqlite_with_rowid=False,
    )


recent_checks = _raw_checks("recent_checks", "run_id", "server_id")
"""New checks in the order of their runs: they are appended, which costs the same however long the history is."""
sorted_checks = _raw_checks("sorted_checks", "server_id", "run_id")
"""All other checks, in the order of their servers: a server's history is read from a few pages.

Checks come here from ``recent_checks`` with their probes, a page of each server at a time (storage/server_order.py).
"""

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
"""Each combination of facts is stored once: a server repeats the same facts at every check."""


def _raw_probes(name: str, *key: str) -> Table:
    """A table of probes in the order of ``key``: the columns that together name a probe."""
    return Table(
        name,
        metadata,
        *(Column(column, Integer, ForeignKey(_NAMED_BY[column]), primary_key=True) for column in key),
        Column("kind", Text, primary_key=True),
        Column("position", Integer, nullable=False),
        Column("started_at_ms", Integer, nullable=False),
        Column("duration_us", Integer, nullable=False),
        Column("status", Text, nullable=False),
        Column("reason", Text),
        Column("detail", Text),
        Column("score", Float),
        Column("failed_stage", Text),
        Column("url_id", Integer, ForeignKey("urls.id")),
        Column("attempts", Integer, nullable=False),
        Column("earlier_reasons", Text),
        *(Column(f"{stage}_us", Integer) for stage in STAGES),
        *(Column(figure.name, _TYPE_OF[figure.type]) for figure in figures()),
        Column("mcp_facts_id", Integer, ForeignKey("mcp_facts.id")),
        Column("remarks", Text),
        CheckConstraint("status in ('HEALTHY', 'DEGRADED', 'UNHEALTHY', 'UNKNOWN')", name="known_status"),
        sqlite_with_rowid=False,
    )


recent_probes = _raw_probes("recent_probes", "run_id", "server_id")
"""The probes of ``recent_checks``."""
sorted_probes = _raw_probes("sorted_probes", "server_id", "run_id")
"""The probes of ``sorted_checks``.

``remarks`` is a JSON list of objects with name and detail; null where there are none. Each stage of a kind of probe has
a column; `storage.schema.migrate` adds those that a database has not yet.
"""

checks, probes = (
    Table(one.name.removeprefix("sorted_"), MetaData(), *(Column(column.name, column.type) for column in one.columns))
    for one in (sorted_checks, sorted_probes)
)
"""The views over both parts (storage/raw_rows.py), for reading only."""

contracts = Table(
    "contracts",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("contract_bytes", Integer),
    Column("document_bytes", Integer),
)
"""What MCP servers offer, as canonical JSON: each contract once, whoever has it.

``contract_bytes`` is what the server sent comes to; of a contract that is too large ``document``, whose length is
``document_bytes``, is the outline (checker/contract/outline.py).
"""

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
    *(Column(grade, Integer, nullable=False, server_default="0") for grade in ("breaking", "risky", "cosmetic")),
    CheckConstraint("grade in ('breaking', 'risky', 'cosmetic')", name="known_grade"),
    sqlite_with_rowid=False,
)
"""When a server's contract became another: version 1 is the first one seen, with no grade and no changes.

``changes`` is a JSON list of objects with kind, grade, item and detail, against the version before: at most 200, the
worst first. ``breaking``, ``risky`` and ``cosmetic`` count all of them.
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
"""``used_at_ms`` is the time a run last read the entry; the least recently used are evicted when a category is full."""

Table(
    "run_cached",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("server_id", Integer, ForeignKey("servers.id"), primary_key=True),
    Column("from_run_id", Integer, ForeignKey("runs.id"), nullable=False),
    sqlite_with_rowid=False,
)
"""Servers whose earlier result a run reused instead of checking them again: it is no sample of its own."""


def _measures(name: str, kind: Any, *keys: str) -> Table:
    """A table of a run's own measurements: one column for each field of the record."""
    columns = [
        Column(field.name, _TYPES[field.type], nullable=False, primary_key=field.name in keys) for field in fields(kind)
    ]
    run = Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True)
    return Table(name, metadata, run, *columns, sqlite_with_rowid=False)


_TYPES: dict[type, Any] = {int: Integer, float: Float, str: Text}

_measures("run_pools", PoolMeasures, "kind")
_measures("run_caches", CacheMeasures, "category")
run_workers = _measures("run_workers", WorkerMeasures, "worker", "pid")
_measures("run_resources", ResourceMeasures)
_measures("run_alerts", ResourceAlert, "at_ms", "resource", "level")

Table(
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
"""The circuit breaker of each server's probes with counted failures: as the newest run left it."""

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("server_id", Integer, ForeignKey("servers.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("stage", Text, nullable=False),
    UniqueConstraint("server_id", "kind", "stage", name="series_names"),
)
"""The series of buckets: ``kind`` is check or a probe kind; ``stage`` is total or a timed step of the probe."""


def _outcomes(name: str) -> Table:
    """Buckets of outcomes: number of checks or probes by outcome, and time in each state.

    ``slot`` counts hours or days from 1970 in UTC. The times describe the server, so only kind check has them.
    ``changes`` counts steps between up (HEALTHY, DEGRADED) and down. ``reasons`` is a JSON object: reason -> count.
    """
    states = ("healthy", "degraded", "unhealthy", "unknown", "maintenance")
    return Table(
        name,
        metadata,
        Column("series_id", Integer, ForeignKey("series.id"), primary_key=True),
        Column("slot", Integer, primary_key=True),
        *(Column(word, Integer, nullable=False) for word in (*states, "suspect")),
        *(Column(f"{word}_ms", Integer, nullable=False) for word in states),
        Column("changes", Integer, nullable=False),
        Column("reasons", Text),
        sqlite_with_rowid=False,
    )


def _latency(name: str) -> Table:
    """Buckets of durations of answered probes, each with its histogram (checker/stats/histogram.py)."""
    return Table(
        name,
        metadata,
        Column("series_id", Integer, ForeignKey("series.id"), primary_key=True),
        Column("slot", Integer, primary_key=True),
        Column("count", Integer, nullable=False),
        *(Column(f"{word}_us", Integer, nullable=False) for word in ("sum", "min", "max", "p50", "p95", "p99")),
        Column("histogram", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


hour_outcomes, day_outcomes = _outcomes("hour_outcomes"), _outcomes("day_outcomes")
hour_latency, day_latency = _latency("hour_latency"), _latency("day_latency")

incidents = Table(
    "incidents",
    metadata,
    Column("server_id", Integer, ForeignKey("servers.id"), primary_key=True),
    Column("started_at_ms", Integer, primary_key=True),
    Column("ended_at_ms", Integer),
    Column("reason", Text),
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("down_ms", "maintenance_ms", "down_until_ms")
    ),
    sqlite_with_rowid=False,
)
"""From the first UNHEALTHY check of a server, which gives the reason, to the next that was up; as far as rolled.

``down_ms`` and ``maintenance_ms`` are how long it was known to be down and under maintenance, ``down_until_ms`` is up
to when it was known to be down; the rest of the time is not known.
"""

rollup_state = Table(
    "rollup_state",
    metadata,
    Column("server_id", Integer, ForeignKey("servers.id"), primary_key=True),
    Column("rolled_until_ms", Integer, nullable=False),
    *(Column(f"{of}_{name}", Integer) for of in ("last", "base") for name in ("at_ms", "outcome", "known")),
    *(
        Column(f"{of}_{name}", Integer)
        for of in ("last", "base")
        for name in ("down_ms", "maintenance_ms", "down_until_ms")
    ),
    Column("last_rhythm", Text),
    Column("base_rhythm", Text),
    Column("hold_ms", Integer),
    sqlite_with_rowid=False,
)
"""How far each server is rolled, always a full hour, and what the next row is judged by.

``last_`` is of the newest rolled check, ``base_`` of the newest one that was pruned: when it was, its outcome, the last
outcome that said something of the server, the parts of the incident that was open then, and how far apart checks were
(a JSON list, storage/rollups/fold.py). ``hold_ms`` is how long the newest rolled check speaks.
"""

rollup_marks = Table(
    "rollup_marks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("first_run_id", Integer, nullable=False),
    Column("raw_from_ms", Integer, nullable=False),
    Column("sorted_before_run_id", Integer, nullable=False, server_default="0"),
)
"""One row. No run before ``first_run_id`` has rows that are not rolled; before ``raw_from_ms`` rows were pruned.

No run from ``sorted_before_run_id`` on has rows in ``sorted_checks``.
"""

Index("checks_by_run", sorted_checks.c.run_id)
Index("checks_by_time", sorted_checks.c.server_id, sorted_checks.c.started_at_ms)
Index("recent_checks_by_time", recent_checks.c.server_id, recent_checks.c.started_at_ms)
Index("rollup_state_by_time", rollup_state.c.rolled_until_ms)
Index("contract_versions_by_run", contract_versions.c.run_id)
Index("contract_versions_by_digest", contract_versions.c.digest)

Table(
    "schema_migrations",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("applied_at", Text, nullable=False),
)
