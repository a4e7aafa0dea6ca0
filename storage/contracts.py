"""Contracts of MCP servers as they are written: a version when the digest is another, with what has changed."""

from __future__ import annotations

from dataclasses import asdict

import orjson
from sqlalchemy import Connection, select

from checker.contract.changes import diff, worst
from storage.tables import contract_versions, contracts


class Versions:
    """The newest version of each server's contract, as far as this run has asked for it."""

    def __init__(self) -> None:
        self._newest: dict[int, tuple[int, str]] = {}

    def load(self, connection: Connection) -> None:
        """Read the newest versions of all servers."""
        columns = select(contract_versions.c.server_id, contract_versions.c.version, contract_versions.c.digest)
        rows = connection.execute(columns.order_by(contract_versions.c.version))
        self._newest = {server_id: (version, digest) for server_id, version, digest in rows}

    def note(self, connection: Connection, run_id: int, server_id: int, digest: str, seen_at_ms: int) -> None:
        """Write a version if the contract is another one than the newest; inside the caller's transaction."""
        if self._newest.get(server_id, (0, ""))[1] == digest:
            return
        columns = select(contract_versions.c.version, contract_versions.c.digest)
        found = connection.execute(
            columns.where(contract_versions.c.server_id == server_id)
            .order_by(contract_versions.c.version.desc())
            .limit(1)
        ).one_or_none()
        version, before = (0, None) if found is None else (int(found[0]), str(found[1]))
        if before != digest:  # another run may have written it meanwhile
            version += 1
            changes = () if before is None else diff(_document(connection, before), _document(connection, digest))
            connection.execute(
                contract_versions.insert().values(
                    server_id=server_id,
                    version=version,
                    run_id=run_id,
                    seen_at_ms=seen_at_ms,
                    digest=digest,
                    grade=worst(change.grade for change in changes) if changes else None,
                    changes=orjson.dumps([asdict(change) for change in changes]).decode(),
                )
            )
        self._newest[server_id] = version, digest


def _document(connection: Connection, digest: str) -> dict[str, object]:
    """The contract behind a digest; an empty one where it has been pruned."""
    text = connection.scalar(select(contracts.c.document).where(contracts.c.digest == digest))
    return {} if text is None else dict(orjson.loads(text))
