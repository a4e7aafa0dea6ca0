"""Maintenance of the database file: information, returning free pages, online backup, integrity check."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, select

from checker.errors import StorageError, UsageError
from storage.connections import errors_of, reading_connection, wal_is_safe
from storage.history import reading
from storage.loadtests.tables import bench_runs, bench_slots
from storage.raw_parts import FIRST_CHECK_MS
from storage.sqlite_driver import driver
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
"""Tables whose rows are counted, and both views over parts."""
_DROPPED = {
    "contracts_as_outline": "select count(*) from contracts where document_bytes < contract_bytes",
    "contract_versions_not_kept": """select coalesce(sum(gone), 0) from (
        select max(version) - count(*) as gone from contract_versions group by server_id)""",
}
"""Contracts and versions that are not stored in full (storage/contracts.py)."""
_SPANS = {
    "checks_since": FIRST_CHECK_MS,
    "hours_since": "select min(slot) * 3600000 from hour_outcomes",
    "days_since": "select min(slot) * 86400000 from day_outcomes",
    "rolled_until": "select min(rolled_until_ms) from rollup_state",
}
"""Start of the rows of each kind, and the time up to which all servers are rolled; null without rows."""


def database_info(path: Path) -> dict[str, Any]:
    """Path, size in bytes, journal mode, library, schema version, rows by table and their time range.

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


_WAIT_S = 60.0
_PAGES_AT_ONCE = 2000
_COPIED_AT_ONCE = 10_000
_INCREMENTAL = 2


def vacuumed(path: Path, full: bool) -> tuple[int, int]:
    """Return free pages to the disk; returns the size of the file in bytes before and after.

    Works in small steps, so that others can write in between; ``full`` rewrites the whole file instead. After a full
    vacuum, a file that another program copied without incremental vacuum support can be vacuumed in steps, too. Raises
    StorageError and StorageBusy.
    """
    before = path.stat().st_size
    with errors_of(path), closing(driver().connect(str(path), timeout=_WAIT_S, isolation_level=None)) as connection:
        in_parts = connection.execute("pragma auto_vacuum").fetchone()[0] == _INCREMENTAL
        if full or not in_parts:
            if not full:
                raise UsageError(f"{path}: has no room for vacuuming in parts; add --full, this once")
            connection.execute("pragma auto_vacuum = incremental")
            connection.execute("vacuum")
        else:
            while connection.execute("pragma freelist_count").fetchone()[0]:
                connection.execute(f"pragma incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    return before, path.stat().st_size


def give_back(path: Path, most_bytes: int) -> None:
    """Return free pages to the disk in small steps, until the file is no larger than this or has none left.

    A file that was created without incremental vacuum support stays as it is. Raises StorageError and StorageBusy.
    """
    if _bytes_of(path) <= most_bytes:
        return
    with errors_of(path), closing(driver().connect(str(path), timeout=_WAIT_S, isolation_level=None)) as connection:
        if connection.execute("pragma auto_vacuum").fetchone()[0] != _INCREMENTAL:
            return
        page_bytes = connection.execute("pragma page_size").fetchone()[0]
        while connection.execute("pragma freelist_count").fetchone()[0]:
            if connection.execute("pragma page_count").fetchone()[0] * page_bytes <= most_bytes:
                break
            connection.execute(f"pragma incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()


def _bytes_of(path: Path) -> int:
    """Size of the database file and its log."""
    return sum(part.stat().st_size for end in ("", "-wal") if (part := Path(f"{path}{end}")).exists())


def backed_up(path: Path, target: Path, force: bool, note: Callable[[int, int], None]) -> int:
    """Copy the database with SQLite's online backup; returns the size of the copy in bytes.

    ``note`` is called with the pages copied so far and the total. Raises UsageError if the target exists, and
    StorageError.
    """
    if target.exists() and not force:
        raise UsageError(f"{target}: is there already; name another file, or replace it with --force")
    if target.exists() and target.samefile(path):
        raise UsageError(f"{target}: is the database itself; name another file")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent}: no such folder; make it, or name another file")
    part = target.with_name(f".{target.name}.part")
    try:
        with closing(reading_connection(path)) as source, errors_of(part):
            part.touch(mode=0o600)
            with closing(driver().connect(str(part))) as copy:
                source.backup(copy, pages=_COPIED_AT_ONCE, progress=lambda _, left, total: note(total - left, total))
        os.replace(part, target)
    except OSError as error:
        raise StorageError(f"{target}: {error.strerror}; name another file") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return target.stat().st_size


def faults(path: Path, quick: bool) -> list[str]:
    """Problems that SQLite finds in the file; ``quick`` skips comparing indexes with rows."""
    with errors_of(path), closing(reading_connection(path)) as connection:
        check = "quick_check" if quick else "integrity_check"
        found = [str(row[0]) for row in connection.execute(f"pragma {check}")]
        if quick or found != ["ok"]:
            return [text for text in found if text != "ok"]
        rows = connection.execute("pragma foreign_key_check").fetchall()
        return [f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there" for row in rows[:100]]
