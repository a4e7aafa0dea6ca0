"""The history of some servers, opened for reports: who they are, and their buckets up to now."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import Connection, select

from checker.errors import StorageError, UsageError
from storage.queries import reading
from storage.rollups.marks import HOUR_MS
from storage.rollups.read import Rollups
from storage.sqlite import errors_of
from storage.store import open_store
from storage.tables import rollup_state, servers

_TAIL_MS = 2 * HOUR_MS
_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A server as its newest run had it."""

    id: int
    name: str
    group: str
    tags: tuple[str, ...]
    objective_ratio: float | None
    objective_window_ms: int | None = None
    """None for 30 days."""
    retired_at_ms: int | None = None
    """When it was found to be gone from its configuration."""


@dataclass(frozen=True, slots=True)
class Past:
    """What reports ask."""

    path: Path
    now_ms: int
    servers: tuple[ServerRow, ...]
    """Those that were selected, by name."""
    rollups: Rollups
    connection: Connection
    """For other modules of this package."""


@contextmanager
def open_past(
    path: Path,
    now_ms: int,
    *,
    groups: Collection[str] = (),
    tags: Collection[str] = (),
    names: Collection[str] = (),
) -> Iterator[Past]:
    """The past of the servers that are in one of the groups, have one of the tags and one of the names, where given.

    A history with hours that nobody has rolled is rolled first, if it can be written. Raises StorageError where there
    is none, UsageError where no server is left.
    """
    _catch_up(path, now_ms)
    with reading(path) as connection, errors_of(path):
        everyone = [
            ServerRow(
                id=row.id,
                name=row.name,
                group=row.group_name,
                tags=tuple(orjson.loads(row.tags)),
                objective_ratio=row.objective_ratio,
                objective_window_ms=row.objective_window_ms,
                retired_at_ms=row.retired_at_ms,
            )
            for row in connection.execute(select(servers).order_by(servers.c.name))
        ]
        chosen = tuple(
            one
            for one in everyone
            if (not groups or one.group in groups)
            and (not tags or set(tags) & set(one.tags))
            and (not names or one.name in names)
        )
        if not chosen:
            raise UsageError(_nobody(path, everyone, groups, tags, names))
        wanted = None if len(chosen) == len(everyone) else [one.id for one in chosen]
        yield Past(path, now_ms, chosen, Rollups(connection, now_ms, wanted), connection)


def _catch_up(path: Path, now_ms: int) -> None:
    """Roll what runs have left behind; a report is as exact without, but reads more rows."""
    with reading(path) as connection, errors_of(path):
        behind = select(rollup_state.c.server_id).where(rollup_state.c.rolled_until_ms < now_ms - _TAIL_MS).limit(1)
        if connection.scalar(behind) is None:
            return
    with suppress(StorageError), open_store(path, wait_s=_WAIT_S) as store:
        store.roll(now_ms)


def _nobody(
    path: Path,
    everyone: Collection[ServerRow],
    groups: Collection[str],
    tags: Collection[str],
    names: Collection[str],
) -> str:
    """Why no server is selected, and which there are to select from."""
    if not everyone:
        return f"{path}: no server yet; run `mcp-status check` first"
    asked = [
        f"{word} {' or '.join(map(repr, sorted(given)))}"
        for word, given in (("group", groups), ("tag", tags), ("name", names))
        if given
    ]
    there = ", ".join(sorted({one.group for one in everyone if one.group})) or "none"
    return f"{path}: no server with {' and '.join(asked)}; its {len(everyone)} servers are in the groups: {there}"
