"""What a user's statement may do, and how much memory it may take."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from storage.driver import driver

MOST_MEMORY_BYTES = 128 * 1024**2
"""Of SQLite, for everything: sorting and temporary tables go to files above a few megabytes, values do not."""

MOST_ROW_BYTES = 64 * 1024**2
"""Of the values in one row together: on its way to the screen a value is copied and converted several times."""
_CACHE_KIB = 8 * 1024
"""What a sort takes before it goes to a file, too; a library may come with many times as much."""
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
"""Of these the argument names a table or an index; any other argument would set something."""


def guard(connection: Any, refused: list[str], stopped: Callable[[], bool]) -> None:
    """Let the connection only read, and not take all memory; what it refuses to do is added to ``refused``.

    The limit on memory holds for SQLite in the whole process and cannot be lifted again. ``stopped`` is asked now and
    then while a statement runs, and ends it.
    """
    connection.execute(f"pragma hard_heap_limit = {MOST_MEMORY_BYTES}")
    connection.execute(f"pragma cache_size = -{_CACHE_KIB}")
    _limit(connection)
    _declare_table_functions(connection)
    connection.set_authorizer(lambda *request: _authorize(refused, *request))
    connection.set_progress_handler(stopped, _STOP_EVERY_STEPS)


def _limit(connection: Any) -> None:
    """Bound single values and statements where the driver can."""
    binding = driver()
    if hasattr(connection, "setlimit"):  # pysqlite3 0.6.1 cannot; memory in whole is bounded there, too
        connection.setlimit(binding.SQLITE_LIMIT_LENGTH, MOST_ROW_BYTES)
        connection.setlimit(binding.SQLITE_LIMIT_SQL_LENGTH, _LONGEST_STATEMENT_BYTES)
        connection.setlimit(binding.SQLITE_LIMIT_ATTACHED, 0)


def _declare_table_functions(connection: Any) -> None:
    """Use them once: an older SQLite (3.40) asks the authorizer for leave to make a table when they are first used."""
    for name in ("json_each", "json_tree", *(f"pragma_{pragma}" for pragma in _READING_PRAGMAS)):
        with suppress(driver().Error):  # a library may lack some of them
            connection.execute(f"explain select 1 from {name}").close()  # noqa: S608 # names from this file


def _authorize(refused: list[str], action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """SQLite asks this of every part of a statement before it runs."""
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
