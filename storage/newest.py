"""What was seen of each server last: its newest check, and what its MCP side says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Row, and_, func, select, text

from storage.tables import contract_versions

_FACTS = (
    "server_name",
    "server_version",
    "protocol_version",
    "era",
    "transport",
    "tool_count",
    "resource_count",
    "template_count",
    "prompt_count",
)
# Cross joins: SQLite takes servers first, and does not read through all checks to find the newest of each.
_NEWEST = """(select n.run_id from checks n where n.server_id = s.id and not n.suspect
    order by n.started_at_ms desc, n.run_id desc limit 1)"""
_CHECKS = f"""select c.* from servers s cross join checks c on c.server_id = s.id
    and c.run_id = {_NEWEST}"""  # noqa: S608 # our names
_OFFERS = f"""select p.server_id, {", ".join(f"f.{name}" for name in _FACTS)}
    from servers s cross join probes p on p.server_id = s.id and p.run_id = {_NEWEST}
    join mcp_facts f on f.id = p.mcp_facts_id"""  # noqa: S608 # our names


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest check of a server that can be trusted."""

    run_id: int
    at_ms: int
    status: str
    reason: str | None
    maintenance: bool


@dataclass(frozen=True, slots=True)
class OfferRow:
    """What an MCP server has told of itself in that check, and which version of its contract that is."""

    server_name: str | None
    server_version: str | None
    protocol_version: str | None
    era: str | None
    transport: str | None
    tool_count: int | None
    resource_count: int | None
    template_count: int | None
    prompt_count: int | None
    contract_version: int | None
    contract_since_ms: int | None
    contract_grade: str | None
    """The worst of its changes; None for the first version."""


def newest_checks(connection: Connection) -> dict[int, Newest]:
    """By server id; suspect checks are passed over. A step in the index for each server, whatever the history."""
    return {
        row.server_id: Newest(row.run_id, row.started_at_ms, row.status, row.reason, bool(row.maintenance))
        for row in connection.execute(text(_CHECKS))
    }


def newest_offers(connection: Connection, found: dict[int, Newest]) -> dict[int, OfferRow]:
    """By server id, of those that have an MCP side that answered in these checks or has a contract."""
    facts = {row.server_id: row for row in connection.execute(text(_OFFERS))}
    number = func.max(contract_versions.c.version).label("version")
    newest = select(contract_versions.c.server_id, number).group_by(contract_versions.c.server_id).subquery()
    same = and_(
        contract_versions.c.server_id == newest.c.server_id,
        contract_versions.c.version == newest.c.version,
    )
    versions = {row.server_id: row for row in connection.execute(select(contract_versions).join(newest, same))}
    return {one: _offer(facts.get(one), versions.get(one)) for one in found if one in facts or one in versions}


def _offer(facts: Row[tuple[object, ...]] | None, version: Row[tuple[object, ...]] | None) -> OfferRow:
    told = {name: None if facts is None else getattr(facts, name) for name in _FACTS}
    return OfferRow(
        **told,
        contract_version=None if version is None else version.version,
        contract_since_ms=None if version is None else version.seen_at_ms,
        contract_grade=None if version is None else version.grade,
    )
