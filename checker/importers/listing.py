"""A registry's listing, from a file or page by page from its address, as entries of our configuration."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from checker.errors import ConfigError
from checker.importers import fetch
from checker.importers.entries import MOST_SERVERS, Entry, Imported, Origin, ServerNames
from checker.importers.registry import Naming, server
from checker.importers.values import parsed

MOST_PAGES = 200
"""Largest number of pages of a listing that are read."""
MOST_TIME_S = 300.0
"""Longest time for a whole listing."""

_OFFICIAL = "io.modelcontextprotocol.registry/official"
_FIRST_PAGE = "/v0.1/servers"


def first_page(url: str) -> str:
    """The address, with the path of a registry listing if it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.path not in ("", "/"):
        return url
    query = dict([*{"limit": "100", "version": "latest"}.items(), *parse_qsl(parts.query)])
    return urlunsplit((parts.scheme, parts.netloc, _FIRST_PAGE, urlencode(query), ""))


def listing(page: Any, origin: Origin, url: str | None, names: ServerNames) -> Imported:
    """The servers of a listing whose first page is ``page``; raises ConfigError.

    With an address the other pages are read as well.
    """
    notes: list[str] = []
    pages = _pages(page, origin, url, notes)
    entries: list[Entry] = []
    skipped = 0
    for item in (item for one in pages for item in _items(one, origin)):
        if not isinstance(item, dict):
            notes.append("an item of the listing is not a server; left out")
            continue
        if len(entries) >= MOST_SERVERS:
            notes.append(f"the listing is not read to its end: it has more than {MOST_SERVERS} servers")
            break
        wrapped = item.get("server")
        document = wrapped if isinstance(wrapped, dict) else item
        if not _current(item, document):
            skipped += 1
            continue
        name = document.get("name")
        # without a word of its own, its variables would be those of the environment that the document names
        naming = Naming(name if isinstance(name, str) and re.search("[A-Za-z0-9]", name) else "server")
        found = server(document, names, naming)
        entries += found.entries
        notes += found.notes
    if skipped:
        notes.append(f"left out, because they are not active or not the latest version: {skipped}")
    return Imported(tuple(entries), tuple(dict.fromkeys(notes)))


def _pages(page: Any, origin: Origin, url: str | None, notes: list[str]) -> Iterator[Any]:
    ends_at = time.monotonic() + MOST_TIME_S
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        yield page
        cursor = _next_cursor(page)
        if cursor is None:
            return
        if url is None:
            notes.append("the listing goes on at its registry; only the page in the file is read")
            return
        if time.monotonic() > ends_at:
            notes.append(f"the listing is not read to its end: that took longer than {MOST_TIME_S:g} s")
            return
        seen.add(cursor)
        page = parsed(fetch.address_text(_with_cursor(url, cursor)), origin.shown, toml=False)
        if _next_cursor(page) in seen:
            notes.append("the registry gives the same page again; the listing ends there")
            return
    notes.append(f"the listing is not read to its end: it has more than {MOST_PAGES} pages")


def _items(page: Any, origin: Origin) -> list[Any]:
    items = page.get("servers") if isinstance(page, dict) else page
    if items is None and isinstance(page, dict):  # how Go writes an empty list
        return []
    if not isinstance(items, list):
        raise ConfigError(f"{origin.shown}: servers: not a list; is this the listing of an MCP registry?")
    return items


def _next_cursor(page: Any) -> str | None:
    metadata = page.get("metadata") if isinstance(page, dict) else None
    if not isinstance(metadata, dict):
        return None
    cursor = metadata.get("nextCursor") or metadata.get("next_cursor")
    return cursor if isinstance(cursor, str) else None


def _with_cursor(url: str, cursor: str) -> str:
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "cursor"]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode([*query, ("cursor", cursor)]), ""))


def _current(item: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """True if the registry, or an older file itself, calls the server active and the latest version."""
    metas = [one.get("_meta") for one in (item, document)]
    official = [one[_OFFICIAL] for one in metas if isinstance(one, dict) and isinstance(one.get(_OFFICIAL), dict)]
    said = official[0] if official else {}
    status = said.get("status") or document.get("status") or "active"
    latest = said.get("isLatest", said.get("is_latest", True))
    return status == "active" and latest is not False
