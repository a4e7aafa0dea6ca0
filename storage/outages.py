"""What is stored beside an incident: what its first check said, and which hosts its server is on."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy import Connection, text

from storage.rollups.read import Incident

_URLS = """select t.id, u.url from servers t
    cross join probes p on p.server_id = t.id and p.run_id = (
        select c.run_id from checks c where c.server_id = t.id order by c.started_at_ms desc, c.run_id desc limit 1)
    join urls u on u.id = p.url_id"""
# A cross join keeps the order: SQLite would read all probes and look for the server of each.
_DETAIL = text(
    "select detail from checks where server_id = :server and started_at_ms = :at_ms and status = 'UNHEALTHY' "
    "order by run_id desc limit 1"
)


def details_of(connection: Connection, incidents: Sequence[Incident]) -> dict[Incident, str]:
    """What the check said that began each of these incidents, where its raw row is still there.

    A look-up for each: ask for some hundred.
    """
    found = {}
    for one in incidents:
        values = {"server": one.server_id, "at_ms": one.started_at_ms}
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
