"""Storage of MCP contracts: a new version with its changes whenever a server's digest changes.

The storage that one server can take is bounded. A contract above `MOST_BYTES` is stored as its outline; of the changes
of a version the worst `MOST_CHANGES` are listed and all are counted; and for a server with more than `MOST_VERSIONS`
versions, or with more than `MOST_BYTES_OF_A_SERVER`, only the first and the newest are kept. Version numbers continue,
so gaps are visible. Content that differs at every start of a server makes one version, not one at each check
(`checker.contract.volatile`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from checker.model import ContractSnapshot
from storage.connections import DatabaseConnection
from storage.rows import insert_new

if TYPE_CHECKING:
    from checker.contract.severity import Change

MOST_BYTES = 2 * 1024**2
"""Largest canonical text of a contract stored in full; real servers have a few hundred kilobytes at most."""
MOST_CHANGES = 200
"""Largest number of listed changes of a version, worst first."""
MOST_VERSIONS = 100
"""Largest number of versions of a server."""
MOST_BYTES_OF_A_SERVER = 16 * 1024**2
"""Largest size of all versions of a server, with their documents."""
FEWEST_VERSIONS = 3
"""The first and the two newest stay, whatever their size."""

_LOST = "the version before is not kept any more, so what has changed is not known"
_VERSIONS = """select v.version, v.digest, length(v.changes), coalesce(c.document_bytes, 0)
    from contract_versions v left join contracts c on c.digest = v.digest
    where v.server_id = :server order by v.version"""
_DIGEST = "select digest from contract_versions where server_id = :server and version = :version"
_TOLD = "select changes from contract_versions where server_id = :server and changes like '%\"volatile!_%' escape '!'"
_ORPHANS = """delete from contracts where digest in (select value from json_each(?)) and not exists
    (select 1 from contract_versions v where v.digest = contracts.digest)"""
_NEWEST = "select server_id, max(version), digest from contract_versions {which} group by server_id"
"""The digest is of the row that has the greatest version (sqlite.org/lang_select.html, bare columns)."""


class Seen(NamedTuple):
    """One sighting: a server had this contract at that time."""

    server_id: int
    digest: str
    at_ms: int


class Versions:
    """The newest version of each server's contract, as far as this run has looked it up."""

    def __init__(self) -> None:
        self._newest: dict[int, tuple[int, str]] = {}

    def load(self, connection: DatabaseConnection) -> None:
        """Read the newest versions of all servers."""
        rows = connection.exec_driver_sql(_NEWEST.format(which=""))
        self._newest = {server_id: (version, digest) for server_id, version, digest in rows}

    def note(self, connection: DatabaseConnection, run_id: int, seen: Iterable[Seen]) -> None:
        """Write a version if the contract differs from the newest one; runs in the caller's transaction."""
        others = [one for one in seen if self._newest.get(one.server_id, (0, ""))[1] != one.digest]
        if not others:
            return
        # another run may have written it meanwhile
        self._newest |= _newest(connection, [one.server_id for one in others])
        rows = [row for one in others if (row := self._changed(connection, one)) is not None]
        insert_new(connection, "contract_versions", [{**row, "run_id": run_id} for row in rows])
        if unlike := {one.digest for one in others} - {row["digest"] for row in rows}:
            connection.exec_driver_sql(_ORPHANS, (orjson.dumps(sorted(unlike)).decode(),))
        for row in rows:
            if row["version"] > FEWEST_VERSIONS:
                _limit(connection, row["server_id"])

    def _changed(self, connection: DatabaseConnection, seen: Seen) -> dict[str, Any] | None:
        """The row of the new version; None if nothing changed, or only volatile content."""
        version, before = self._newest.get(seen.server_id, (0, None))
        if before == seen.digest:
            return None
        if before is not None and _is_renamed(connection, seen, version, before):
            self._newest[seen.server_id] = version, seen.digest
            return None
        changes = () if before is None else _changes(connection, seen.server_id, version, before, seen.digest)
        if before is not None and not changes:
            return None
        self._newest[seen.server_id] = version + 1, seen.digest
        from checker.contract.severity import Grade, worst  # comparing takes long to load, and few contracts are new

        counts = Counter(change.grade for change in changes)
        return {
            "server_id": seen.server_id,
            "version": version + 1,
            "seen_at_ms": seen.at_ms,
            "digest": seen.digest,
            "grade": worst(counts) if changes else None,
            **{grade.value: counts[grade] for grade in Grade},
            "changes": orjson.dumps(list(changes[:MOST_CHANGES])).decode(),
        }


def keep_contracts(connection: DatabaseConnection, snapshots: Iterable[ContractSnapshot]) -> None:
    """Write contracts that are not yet stored, each in full or as its outline."""
    insert_new(connection, "contracts", [_row(one) for one in snapshots])


def read_document(stored: str | None) -> dict[str, Any]:
    """A stored contract or outline; empty if it is not stored."""
    if stored is None:
        return {}
    try:
        return dict(orjson.loads(stored))
    except orjson.JSONDecodeError:  # broken Unicode, which servers may send as escapes and orjson refuses
        return dict(json.loads(stored))


def drop_versions(connection: DatabaseConnection, server_id: int, versions: Sequence[int]) -> int:
    """Delete these versions of a server and documents that no other version uses; returns the number deleted."""
    of_these = "delete from contract_versions where server_id = ? and version = ? returning digest"
    digests = [
        one for version in versions for one in connection.exec_driver_sql(of_these, (server_id, version)).scalars()
    ]
    if digests:
        connection.exec_driver_sql(_ORPHANS, (orjson.dumps(sorted(set(digests))).decode(),))
    return len(digests)


def _limit(connection: DatabaseConnection, server_id: int) -> None:
    """Delete the oldest versions except the first, until number and size are within their limits."""
    rows = connection.exec_driver_sql(_VERSIONS, {"server": server_id}).all()
    documents = {digest: document_bytes for _, digest, _, document_bytes in rows}
    size, count, dropped = sum(documents.values()) + sum(own_bytes for _, _, own_bytes, _ in rows), len(rows), []
    users = Counter(digest for _, digest, _, _ in rows)
    for version, digest, own_bytes, document_bytes in rows[1 : 1 - FEWEST_VERSIONS]:
        if size <= MOST_BYTES_OF_A_SERVER and count <= MOST_VERSIONS:
            break
        dropped.append(version)
        count -= 1
        users[digest] -= 1
        size -= own_bytes + (0 if users[digest] else document_bytes)
    drop_versions(connection, server_id, dropped)


def _row(snapshot: ContractSnapshot) -> dict[str, Any]:
    document, size = snapshot.document, len(snapshot.document.encode())
    if size > MOST_BYTES:
        from checker.contract.canonical_form import dumps
        from checker.contract.outline import outline

        document = dumps(outline(read_document(document))).decode()
    kept = len(document.encode())
    return {"digest": snapshot.digest, "document": document, "contract_bytes": size, "document_bytes": kept}


def _changes(connection: DatabaseConnection, server_id: int, version: int, before: str, after: str) -> Sequence[Change]:
    """Changes since the newest version; none if only content known to be volatile has changed."""
    from checker.contract.canonical_form import dumps
    from checker.contract.outline import compared, is_outline
    from checker.contract.severity import Change, Grade
    from checker.contract.volatile import settled

    old, new = (_stored(connection, digest) for digest in (before, after))
    if old is None or new is None:
        return [Change.of("server", "other_changed", Grade.RISKY, _LOST)]
    was, now = read_document(old), read_document(new)
    if is_outline(was) or is_outline(now):
        return compared(was, now)
    found = settled(was, now, _version(connection, server_id, version - 1), _volatile(connection, server_id))
    if dumps(found.document) == dumps(was):
        return found.told
    return [*compared(was, found.document), *found.told]


def _version(connection: DatabaseConnection, server_id: int, version: int) -> dict[str, Any] | None:
    digest = connection.exec_driver_sql(_DIGEST, {"server": server_id, "version": version}).scalar()
    return None if digest is None else read_document(_stored(connection, digest))


def _volatile(connection: DatabaseConnection, server_id: int) -> set[tuple[str, str]]:
    """Item and kind of everything that versions of the server reported as volatile."""
    from checker.contract.volatile import KINDS

    stored = connection.exec_driver_sql(_TOLD, {"server": server_id}).scalars()
    told = (change for text in stored for change in orjson.loads(text))
    return {(change["item"], change["kind"]) for change in told if change["kind"] in KINDS}


def _is_renamed(connection: DatabaseConnection, seen: Seen, version: int, before: str) -> bool:
    """True if the newest version was stored before sets were sorted and is otherwise equal; it gets the new digest."""
    old, new = (_stored(connection, digest) for digest in (before, seen.digest))
    from checker.contract.canonical_form import with_sets_sorted

    if old is None or new is None or with_sets_sorted(old.encode()).decode() != new:
        return False
    connection.exec_driver_sql(
        "update contract_versions set digest = ? where server_id = ? and version = ?",
        (seen.digest, seen.server_id, version),
    )
    return True


def _stored(connection: DatabaseConnection, digest: str) -> str | None:
    document: str | None = connection.exec_driver_sql(
        "select document from contracts where digest = ?", (digest,)
    ).scalar()
    return document


def _newest(connection: DatabaseConnection, server_ids: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Number and digest of the newest version of each of these servers that has one."""
    newest = _NEWEST.format(which="where server_id in (select value from json_each(?))")
    rows = connection.exec_driver_sql(newest, (orjson.dumps(server_ids).decode(),))
    return {server_id: (version, digest) for server_id, version, digest in rows}
