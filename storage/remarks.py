"""Remarks of probes: their stored form, and the remarks of each server's newest check."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from msgspec import Struct

from checker.model import Remark, RemarkName
from checker.untrusted_text import storable
from storage.connections import DatabaseConnection
from storage.raw_parts import NEWEST_TRUSTED, in_both

MOST_OF_A_DETAIL = 400
_KNOWN = frozenset(map(str, RemarkName))
_NEWEST = in_both(
    f"""select s.id, p.kind, p.started_at_ms, p.remarks, s.name, p.position
    from servers s cross join {{probes}} p on p.server_id = s.id and p.run_id = {NEWEST_TRUSTED}
    where p.remarks is not null"""  # noqa: S608 # our names
)


class Remarked(Struct, frozen=True):
    """One remark in a server's newest check."""

    server_id: int
    kind: str
    """Kind of the probe."""
    at_ms: int
    remark: Remark


def remarks_text(remarks: Sequence[Remark]) -> str:
    """Remarks in their stored form: a JSON list of objects with name and detail."""
    plain = [{"name": str(one.name), "detail": storable(one.detail, MOST_OF_A_DETAIL)} for one in remarks]
    return orjson.dumps(plain).decode()


def remarks_of(stored: str | None) -> tuple[Remark, ...]:
    """Stored remarks, without any whose name only a newer version of this program knows."""
    if not stored:
        return ()
    return tuple(
        Remark(name=RemarkName(one["name"]), detail=one["detail"])
        for one in orjson.loads(stored)
        if one["name"] in _KNOWN
    )


def newest_remarks(connection: DatabaseConnection) -> list[Remarked]:
    """Remarks of every server's newest check, by server name; one index lookup per server, not a scan."""
    return [
        Remarked(server_id, kind, at_ms, remark)
        for server_id, kind, at_ms, remarks, _, _ in connection.exec_driver_sql(f"{_NEWEST} order by name, position")
        for remark in remarks_of(remarks)
    ]
