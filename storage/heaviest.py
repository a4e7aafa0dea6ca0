"""Where the history is too large: what is dropped of the servers that far more is kept of than of others.

A server that offers something else at every check, or whose every failure tells a long story, must not cost others
their history. What it loses are old versions of its contract, and the texts and facts of its old probes; its checks,
with their statuses, reasons and times, stay as long as those of everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select, text

from storage.contracts import FEWEST_VERSIONS, drop_versions
from storage.tables import servers

if TYPE_CHECKING:
    from storage.retention import Pruned

SHARE_BYTES = 256 * 1024
"""What old versions of a server's contract, or the texts of its probes, may take before others lose anything."""
NEWEST_RUNS = 100
"""The texts of the newest probes of a server stay: they are what somebody looks for."""

_SAMPLE = 200
_MANY_BYTES = 256
"""Of texts in a probe, from which on those of a server are added up; the detail of a failure takes half of that."""
_OLD_VERSIONS = text(
    """select v.server_id, v.version, length(v.changes) + coalesce(c.document_bytes, 0) as bytes
    from contract_versions v left join contracts c on c.digest = v.digest
    where v.version > 1 and v.version <= (
        select max(n.version) from contract_versions n where n.server_id = v.server_id) - :newest
    order by v.server_id, v.version"""
)
_TEXTS = "length(coalesce(p.detail, '')) + length(coalesce(p.stderr_tail, '')) + length(coalesce(p.remarks, ''))"
_FACTS = "length(coalesce(f.capabilities, '')) + length(coalesce(f.server_name, '')) + 300"
_SAMPLED = text(
    f"""select sum({_TEXTS}), count(*) from (
        select * from probes where server_id = :server order by run_id desc limit {_SAMPLE}) p"""  # noqa: S608 # our words
)
_SAMPLED_FACTS = text(
    f"""select sum({_FACTS}) from mcp_facts f where f.id in (
        select mcp_facts_id from (
            select mcp_facts_id from probes where server_id = :server order by run_id desc limit {_SAMPLE}))"""  # noqa: S608
)
_BEFORE = f"""coalesce((select run_id from checks where server_id = :server
    order by run_id desc limit 1 offset {NEWEST_RUNS}), -1)"""  # noqa: S608
_OLD_TEXTS = text(
    f"""select coalesce(sum({_TEXTS}), 0) from probes p
    where p.server_id = :server and p.run_id <= {_BEFORE}"""  # noqa: S608
)
_OLD_FACTS = text(
    f"""select coalesce(sum({_FACTS}), 0) from mcp_facts f where f.id in (
        select p.mcp_facts_id from probes p where p.server_id = :server and p.run_id <= {_BEFORE})"""  # noqa: S608
)
_STRIP = text(
    f"""update probes set detail = null, stderr_tail = null, remarks = null, mcp_facts_id = null
    where server_id = :server and run_id <= {_BEFORE}
    and (detail is not null or stderr_tail is not null or remarks is not null or mcp_facts_id is not null)"""  # noqa: S608
)
_STRIP_CHECKS = text(
    f"update checks set detail = null where server_id = :server and detail is not null and run_id <= {_BEFORE}"  # noqa: S608
)
_UNUSED_FACTS = text(
    "delete from mcp_facts where id not in (select mcp_facts_id from probes where mcp_facts_id is not null)"
)


def steps(connection: Connection, excess_bytes: int) -> list[Callable[..., None]]:
    """What to drop of whom, the heaviest first, until so many bytes are free; empty where nobody stands out."""
    return _contract_steps(connection, excess_bytes) or _text_steps(connection, excess_bytes)


def _contract_steps(connection: Connection, excess_bytes: int) -> list[Callable[..., None]]:
    """Old versions of contracts: of each server the first and the newest stay."""
    old: dict[int, list[tuple[int, int]]] = {}
    for server_id, version, size in connection.execute(_OLD_VERSIONS, {"newest": FEWEST_VERSIONS - 1}):
        old.setdefault(server_id, []).append((version, size))
    found: list[Callable[..., None]] = []
    for server_id, held in sorted(old.items(), key=lambda one: -sum(size for _, size in one[1])):
        left = sum(size for _, size in held)
        dropped = []
        for version, size in held:
            if excess_bytes <= 0 or left <= SHARE_BYTES:
                break
            dropped.append(version)
            left -= size
            excess_bytes -= size
        if dropped:
            found.append(partial(_drop_versions, server_id=server_id, versions=dropped))
    return found


def _text_steps(connection: Connection, excess_bytes: int) -> list[Callable[..., None]]:
    """Texts and facts of old probes, of servers whose newest ones are long."""
    sizes = {one: size for one in connection.scalars(select(servers.c.id)).all() if (size := _texts(connection, one))}
    found: list[Callable[..., None]] = []
    for server_id, size in sorted(sizes.items(), key=lambda one: -one[1]):
        if excess_bytes <= 0:
            break
        found.append(partial(_strip, server_id=server_id))
        excess_bytes -= size
    return found


def _texts(connection: Connection, server_id: int) -> int:
    """About how many bytes the texts of a server's old probes take; 0 where they are as those of any server."""
    of = {"server": server_id}
    said, probes = connection.execute(_SAMPLED, of).one()
    if not probes or (said + (connection.scalar(_SAMPLED_FACTS, of) or 0)) / probes < _MANY_BYTES:
        return 0
    size = sum(int(connection.scalar(query, of) or 0) for query in (_OLD_TEXTS, _OLD_FACTS))
    return size if size > SHARE_BYTES else 0


def _drop_versions(connection: Connection, pruned: Pruned, server_id: int, versions: list[int]) -> None:
    pruned.add("contract_versions", drop_versions(connection, server_id, versions))


def _strip(connection: Connection, pruned: Pruned, server_id: int) -> None:
    """The checks of the server keep what was counted of them; that their texts are gone is counted here."""
    of = {"server": server_id}
    pruned.add("texts", connection.execute(_STRIP, of).rowcount)
    connection.execute(_STRIP_CHECKS, of)
    connection.execute(_UNUSED_FACTS)
