"""Connections to the SQLite file: choice of library and journal mode, and errors translated for the user."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload
from urllib.parse import quote

from checker.errors import StorageBusy, StorageError
from storage.sqlite_driver import driver

if TYPE_CHECKING:
    from sqlalchemy import Connection as OfSqlAlchemy
    from sqlalchemy import CursorResult, Executable, ScalarResult
    from sqlalchemy.sql.selectable import TypedReturnsRows

Value = TypeVar("Value")
Row = TypeVarTuple("Row")
Parameters = Sequence[Any] | Mapping[str, Any]

_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6
_FIXED_IN = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
"""Releases without the race that corrupts a WAL file written over two connections (sqlite.org/wal.html)."""

_CACHE_KIB = 8 * 1024
"""Pages that a writer keeps: those of a large step, which it would write out and read again."""


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """True if this version of SQLite can safely use a write-ahead log with several connections."""
    return version >= _FIXED_IN[0] or any(fixed <= version < (*fixed[:2], 99) for fixed in _FIXED_IN[1:])


class FoundRows:
    """What a statement of the driver gave: rows as tuples, and how many it changed."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.rowcount: int = cursor.rowcount
        self.lastrowid: int = cursor.lastrowid

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor)

    def all(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        found: list[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def some(self, number: int) -> list[tuple[Any, ...]]:
        """The next rows, at most so many."""
        found: list[tuple[Any, ...]] = self._cursor.fetchmany(number)
        return found

    def mappings(self) -> list[dict[str, Any]]:
        """All rows that are left, each as its values by the names of their columns."""
        names = [column[0] for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in self._cursor.fetchall()]

    def first(self) -> tuple[Any, ...] | None:
        """The first row, if there is one."""
        row: tuple[Any, ...] | None = self._cursor.fetchone()
        self._cursor.close()  # or the statement would stay open for its other rows
        return row

    def one(self) -> tuple[Any, ...]:
        """The only row; raises LookupError if there is none."""
        row = self.first()
        if row is None:
            raise LookupError("no row")
        return row

    def scalar(self) -> Any:
        """The first value of the first row; None without rows."""
        row = self.first()
        return None if row is None else row[0]

    def scalars(self) -> list[Any]:
        """The first value of each row."""
        return [row[0] for row in self._cursor.fetchall()]


class DatabaseConnection:
    """A connection to the database, with the methods of SQLAlchemy's that are used here.

    Text goes to the driver (`exec_driver_sql`); a statement of SQLAlchemy's own is for SQLAlchemy, which is loaded by
    the first one and works on the same connection. Loading it takes as much as all the rest of a check of few servers:
    what every run does is text.
    """

    def __init__(self, of_driver: Any) -> None:
        self.of_driver = of_driver

    @contextmanager
    def begin(self) -> Iterator[DatabaseConnection]:
        """A transaction that has the write lock from its start, and is rolled back by an exception."""
        driven = self.of_driver
        driven.execute("begin immediate")
        try:
            yield self
            driven.execute("commit")
        except BaseException:
            if driven.in_transaction:  # SQLite itself ends one where the disk is full, for example
                driven.execute("rollback")
            raise

    def exec_driver_sql(self, statement: str, parameters: Parameters | list[tuple[Any, ...]] = ()) -> FoundRows:
        """Execute this text, once or, with a list of rows, for each of them."""
        if isinstance(parameters, list):
            return FoundRows(self.of_driver.executemany(statement, parameters))
        return FoundRows(self.of_driver.execute(statement, parameters))

    @overload
    def execute(self, statement: TypedReturnsRows[*Row], parameters: Any = None) -> CursorResult[*Row]: ...

    @overload
    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[*tuple[Any, ...]]: ...

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[*tuple[Any, ...]]:
        """The result of a statement of SQLAlchemy."""
        return self._of_sqlalchemy.execute(statement, parameters)

    @overload
    def scalar(self, statement: TypedReturnsRows[Value], parameters: Any = None) -> Value | None: ...

    @overload
    def scalar(self, statement: Executable, parameters: Any = None) -> Any: ...

    def scalar(self, statement: Executable, parameters: Any = None) -> Any:
        """The first value that a statement of SQLAlchemy gives."""
        return self._of_sqlalchemy.scalar(statement, parameters)

    @overload
    def scalars(self, statement: TypedReturnsRows[Value], parameters: Any = None) -> ScalarResult[Value]: ...

    @overload
    def scalars(self, statement: Executable, parameters: Any = None) -> ScalarResult[Any]: ...

    def scalars(self, statement: Executable, parameters: Any = None) -> ScalarResult[Any]:
        """The first value of each row that a statement of SQLAlchemy gives."""
        return self._of_sqlalchemy.scalars(statement, parameters)

    @cached_property
    def _of_sqlalchemy(self) -> OfSqlAlchemy:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import StaticPool

        lent = _Lent(self.of_driver)
        return create_engine("sqlite://", module=driver(), creator=lambda: lent, poolclass=StaticPool).connect()

    def close(self) -> None:
        """Close it; an open transaction is rolled back."""
        self.of_driver.close()


class _Lent:
    """The driver's connection as SQLAlchemy gets it: transactions, and the connection itself, end without it."""

    def __init__(self, of_driver: Any) -> None:
        self._of_driver = of_driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_driver, name)

    def commit(self) -> None:
        """Leave it to `DatabaseConnection.begin`."""

    rollback = close = commit


@contextmanager
def writing_connection(path: Path, wait_s: float) -> Iterator[DatabaseConnection]:
    """A connection that may write; creates the file. Raises StorageError if it cannot be created or opened."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except IsADirectoryError:
        raise StorageError(f"{path}: a folder; name a file in it with --db, such as {path / 'history.db'}") from None
    except PermissionError as error:
        where = "" if path.exists() else f" in the folder {path.parent}"
        raise StorageError(
            f"{path}: cannot be written{where} ({error.strerror}); name a file in a folder of yours with --db"
        ) from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; name another file with --db") from None
    binding = driver()
    with errors_of(path):
        connection = binding.connect(str(path), timeout=wait_s, isolation_level=None, check_same_thread=False)
    try:
        with errors_of(path):
            journal = "wal" if wal_is_safe(tuple(binding.sqlite_version_info)) else "delete"
            connection.execute(
                "pragma auto_vacuum = incremental"
            )  # of a new file; `db vacuum --full` sets it elsewhere
            connection.execute(f"pragma journal_mode = {journal}")
            connection.execute("pragma synchronous = normal")
            connection.execute(f"pragma cache_size = -{_CACHE_KIB}")
        yield DatabaseConnection(connection)
    finally:
        connection.close()


def reading_connection(path: Path) -> Any:
    """A read-only connection of the driver; raises StorageError if there is no database."""
    if not path.exists():
        raise StorageError(
            f"{path}: no such database; `mcp-status check` makes one, --db or MCP_STATUS_DB names another"
        )
    binding = driver()
    if path.is_dir():
        raise StorageError(f"{path}: a folder; name the file with the history in it with --db")
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


def _is_busy(error: BaseException | None, said: str) -> bool:
    """True if another connection holds the database; the word alone is no proof, since a column may be named busy."""
    code = getattr(error, "sqlite_errorcode", None)
    return "is locked" in said if code is None else code & 0xFF in (_SQLITE_BUSY, _SQLITE_LOCKED)


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Translate SQLite's errors into ours: one message with the file and the remedy."""
    try:
        yield
    except Exception as error:
        original = getattr(error, "orig", error)  # SQLAlchemy's errors have the driver's
        if not isinstance(original, driver().Error):
            raise
        said = str(original)
        if _is_busy(original, said):
            raise StorageBusy(
                f"{path}: another process has been writing to it for too long; nothing of this step was stored. "
                "Wait for that process to end, or use another file with --db"
            ) from None
        if "not a database" in said or "malformed" in said:
            raise StorageError(f"{path}: not a SQLite database, or damaged; use another file with --db") from None
        if "full" in said and isinstance(original, driver().OperationalError):
            raise StorageError(f"{path}: the disk is full; free some space, or use another file with --db") from None
        if "readonly" in said or "unable to open" in said:
            raise StorageError(f"{path}: cannot be written ({said}); name another file with --db") from None
        raise StorageError(f"{path}: {said}") from None
