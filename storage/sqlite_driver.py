"""Choice of the SQLite library and file, and a quick read of one cache entry; never loads SQLAlchemy, which is slow."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from checker.ad_hoc_names import AD_HOC

_WAIT_S = 1.0
_OF_FLEETS = "select name from servers where config_path is not ?"
_ENTRY = "select value from cache_entries where category = ? and key = ? and expires_at_ms > ?"


def driver() -> ModuleType:
    """The SQLite binding: the package with its own recent library if it is installed, else Python's."""
    try:
        import pysqlite3
    except ImportError:
        import sqlite3

        return sqlite3
    return pysqlite3  # type: ignore[no-any-return] # no annotations


def default_path(environ: Mapping[str, str]) -> Path:
    """The default database file: ``MCP_STATUS_DB``, else history.db in the user's data directory."""
    named = environ.get("MCP_STATUS_DB")
    if named:
        return Path(named)
    import platformdirs  # not before: most name their database

    return Path(platformdirs.user_data_dir("mcp-status-check")) / "history.db"


def cache_entry(path: Path, category: str, key: str, now_ms: int) -> str | None:
    """The value of an unexpired entry; None also if there is no database, or none readable now."""
    binding = driver()
    try:
        if not path.is_file():
            return None
        address = f"file:{quote(str(path.resolve()))}?mode=ro"
        with closing(binding.connect(address, uri=True, timeout=_WAIT_S)) as connection:
            found = connection.execute(_ENTRY, (category, key, now_ms)).fetchone()
    except (binding.Error, OSError):
        return None
    return str(found[0]) if found else None


def names_of_fleets(path: Path) -> set[str]:
    """The names of the servers that are not of a command line; none if there is no database, or none readable now."""
    binding = driver()
    try:
        if not path.is_file():
            return set()
        address = f"file:{quote(str(path.resolve()))}?mode=ro"
        with closing(binding.connect(address, uri=True, timeout=_WAIT_S)) as connection:
            return {row[0] for row in connection.execute(_OF_FLEETS, (AD_HOC,))}
    except (binding.Error, OSError):
        return set()
