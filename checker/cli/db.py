"""`mcp-status db`: what is in the database file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from checker.cli.options import database, database_path, output_format


@click.group("db")
def command() -> None:
    """Say what is in the database file."""


@command.command("info")
@output_format
@database
def info(fmt: str, db: Path | None) -> int:
    """Show the file, its size, the SQLite behind it, and how many rows it has."""
    from reports import render, tables
    from storage.info import database_info

    facts = database_info(database_path(db))
    if fmt in ("json", "ndjson"):
        sys.stdout.write(render.json(facts) if fmt == "json" else "".join(render.ndjson([facts])))
    elif fmt == "csv":
        sys.stdout.writelines(render.csv_lines(tuple(facts), [tuple(facts.values())]))
    else:
        tables.console(sys.stdout).print(tables.rows_table(("what", "value"), list(facts.items())))
    return 0
