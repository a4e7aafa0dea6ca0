"""Contract changes of MCP servers in a period, and the facts that the servers state about themselves now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from msgspec import Struct
from sqlalchemy import bindparam, func, select, text

from storage.connections import DatabaseConnection
from storage.raw_parts import in_both
from storage.rollups.newest_rows import last_run_before
from storage.tables import contract_versions

_LOOKED_AT = 1000
"""Probes of a server, of any kind, searched for one that got far enough to learn the facts."""
_LOOKED_THROUGH = in_both(
    f"""select * from (select p.mcp_facts_id, p.run_id from servers i cross join {{probes of i.id}}
        where i.id = t.id and p.run_id > :after order by p.run_id {{way}} limit {_LOOKED_AT})"""  # noqa: S608
)
_FACTS = f"""select t.id, f.era, f.protocol_version, f.server_name, f.server_version, f.tool_count,
    f.tools_bytes, f.tools_tokens from servers t join mcp_facts f on f.id = (
        select l.mcp_facts_id from (
            select * from ({_LOOKED_THROUGH} order by run_id {{way}} limit {_LOOKED_AT})) l
        where l.mcp_facts_id is not null order by l.run_id {{way}} limit 1)
    where t.id in :servers"""  # noqa: S608 # our names


class Version(Struct, frozen=True):
    """One version of a server's contract."""

    server_id: int
    version: int
    run_id: int
    seen_at_ms: int
    grade: str | None
    """Worst grade of the changes; None for the first version and for changes that do not count."""
    changes: Sequence[dict[str, Any]]
    """Changes from the version before, each with kind, grade, item and detail; at most the worst 200."""
    breaking: int
    """Number of changes of this grade, like the fields below for the other grades."""
    risky: int
    cosmetic: int


class ServerFacts(Struct, frozen=True):
    """Facts that an MCP server stated about itself in a probe."""

    era: str | None
    protocol_version: str | None
    server_name: str | None
    server_version: str | None
    tool_count: int | None
    tools_bytes: int | None
    tools_tokens: int | None


def versions_since(connection: DatabaseConnection, servers: Sequence[int], since_ms: int) -> list[Version]:
    """Versions of these servers that were first seen in this period, newest first."""
    columns = [contract_versions.c[name] for name in Version.__struct_fields__]
    found = select(*columns).where(
        contract_versions.c.server_id.in_(servers), contract_versions.c.seen_at_ms >= since_ms
    )
    newest = found.order_by(
        contract_versions.c.seen_at_ms.desc(), contract_versions.c.server_id, contract_versions.c.version.desc()
    )
    return [
        Version(server_id, version, run_id, seen_at_ms, grade, orjson.loads(changes), *counts)
        for server_id, version, run_id, seen_at_ms, grade, changes, *counts in connection.execute(newest).all()
    ]


def newest_versions(connection: DatabaseConnection, servers: Sequence[int]) -> dict[int, int]:
    """Server id -> the number of its newest version."""
    newest = select(contract_versions.c.server_id, func.max(contract_versions.c.version))
    of_these = newest.where(contract_versions.c.server_id.in_(servers)).group_by(contract_versions.c.server_id)
    return {server: int(version) for server, version in connection.execute(of_these)}


def versions_not_kept(connection: DatabaseConnection, servers: Sequence[int]) -> tuple[int, int]:
    """Number of versions of these servers' contracts that are no longer stored, and the number of servers affected."""
    number, kept = func.max(contract_versions.c.version), func.count()
    of_these = select((number - kept).label("gone")).where(contract_versions.c.server_id.in_(servers))
    gone = [int(one) for one in connection.scalars(of_these.group_by(contract_versions.c.server_id)) if one]
    return sum(gone), len(gone)


def newest_facts(connection: DatabaseConnection, servers: Sequence[int], since_ms: int) -> dict[int, ServerFacts]:
    """Server id -> its newest facts in this period; servers with none in their newest thousand probes are missing."""
    return _facts(connection, servers, since_ms, "desc")


def oldest_facts(connection: DatabaseConnection, servers: Sequence[int], since_ms: int) -> dict[int, ServerFacts]:
    """Server id -> its oldest facts in this period; servers with none in its first thousand probes are missing."""
    return _facts(connection, servers, since_ms, "asc")


def _facts(connection: DatabaseConnection, servers: Sequence[int], since_ms: int, way: str) -> dict[int, ServerFacts]:
    query = text(_FACTS.format(way=way)).bindparams(bindparam("servers", expanding=True))
    values = {"servers": list(servers), "after": last_run_before(connection, since_ms)}
    return {server: ServerFacts(*row) for server, *row in connection.execute(query, values)}
