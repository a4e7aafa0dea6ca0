"""Facts about a database file and the SQLite library that reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, select

from storage.bench.tables import bench_runs, bench_slots
from storage.driver import driver
from storage.queries import reading
from storage.sqlite import errors_of, reading_connection, wal_is_safe
from storage.tables import (
    cache_entries,
    checks,
    contract_versions,
    contracts,
    day_outcomes,
    hour_outcomes,
    incidents,
    probes,
    runs,
    servers,
)

_COUNTED = (
    *(runs, servers, checks, probes, hour_outcomes, day_outcomes, incidents, contracts, contract_versions),
    *(cache_entries, bench_runs, bench_slots),
)
_DROPPED = {
    "contracts_as_outline": "select count(*) from contracts where document_bytes < contract_bytes",
    "contract_versions_not_kept": """select coalesce(sum(gone), 0) from (
        select max(version) - count(*) as gone from contract_versions group by server_id)""",
}
"""What servers have offered that was too much to be kept (storage/contracts.py)."""
_SPANS = {
    "checks_since": "select min(started_at_ms) from checks where run_id = (select min(run_id) from checks)",
    "hours_since": "select min(slot) * 3600000 from hour_outcomes",
    "days_since": "select min(slot) * 86400000 from day_outcomes",
    "rolled_until": "select min(rolled_until_ms) from rollup_state",
}
"""From when rows of each kind are there, and up to when all servers are rolled; null where there are none."""


def database_info(path: Path) -> dict[str, Any]:
    """Path, size in bytes, journal, library, schema version, rows by table and from when they are.

    Raises StorageError.
    """
    with reading(path):  # which brings a file of an older version up to date
        pass
    connection = reading_connection(path)
    try:
        with errors_of(path):
            counts = {f"rows_{table.name}": _count(connection, table) for table in _COUNTED}
            dropped = {name: int(connection.execute(query).fetchone()[0]) for name, query in _DROPPED.items()}
            version = connection.execute("select max(version) from schema_migrations").fetchone()[0]
            spans = {name: _time(connection.execute(query).fetchone()[0]) for name, query in _SPANS.items()}
            pages, free, page_bytes = (
                connection.execute(f"pragma {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            journal = connection.execute("pragma journal_mode").fetchone()[0]
    finally:
        connection.close()
    library = driver()
    return {
        "path": str(path),
        "size_bytes": sum(part.stat().st_size for end in ("", "-wal") if (part := Path(f"{path}{end}")).exists()),
        "rows_bytes": (pages - free) * page_bytes,
        "schema_version": version,
        "journal_mode": journal,
        "sqlite_version": library.sqlite_version,
        "sqlite_driver": library.__name__.partition(".")[0],
        "wal_is_safe": wal_is_safe(tuple(library.sqlite_version_info)),
        **counts,
        **dropped,
        **spans,
    }


def _count(connection: Any, table: Table) -> int:
    return int(connection.execute(str(select(func.count()).select_from(table))).fetchone()[0])


def _time(at_ms: int | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    return None if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
