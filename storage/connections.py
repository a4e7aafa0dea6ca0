"""Connections to the SQLite file: choice of library and journal mode, and errors translated for the user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from checker.errors import StorageBusy, StorageError
from storage.sqlite_driver import driver

_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6
_FIXED_IN = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
"""Releases without the race that corrupts a WAL file written over two connections (sqlite.org/wal.html)."""

_CACHE_KIB = 8 * 1024
"""Pages that a writer keeps: those of a large step, which it would write out and read again."""


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """True if this version of SQLite can safely use a write-ahead log with several connections."""
    return version >= _FIXED_IN[0] or any(fixed <= version < (*fixed[:2], 99) for fixed in _FIXED_IN[1:])


def writing_engine(path: Path, wait_s: float) -> Engine:
    """An engine with one connection whose transactions take the write lock at once; creates the file.

    Raises StorageError if the file cannot be created or opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; name another file with --db") from None
    binding = driver()
    engine = create_engine(
        "sqlite://",
        module=binding,
        creator=lambda: binding.connect(str(path), timeout=wait_s, isolation_level=None, check_same_thread=False),
        poolclass=StaticPool,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        journal = "wal" if wal_is_safe(tuple(binding.sqlite_version_info)) else "delete"
        connection.execute("pragma auto_vacuum = incremental")  # of a new file; of another `db vacuum --full` sets it
        connection.execute(f"pragma journal_mode = {journal}")
        connection.execute("pragma synchronous = normal")
        connection.execute(f"pragma cache_size = -{_CACHE_KIB}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("begin immediate")

    return engine


def reading_connection(path: Path) -> Any:
    """A read-only connection of the driver; raises StorageError if there is no database."""
    if not path.exists():
        raise StorageError(
            f"{path}: no such database; `mcp-status check` makes one, --db or MCP_STATUS_DB names another"
        )
    binding = driver()
    if not path.is_file() or not os.access(path, os.R_OK):
        raise StorageError(f"{path}: not a readable file; name another one with --db")
    log = Path(f"{path}-wal")
    # Opening a WAL database makes its -shm file. Where the folder forbids that and there is no log, the file is all.
    frozen = not os.access(path.parent, os.W_OK) and not log.exists()
    mode = "mode=ro&immutable=1" if frozen else "mode=ro"
    with errors_of(path):
        connection = binding.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True, timeout=10.0)
        connection.execute("pragma query_only = on")
        connection.execute("select count(*) from sqlite_master").fetchone()
    return connection


def reading_engine(path: Path) -> Engine:
    """An engine over one read-only connection; raises StorageError if there is no database."""
    connection = reading_connection(path)
    return create_engine("sqlite://", module=driver(), creator=lambda: connection, poolclass=StaticPool)


def _is_busy(error: BaseException | None, said: str) -> bool:
    """True if another connection holds the database; the word alone is no proof, since a column may be named busy."""
    code = getattr(error, "sqlite_errorcode", None)
    return "is locked" in said if code is None else code & 0xFF in (_SQLITE_BUSY, _SQLITE_LOCKED)


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Translate SQLite's errors into ours: one message with the file and the remedy."""
    try:
        yield
    except (DatabaseError, driver().Error) as error:
        original = error.orig if isinstance(error, DatabaseError) else error
        said = str(original)
        if _is_busy(original, said):
            raise StorageBusy(
                f"{path}: another process has been writing to it for too long; nothing of this step was stored. "
                "Wait for that process to end, or use another file with --db"
            ) from None
        if "not a database" in said or "malformed" in said:
            raise StorageError(f"{path}: not a SQLite database, or damaged; use another file with --db") from None
        if "full" in said and isinstance(error, OperationalError | driver().OperationalError):
            raise StorageError(f"{path}: the disk is full; free some space, or use another file with --db") from None
        if "readonly" in said or "unable to open" in said:
            raise StorageError(f"{path}: cannot be written ({said}); name another file with --db") from None
        raise StorageError(f"{path}: {said}") from None
