"""The SQL of the newest schema, from schema.sql beside this file.

Making it of the definitions takes SQLAlchemy, which takes longer to load than a check of few servers. So it is written
down by scripts/schema_sql, and made anew only if the version or the stages of probes are other ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from checker.probe_kinds import STAGES

FILE = Path(__file__).with_name("schema.sql")
_END = ";\n\n"


class SchemaSql(NamedTuple):
    """Statements that make a database of the newest version."""

    tables: list[str]
    """Tables and their indexes, in the order in which they are made."""
    views: dict[str, str]
    """Views and triggers, by name, as the database keeps them."""


def schema_sql(version: int) -> SchemaSql:
    """The statements for this version."""
    head, *statements = FILE.read_text(encoding="utf-8").split(_END)
    if head != _head(version):
        return defined()
    views = [one for one in statements if one.startswith(_OF_VIEWS)]
    return SchemaSql(statements[: len(statements) - len(views) - 1], {one.split(None, 3)[2]: one for one in views})


_OF_VIEWS = ("CREATE VIEW", "CREATE TRIGGER")


def _head(version: int) -> str:
    return f"-- scripts/schema_sql writes this file\n-- version {version}, stages {' '.join(STAGES)}"


def written(version: int) -> str:
    """The text of schema.sql."""
    tables, views = defined()
    return "".join(f"{one}{_END}" for one in (_head(version), *tables, *views.values()))


def defined() -> SchemaSql:
    """The statements as the definitions of tables and views say."""
    from sqlalchemy import Table
    from sqlalchemy.dialects.sqlite import dialect
    from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

    from storage.known_fleets import TRIGGERS as OF_FLEETS
    from storage.raw_parts import in_both
    from storage.raw_views import RAW_VIEWS, TRIGGERS
    from storage.tables import metadata
    from storage.views import VIEWS

    def made_by(table: Table) -> Iterator[DDLElement]:
        yield CreateTable(table)
        yield from map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))

    made = [
        str(one.compile(dialect=dialect())).strip().replace(", \n", ",\n")
        for table in metadata.sorted_tables
        for one in made_by(table)
    ]
    views = {view.name: f"CREATE VIEW {view.name} as {in_both(view.select)}" for view in (*RAW_VIEWS, *VIEWS)}
    return SchemaSql(made, views | TRIGGERS | OF_FLEETS)
