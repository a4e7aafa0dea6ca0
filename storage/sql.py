"""Questions in the user's own SQL: reading only, one statement, within limits."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checker.errors import QueryError
from storage.driver import driver
from storage.sqlite import errors_of, reading_connection
from storage.views import VIEWS

_CHECK_EVERY_STEPS = 10_000
_HARMLESS_PRAGMAS = {
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "foreign_key_list",
    "integrity_check",
    "quick_check",
    "user_version",
    "page_count",
    "page_size",
    "freelist_count",
    "journal_mode",
    "compile_options",
    "database_list",
    "function_list",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns and rows of a query; ``rows`` is read from the database as it is consumed."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def ask(path: Path, query: str, timeout_s: float) -> Iterator[Answer]:
    """Run one reading statement.

    Raises QueryError for a statement that would write, for more than one, for an SQL error, and past the time
    limit (also while rows are consumed); StorageError where there is no database.
    """
    connection = reading_connection(path)
    until = time.monotonic() + timeout_s
    refused: list[str] = []
    connection.set_authorizer(lambda *request: _authorize(refused, *request))
    connection.set_progress_handler(lambda: time.monotonic() > until, _CHECK_EVERY_STEPS)
    try:
        with errors_of(path), _errors_of_query(refused, timeout_s):
            cursor = connection.execute(query)
            if cursor.description is None:
                raise QueryError('the query is empty; try "select * from latest_status"')
            yield Answer(tuple(column[0] for column in cursor.description), cursor)
    finally:
        connection.close()


def _authorize(refused: list[str], action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """SQLite asks this of every part of a statement before it runs."""
    binding = driver()
    if action in (binding.SQLITE_SELECT, binding.SQLITE_READ, binding.SQLITE_RECURSIVE):
        return int(binding.SQLITE_OK)
    if action == binding.SQLITE_FUNCTION and second != "load_extension":
        return int(binding.SQLITE_OK)
    if action == binding.SQLITE_PRAGMA and first in _HARMLESS_PRAGMAS and (second is None or first.endswith("_info")):
        return int(binding.SQLITE_OK)
    refused.append("pragma " + str(first) if action == binding.SQLITE_PRAGMA else "")
    return int(binding.SQLITE_DENY)


@contextmanager
def _errors_of_query(refused: list[str], timeout_s: float) -> Iterator[None]:
    binding = driver()
    try:
        yield
    except (binding.Error, binding.Warning) as error:
        said = str(error)
        if refused:
            what = f" ({refused[0]})" if refused[0] else ""
            raise QueryError(f"only reading is allowed here; this statement would do more{what}") from None
        if "interrupted" in said:
            raise QueryError(f"the query took longer than {timeout_s:g} s; narrow it, or raise --timeout") from None
        if "one statement" in said:
            raise QueryError("one statement at a time, please") from None
        if re.search(r"no such table", said):
            views = ", ".join(view.name for view in VIEWS)
            raise QueryError(f"{said}; the views are {views}") from None
        if "locked" in said or "not a database" in said or "malformed" in said:
            raise
        raise QueryError(said) from None
