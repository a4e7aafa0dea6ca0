"""What SQLite says of a user's statement, with the remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from checker.errors import QueryError
from storage.driver import driver
from storage.guard import MOST_MEMORY_BYTES, MOST_ROW_BYTES
from storage.views import VIEWS

_NO_COLUMN = re.compile(r"no such column: (?:.*\.)?(.+)", re.DOTALL)
_NO_TABLE = re.compile(r"no such table: (?:.*\.)?(.+)", re.DOTALL)
_PRIMARY_CODE = 0xFF
_FUNCTIONS = '`mcp-status sql "select distinct name from pragma_function_list"`'


def explained(error: Exception, query: str, refused: Sequence[str]) -> QueryError | None:
    """The error of a statement as ours; None for what is no fault of the statement, such as a damaged file."""
    binding = driver()
    said = str(error)
    if refused:
        what = f" ({refused[0]})" if refused[0] else ""
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
    """The error of a value or a row that would take too much memory."""
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
    """Where a column of this name is, or those that are spelled like it; first of the views that the query reads."""
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
    """Columns spelled like it, and those that begin with it or end with it: duration means duration_ms."""
    low = name.lower()
    parts = [one for one in known if low and (one.startswith(f"{low}_") or one.endswith(f"_{low}"))]
    return list(dict.fromkeys([*parts, *get_close_matches(low, known, n=3, cutoff=0.7)]))[:3]


def _first(views: list[str]) -> str:
    return ", ".join(views[:3]) + (" and others" if len(views) > 3 else "")
