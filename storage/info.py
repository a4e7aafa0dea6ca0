"""Facts about a database file and the SQLite library that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, select

from storage.driver import driver
from storage.sqlite import errors_of, reading_connection, wal_is_safe
from storage.tables import cache_entries, checks, contracts, probes, runs, servers

_COUNTED = (runs, servers, checks, probes, contracts, cache_entries)


def database_info(path: Path) -> dict[str, Any]:
    """Path, size in bytes, journal, library, schema version and rows by table; raises StorageError."""
    connection = reading_connection(path)
    try:
        with errors_of(path):
            counts = {f"rows_{table.name}": _count(connection, table) for table in _COUNTED}
            version = connection.execute("select max(version) from schema_migrations").fetchone()[0]
            journal = connection.execute("pragma journal_mode").fetchone()[0]
    finally:
        connection.close()
    library = driver()
    return {
        "path": str(path),
        "size_bytes": sum(part.stat().st_size for end in ("", "-wal") if (part := Path(f"{path}{end}")).exists()),
        "schema_version": version,
        "journal_mode": journal,
        "sqlite_version": library.sqlite_version,
        "sqlite_driver": library.__name__.partition(".")[0],
        "wal_is_safe": wal_is_safe(tuple(library.sqlite_version_info)),
        **counts,
    }


def _count(connection: Any, table: Table) -> int:
    return int(connection.execute(str(select(func.count()).select_from(table))).fetchone()[0])
