"""The two parts that raw rows lie in, and statements over both.

New rows are in the order of their runs, all others in the order of their servers; a check and its probes are always in
the same part. SQLite uses an index of each part only where a statement names the part: a view over both that is joined,
counted or sorted is read through as a whole. So statements are written once, with placeholders, for each part.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class RawPart(NamedTuple):
    """One part of the raw rows: the names of its tables."""

    checks: str
    probes: str
    probes_of: str
    """The join of a server with its probes ``p``; its id is written as two braces."""


SORTED = RawPart("sorted_checks", "sorted_probes", "sorted_probes p on p.server_id = {}")
RECENT = RawPart(
    "recent_checks",
    "recent_probes",
    # an index of their own would be written to at every check
    "recent_checks k on k.server_id = {} "
    "cross join recent_probes p on p.run_id = k.run_id and p.server_id = k.server_id",
)
_PROBES_OF = re.compile(r"{probes of ([\w.:]+)}")
BOTH = (SORTED, RECENT)


def in_part(part: RawPart, statement: str) -> str:
    """The statement with its placeholders filled in.

    They are ``{checks}`` and ``{probes}`` for the tables and, behind a cross join, ``{probes of t.id}`` for the probes
    ``p`` of the server with that id.
    """
    named = statement.replace("{checks}", part.checks).replace("{probes}", part.probes)
    return _PROBES_OF.sub(lambda found: part.probes_of.format(found[1]), named)


def in_both(select: str) -> str:
    """The rows that a SELECT with these placeholders finds in each part; one without stays as it is."""
    return "\nunion all\n".join(dict.fromkeys(in_part(part, select) for part in BOTH))


def nth_of_both(wanted: str, columns: str, source: str, order: str, offset: str = "0") -> str:
    """One of the ``columns``, of the row at this place of both parts together, in this order of columns.

    As an expression: each part is read from its index, and only as far as that row.
    """
    first = f"select * from (select {columns} {source} order by {order} limit {offset} + 1)"  # noqa: S608 # our words
    return f"(select {wanted} from ({in_both(first)} order by {order} limit 1 offset {offset}))"  # noqa: S608


NEWEST_TRUSTED = nth_of_both(
    "run_id",
    "started_at_ms, run_id",
    "from {checks} n where n.server_id = s.id and not n.suspect",
    "started_at_ms desc, run_id desc",
)
"""The run of the newest check of server ``s`` that is not suspect."""

_FIRST_OF_PART = "select min(started_at_ms) as at_ms from {checks} where run_id = (select min(run_id) from {checks})"
FIRST_CHECK_MS = f"select min(at_ms) from ({in_both(_FIRST_OF_PART)})"  # noqa: S608 # our names
"""When the oldest run of those whose checks are there made its first one; null without any."""
