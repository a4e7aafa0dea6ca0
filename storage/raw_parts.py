"""The two parts that raw rows lie in, and statements over both.

New rows are in the order of their runs, all others in the order of their servers; a check and its probes are always in
the same part. SQLite uses an index of each part only where a statement names the part: a view over both that is joined,
counted or sorted is read through as a whole. So statements are written once, with placeholders, for each part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Table

from storage import tables
from storage.view_columns import View


@dataclass(frozen=True, slots=True)
class RawPart:
    """One part of the raw rows."""

    checks: Table
    probes: Table
    probes_of: str
    """The join of a server with its probes ``p``; its id is written as two braces."""


SORTED = RawPart(tables.sorted_checks, tables.sorted_probes, "sorted_probes p on p.server_id = {}")
RECENT = RawPart(
    tables.recent_checks,
    tables.recent_probes,
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
    named = statement.replace("{checks}", part.checks.name).replace("{probes}", part.probes.name)
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

RAW_VIEWS = tuple(
    View(
        both.name,
        f"one of all {both.name}",
        tuple((column.name, column.name, "") for column in both.columns),
        f"from {{{both.name}}}",
    )
    for both in (tables.checks, tables.probes)
)
"""The views under the names of `tables.checks` and `tables.probes`, for statements that read them as a whole."""


def _written_through(view: str, key: Sequence[str], parts: tuple[Table, Table]) -> Iterator[tuple[str, str]]:
    """Name and SQL of the triggers that let a program of the user's write to the view as to one table."""
    names = [column.name for column in parts[0].columns]
    given = [
        f"coalesce(new.{one.name}, 0)" if one.server_default is not None else f"new.{one.name}"
        for one in parts[0].columns
    ]
    same = " and ".join(f"{name} = old.{name}" for name in key)
    changes = ", ".join(f"{name} = new.{name}" for name in names)
    into = f"insert into {parts[1].name} ({', '.join(names)}) values ({', '.join(given)});"  # noqa: S608 # our names
    deletes = " ".join(f"delete from {part.name} where {same};" for part in parts)  # noqa: S608 # our names
    updates = " ".join(f"update {part.name} set {changes} where {same};" for part in parts)  # noqa: S608 # our names
    again = " and ".join(f"{name} = new.{name}" for name in key)
    twice = f"select raise(abort, 'UNIQUE constraint failed: {view}')"
    once = f"{twice} where exists (select 1 from {parts[0].name} where {again});"  # noqa: S608 # our names
    for what, steps in (("insert", f"{once} {into}"), ("delete", deletes), ("update", updates)):
        name = f"{view}_{what}"
        yield name, f"CREATE TRIGGER {name} instead of {what} on {view} begin {steps} end"


TRIGGERS = dict(
    (
        *_written_through("checks", ("server_id", "run_id"), (tables.sorted_checks, tables.recent_checks)),
        *_written_through("probes", ("server_id", "run_id", "kind"), (tables.sorted_probes, tables.recent_probes)),
    )
)
"""Name -> SQL. New rows go to the part of the newest; nothing of this project writes to the views."""
