"""Contracts of MCP servers as they are written: a version when the digest is another, with what has changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, func, select

from checker.contract.changes import diff, worst
from storage.rows import insert_new
from storage.tables import contract_versions, contracts


class Seen(NamedTuple):
    """A server had this contract at that time."""

    server_id: int
    digest: str
    at_ms: int


class Versions:
    """The newest version of each server's contract, as far as this run has asked for it."""

    def __init__(self) -> None:
        self._newest: dict[int, tuple[int, str]] = {}

    def load(self, connection: Connection) -> None:
        """Read the newest versions of all servers."""
        columns = select(contract_versions.c.server_id, contract_versions.c.version, contract_versions.c.digest)
        rows = connection.execute(columns.order_by(contract_versions.c.version))
        self._newest = {server_id: (version, digest) for server_id, version, digest in rows}

    def note(self, connection: Connection, run_id: int, seen: Iterable[Seen]) -> None:
        """Write a version where the contract is another one than the newest; inside the caller's transaction."""
        others = [one for one in seen if self._newest.get(one.server_id, (0, ""))[1] != one.digest]
        if not others:
            return
        # another run may have written it meanwhile
        self._newest |= _newest(connection, [one.server_id for one in others])
        rows = [row for one in others if (row := self._changed(connection, one)) is not None]
        insert_new(connection, contract_versions, [{**row, "run_id": run_id} for row in rows])

    def _changed(self, connection: Connection, seen: Seen) -> dict[str, Any] | None:
        """The row of the new version; None where there is none."""
        version, before = self._newest.get(seen.server_id, (0, None))
        if before == seen.digest:
            return None
        self._newest[seen.server_id] = version + 1, seen.digest
        changes = () if before is None else diff(_document(connection, before), _document(connection, seen.digest))
        return {
            "server_id": seen.server_id,
            "version": version + 1,
            "seen_at_ms": seen.at_ms,
            "digest": seen.digest,
            "grade": worst(change.grade for change in changes) if changes else None,
            "changes": orjson.dumps([asdict(change) for change in changes]).decode(),
        }


def _newest(connection: Connection, server_ids: Sequence[int]) -> dict[int, tuple[int, str]]:
    """Number and digest of the newest version of these servers, as far as they have one."""
    listed = func.json_each(orjson.dumps(server_ids).decode()).table_valued("value")
    columns = select(contract_versions.c.server_id, contract_versions.c.version, contract_versions.c.digest)
    rows = connection.execute(
        columns.where(contract_versions.c.server_id.in_(select(listed.c.value))).order_by(contract_versions.c.version)
    )
    return {server_id: (version, digest) for server_id, version, digest in rows}


def _document(connection: Connection, digest: str) -> dict[str, object]:
    """The contract behind a digest; an empty one where it has been pruned."""
    text = connection.scalar(select(contracts.c.document).where(contracts.c.digest == digest))
    return {} if text is None else dict(orjson.loads(text))
