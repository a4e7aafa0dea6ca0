"""The newest raw checks of each server, found from the end of its rows so that no more of them are read than asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection, bindparam, select, text

from storage.rollups.fold import spans
from storage.rollups.histogram import Integers
from storage.rollups.samples import CHECK_ROW, Checks, read_checks
from storage.tables import runs

_SINCE = f"""select {CHECK_ROW} from servers t cross join checks c on c.server_id = t.id and c.run_id >= coalesce(
        (select e.run_id from checks e where e.server_id = t.id and e.started_at_ms < :since_ms
        order by e.run_id desc limit 1 offset 1), 0)
    where (:every or t.id in :servers) and c.started_at_ms < :until_ms"""  # noqa: S608 # our names
_NEWEST = f"""select {CHECK_ROW} from servers t cross join checks c on c.server_id = t.id and c.run_id >= coalesce(
        (select e.run_id from checks e where e.server_id = t.id order by e.run_id desc limit 1 offset :before), 0)
    where (:every or t.id in :servers)"""  # noqa: S608 # our names
_FIRST = """select t.id, (select c.started_at_ms from checks c
        where c.server_id = t.id and c.run_id >= :first_run and c.started_at_ms >= :since_ms order by c.run_id limit 1)
    from servers t where (:every or t.id in :servers)"""


def checks_since(connection: Connection, servers: Sequence[int] | None, since_ms: int, until_ms: int) -> Checks:
    """The checks of these servers, or of all, from ``since_ms`` on, and the two before: they tell the state there."""
    return read_checks(connection, _SINCE, **_of(servers), since_ms=since_ms, until_ms=until_ms)


def newest_checks(connection: Connection, servers: Sequence[int] | None, number: int) -> Checks:
    """The newest checks of these servers, or of all, at most ``number`` of each."""
    return read_checks(connection, _NEWEST, **_of(servers), before=number - 1)


def first_checks(connection: Connection, servers: Sequence[int] | None, since_ms: int) -> dict[int, int]:
    """When the first raw check from ``since_ms`` on of each of these servers began; those without are left out."""
    query = text(_FIRST).bindparams(bindparam("servers", expanding=True))
    values = {**_of(servers), "since_ms": since_ms, "first_run": last_run_before(connection, since_ms)}
    return {server: at_ms for server, at_ms in connection.execute(query, values) if at_ms is not None}


def last_run_before(connection: Connection, at_ms: int) -> int:
    """The newest run that began before; 0 without one. All checks since then are of it or of later ones."""
    before = select(runs.c.id).where(runs.c.started_at_ms < at_ms).order_by(runs.c.id.desc()).limit(1)
    return connection.scalar(before) or 0


def spans_of(checks: Checks, until_ms: int) -> tuple[Integers, Integers, Integers]:
    """The time that each of these checks speaks for, as from and to, and the state it says (`fold.spans`)."""
    opens = np.diff(checks.server, prepend=-1) > 0
    gap_ms = np.where(opens, -1, np.diff(checks.at_ms, prepend=0))
    return spans(checks.at_ms, checks.outcome, gap_ms, np.append(opens[1:], True)[: len(opens)], until_ms)


def _of(servers: Sequence[int] | None) -> dict[str, object]:
    return {"every": servers is None, "servers": list(servers or [])}
