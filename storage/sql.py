"""Questions in the user's own SQL: reading only, one statement, within limits.

The statement runs in a thread of its own, so that whoever waits for it can stop waiting at any moment: at the end of
its time, and on Ctrl-C. SQLite itself notices an interruption only between its steps, and one step may be long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from checker.errors import QueryError
from checker.queries import Value
from storage.driver import driver
from storage.guard import MOST_ROW_BYTES, guard
from storage.query_errors import explained, too_large
from storage.sqlite import errors_of, reading_connection

Row = tuple[Any, ...]

_BATCH_ROWS = 256
_BATCH_BYTES = 1024**2
_LAST_WAIT_S = 2.0
"""For the thread to let go of the file, which takes no time but in the middle of a long step."""


@dataclass(frozen=True, slots=True)
class ResultSet:
    """Columns and rows of a query; ``rows`` is read from the database as it is consumed."""

    columns: tuple[str, ...]
    rows: Iterator[Row]


@contextmanager
def ask(path: Path, query: str, timeout_s: float, params: Mapping[str, Value] | None = None) -> Iterator[ResultSet]:
    """Run one reading statement with its parameters bound.

    Raises QueryError for a statement that would write, for more than one, for an SQL error, for values that are too
    large, and past the time limit (also while rows are consumed); StorageError where there is no database.
    """
    _refuse_what_is_no_text(query)
    reading = _Reading(path, query, params or {}, timeout_s)
    try:
        with errors_of(path):
            columns = reading.next()
            if not columns:
                raise QueryError('the query is empty; try "select * from latest_status"')
            yield ResultSet(columns, reading.rows())
    finally:
        reading.end()


def _refuse_what_is_no_text(query: str) -> None:
    """Raise QueryError for what SQLite's own functions do not take for a statement, and say nothing helpful about."""
    if "\0" in query:
        raise QueryError("the query has a NUL character in it; remove it")
    try:
        query.encode()
    except UnicodeEncodeError:
        raise QueryError("the query has bytes in it that are not UTF-8; write it in UTF-8") from None


class _Reading:
    """One statement on its way through its thread, which reads a batch of rows whenever it is asked for one."""

    def __init__(self, path: Path, query: str, params: Mapping[str, Value], timeout_s: float) -> None:
        self._path, self._query, self._params, self._timeout_s = path, query, params, timeout_s
        self._until = time.monotonic() + timeout_s
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._found: SimpleQueue[Any] = SimpleQueue()
        self._refused: list[str] = []
        self._stopped = threading.Event()
        self._connection: Any = None
        # A daemon: the program must be able to end while SQLite is in the middle of a step.
        self._thread = threading.Thread(target=self._run, name="sql", daemon=True)
        self._thread.start()

    def next(self) -> Any:
        """What the thread found next: the columns at first, then lists of rows, the last of them empty."""
        self._wanted.put(True)
        try:
            found = self._found.get(timeout=max(0.0, self._until - time.monotonic()))
        except Empty:
            raise self._late() from None
        if isinstance(found, BaseException):
            binding = driver()
            if isinstance(found, MemoryError | binding.Error | binding.Warning):
                raise explained(found, self._query, self._refused) or found from None
            raise found
        return found

    def rows(self) -> Iterator[Row]:
        """The rows, in batches behind the scenes."""
        while batch := self.next():
            yield from batch
            if time.monotonic() > self._until:
                raise self._late()

    def end(self) -> None:
        """Stop the statement where it is, and let go of the file."""
        self._stopped.set()
        self._wanted.put(False)
        if (connection := self._connection) is not None and self._thread.is_alive():
            with _closed_meanwhile():
                connection.interrupt()
        self._thread.join(_LAST_WAIT_S)

    def _late(self) -> QueryError:
        return QueryError(f"the query took longer than {self._timeout_s:g} s; narrow it, or raise --timeout")

    def _run(self) -> None:
        try:
            with closing(reading_connection(self._path)) as connection:
                self._connection = connection
                guard(connection, self._refused, self._stopped.is_set)
                self._answer(connection)
        except BaseException as error:  # it is raised where the answer is waited for
            self._found.put(error)

    def _answer(self, connection: Any) -> None:
        with closing(connection.execute(self._query, self._params)) as cursor:
            self._found.put(tuple(column[0] for column in cursor.description or ()))
            self._wanted.get()
            while self._wanted.get():
                self._found.put(_batch(cursor))


def _batch(cursor: Any) -> list[Row]:
    """The next rows: not many, and not much of them; raises QueryError for one that is too large."""
    rows: list[Row] = []
    size = 0
    for row in cursor:
        row_size = sum(len(value) for value in row if isinstance(value, str | bytes))
        if row_size > MOST_ROW_BYTES:
            raise too_large()
        rows.append(row)
        size += row_size
        if len(rows) == _BATCH_ROWS or size > _BATCH_BYTES:
            break
    return rows


@contextmanager
def _closed_meanwhile() -> Iterator[None]:
    """The thread may have ended, and closed its connection, since it was looked at."""
    try:
        yield
    except driver().Error:
        return
