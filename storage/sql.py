"""The user's own SQL: one read-only statement, with limits on time and memory, and errors with their remedy.

The statement runs in its own thread, so that the caller can stop waiting at any moment: at the time limit, and on
Ctrl-C. SQLite itself notices an interruption only between its steps, and one step may be long.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from msgspec import Struct

from checker.errors import QueryError
from checker.named_query import Value
from storage.connections import errors_of, reading_connection
from storage.sqlite_driver import driver
from storage.views import VIEWS

MOST_MEMORY_BYTES = 128 * 1024**2
"""Memory limit of SQLite in total: sorting and temporary tables use files above a few megabytes, values do not."""

MOST_ROW_BYTES = 64 * 1024**2
"""Largest size of the values in one row together: a value is copied and converted several times until it is shown."""
_CACHE_KIB = 8 * 1024
"""Memory of a sort before it uses a file; a library may have a far larger default."""
_LONGEST_STATEMENT_BYTES = 1024**2
_STOP_EVERY_STEPS = 100_000

_READING_PRAGMAS = {
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
    "integrity_check",
    "quick_check",
    "user_version",
    "application_id",
    "data_version",
    "encoding",
    "page_count",
    "page_size",
    "freelist_count",
    "journal_mode",
    "auto_vacuum",
    "compile_options",
    "collation_list",
    "database_list",
    "function_list",
    "module_list",
    "pragma_list",
}
_OF_A_TABLE = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}
"""Pragmas whose argument names a table or an index; in all others an argument would set something."""


def guard(connection: Any, refused: list[str], stopped: Callable[[], bool]) -> None:
    """Make the connection read-only and limit its memory; actions that it denies are added to ``refused``.

    The memory limit holds for SQLite in the whole process and cannot be lifted again. ``stopped`` is called regularly
    while a statement runs, and ends it when it returns true.
    """
    connection.execute(f"pragma hard_heap_limit = {MOST_MEMORY_BYTES}")
    connection.execute(f"pragma cache_size = -{_CACHE_KIB}")
    _limit(connection)
    _declare_table_functions(connection)
    connection.set_authorizer(lambda *request: _authorize(refused, *request))
    connection.set_progress_handler(stopped, _STOP_EVERY_STEPS)


def _limit(connection: Any) -> None:
    """Limit the size of single values and statements, if the driver can."""
    binding = driver()
    if hasattr(connection, "setlimit"):  # pysqlite3 0.6.1 cannot; memory in whole is bounded there, too
        connection.setlimit(binding.SQLITE_LIMIT_LENGTH, MOST_ROW_BYTES)
        connection.setlimit(binding.SQLITE_LIMIT_SQL_LENGTH, _LONGEST_STATEMENT_BYTES)
        connection.setlimit(binding.SQLITE_LIMIT_ATTACHED, 0)


def _declare_table_functions(connection: Any) -> None:
    """Use table functions once: an older SQLite (3.40) asks the authorizer for table creation at their first use."""
    for name in ("json_each", "json_tree", *(f"pragma_{pragma}" for pragma in _READING_PRAGMAS)):
        with suppress(driver().Error):  # a library may lack some of them
            connection.execute(f"explain select 1 from {name}").close()  # noqa: S608 # names from this file


def _authorize(refused: list[str], action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """The authorizer: SQLite calls it for every part of a statement before the statement runs."""
    binding = driver()
    if action in (binding.SQLITE_SELECT, binding.SQLITE_READ, binding.SQLITE_RECURSIVE):
        return int(binding.SQLITE_OK)
    if action == binding.SQLITE_FUNCTION and second != "load_extension":
        return int(binding.SQLITE_OK)
    if action == binding.SQLITE_PRAGMA and first in _READING_PRAGMAS and (second is None or first in _OF_A_TABLE):
        return int(binding.SQLITE_OK)
    named = {
        binding.SQLITE_PRAGMA: f"pragma {first}",
        binding.SQLITE_FUNCTION: str(second),
        binding.SQLITE_ATTACH: "attach",
    }
    refused.append(named.get(action, ""))
    return int(binding.SQLITE_DENY)


_NO_COLUMN = re.compile(r"no such column: (?:.*\.)?(.+)", re.DOTALL)
_NO_TABLE = re.compile(r"no such table: (?:.*\.)?(.+)", re.DOTALL)
_PRIMARY_CODE = 0xFF
_FUNCTIONS = '`mcp-status sql "select distinct name from pragma_function_list"`'


def explained(error: Exception, query: str, refused: Sequence[str]) -> QueryError | None:
    """The error of a statement as ours; None for errors that are not the statement's fault, such as a damaged file."""
    binding = driver()
    said = str(error)
    if refused or (said.startswith("cannot modify ") and said.endswith(" because it is a view")):
        what = f" ({refused[0]})" if refused and refused[0] else ""
        return QueryError(f"only reading is allowed here; this statement would do more{what}")
    code = int(getattr(error, "sqlite_errorcode", 0) or 0) & _PRIMARY_CODE
    if isinstance(error, MemoryError) or code in (binding.SQLITE_NOMEM, binding.SQLITE_TOOBIG):
        return too_large()
    if isinstance(error, binding.DataError) and "too big" in said:
        return QueryError("the query is longer than 1 MiB; shorten it")
    if "one statement" in said:
        return QueryError("one statement at a time, please")
    if code not in (0, binding.SQLITE_ERROR):
        return None
    if match := _NO_TABLE.fullmatch(said):
        return QueryError(said + _views_like(match[1]))
    if match := _NO_COLUMN.fullmatch(said):
        return QueryError(said + _columns_like(match[1], query))
    if said == "incomplete input":
        return QueryError("the query ends too early; close its quotes and brackets")
    if match := re.fullmatch(r"ambiguous column name: (.+)", said):
        return QueryError(f"{said}; several of the views have it: write view.{match[1].rpartition('.')[2]}")
    if said.startswith("no such function"):
        return QueryError(f"{said}; {_FUNCTIONS} lists them")
    if said.endswith("syntax error"):
        return QueryError(f"{said}; `mcp-status sql --list` has queries to begin with")
    return QueryError(said)


def too_large() -> QueryError:
    """The error for a value or a row that would take too much memory."""
    row, whole = MOST_ROW_BYTES // 1024**2, MOST_MEMORY_BYTES // 1024**2
    return QueryError(
        f"the query makes a value or a row that is too large, or sorts too many (a row may have {row} MiB, SQLite use "
        f"{whole} MiB); ask for a part of it, such as substr(column, 1, 1000), fewer servers or less time"
    )


def _views_like(name: str) -> str:
    names = [view.name for view in VIEWS]
    close = get_close_matches(name, names, n=1, cutoff=0.7)
    meant = f"; did you mean {close[0]}? The views are " if close else "; the views are "
    return meant + ", ".join(names)


def _columns_like(name: str, query: str) -> str:
    """Places of a column with this name, or of similar ones; views used by the query come first."""
    read = [view for view in VIEWS if re.search(rf"\b{view.name}\b", query)]
    for views in (read, VIEWS):
        homes: dict[str, list[str]] = {}
        for view in views:
            for column, _, _ in view.columns:
                homes.setdefault(column, []).append(view.name)
        if name in homes and not (views is read and read):
            return f"; {name} is a column of {', '.join(homes[name])}"
        close = [one for one in _alike(name, list(homes)) if one != name]
        if close:
            return "; did you mean " + " or ".join(f"{one} of {_first(homes[one])}" for one in close) + "?"
    return f"; `mcp-status sql --schema{f' {read[0].name}' if read else ''}` lists the columns"


def _alike(name: str, known: list[str]) -> list[str]:
    """Columns with a similar name, or that begin or end with this one: duration means duration_ms."""
    low = name.lower()
    parts = [one for one in known if low and (one.startswith(f"{low}_") or one.endswith(f"_{low}"))]
    return list(dict.fromkeys([*parts, *get_close_matches(low, known, n=3, cutoff=0.7)]))[:3]


def _first(views: list[str]) -> str:
    return ", ".join(views[:3]) + (" and others" if len(views) > 3 else "")


Row = tuple[Any, ...]

_BATCH_ROWS = 256
_BATCH_BYTES = 1024**2
_LAST_WAIT_S = 2.0
"""Longest wait for the thread to release the file, which is immediate except in the middle of a long step."""


class ResultSet(Struct, frozen=True):
    """Columns and rows of a query; ``rows`` is read from the database as it is consumed."""

    columns: tuple[str, ...]
    rows: Iterator[Row]


@contextmanager
def ask(path: Path, query: str, timeout_s: float, params: Mapping[str, Value] | None = None) -> Iterator[ResultSet]:
    """Run one reading statement with its parameters bound.

    Raises QueryError for a statement that would write, for more than one, for an SQL error, for values that are too
    large, and past the time limit (also while rows are consumed); StorageError if there is no database.
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
    """Raise QueryError for input that SQLite does not treat as a statement and gives no helpful message about."""
    if "\0" in query:
        raise QueryError("the query has a NUL character in it; remove it")
    try:
        query.encode()
    except UnicodeEncodeError:
        raise QueryError("the query has bytes in it that are not UTF-8; write it in UTF-8") from None


class _Reading:
    """One statement running in its thread, which reads a batch of rows on each request."""

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
        """The next item from the thread: first the columns, then lists of rows, the last of them empty."""
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
        """The rows, one by one; they are read in batches."""
        while batch := self.next():
            yield from batch
            if time.monotonic() > self._until:
                raise self._late()

    def end(self) -> None:
        """Stop the statement immediately, and release the file."""
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
    """The next batch of rows, limited in number and size; raises QueryError for a row that is too large."""
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
    """True if the thread ended and closed its connection in the meantime."""
    try:
        yield
    except driver().Error:
        return
