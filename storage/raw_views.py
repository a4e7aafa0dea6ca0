"""The views over both parts of the raw rows, and the triggers through which they are written to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Table

from storage.tables import checks, probes, recent_checks, recent_probes, sorted_checks, sorted_probes
from storage.view_columns import View

RAW_VIEWS = tuple(
    View(
        both.name,
        f"one of all {both.name}",
        tuple((column.name, column.name, "") for column in both.columns),
        f"from {{{both.name}}}",
    )
    for both in (checks, probes)
)
"""The views under the names of `checks` and `probes`, for statements that read them as a whole."""


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
        *_written_through("checks", ("server_id", "run_id"), (sorted_checks, recent_checks)),
        *_written_through("probes", ("server_id", "run_id", "kind"), (sorted_probes, recent_probes)),
    )
)
"""Name -> SQL. New rows go to the part of the newest; nothing of this project writes to the views."""
