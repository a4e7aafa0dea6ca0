"""What is stored beside an incident: what its first check said, and which hosts its server is on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy import Connection, select, text

from storage.rollups.read import Incident
from storage.rollups.recent import last_run_before
from storage.tables import runs

_URLS = """select t.id, u.url from servers t
    cross join probes p on p.server_id = t.id and p.run_id = (
        select max(e.run_id) from probes e where e.server_id = t.id)
    join urls u on u.id = p.url_id"""
# A cross join keeps the order: SQLite would read all probes and look for the server of each.
_DETAIL = text(
    "select detail from checks where server_id = :server and run_id between :first and :last and started_at_ms = :at_ms"
)
_RUNS_BEFORE = 3
"""How many runs before the newest one that had begun may have made a check: runs may overlap."""


def details_of(connection: Connection, incidents: Sequence[Incident]) -> dict[Incident, str]:
    """What the check said that began each of these incidents, where its raw row is still there.

    A few look-ups for each: ask for some hundred.
    """
    if not incidents:
        return {}
    first_run = last_run_before(connection, min(one.started_at_ms for one in incidents)) - _RUNS_BEFORE
    begun = connection.execute(
        select(runs.c.started_at_ms, runs.c.id).where(runs.c.id >= first_run).order_by(runs.c.started_at_ms)
    ).all()
    starts = [started_at_ms for started_at_ms, _ in begun]
    found = {}
    for one in incidents:
        last = bisect_right(starts, one.started_at_ms)
        if ids := [run_id for _, run_id in begun[max(0, last - _RUNS_BEFORE) : last]]:
            values = {"server": one.server_id, "first": min(ids), "last": max(ids), "at_ms": one.started_at_ms}
            if detail := connection.scalar(_DETAIL, values):
                found[one] = detail
    return found


def hosts_of(connection: Connection) -> dict[int, frozenset[str]]:
    """Server id -> the hosts, with their ports, that its newest probes went to."""
    found: dict[int, set[str]] = {}
    for server, url in connection.execute(text(_URLS)):
        if host := urlsplit(url).netloc:
            found.setdefault(server, set()).add(host)
    return {server: frozenset(hosts) for server, hosts in found.items()}
