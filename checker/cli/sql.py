"""`mcp-status sql`: any question to the history, reading only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click

from checker.cli.options import Duration, database, database_path, output_format
from checker.errors import UsageError


@click.command("sql")
@click.argument("query", required=False)
@click.option("--file", "-f", "file", type=click.File(), help="Read the query from a file; - is standard input.")
@click.option("--schema", is_flag=True, help="Print the views with their columns and units instead.")
@click.option("--limit", type=click.IntRange(1), default=10_000, show_default=True, help="At most this many rows.")
@click.option("--timeout", type=Duration(), default="30s", show_default=True, help="Give up after this long.")
@output_format
@database
def command(query: str | None, file: Any, schema: bool, limit: int, timeout: float, fmt: str, db: Path | None) -> int:
    """Ask the history a question in SQL. Only reading is possible.

    The views are latest_status, check_history, probe_history, probe_errors and run_history; --schema describes
    their columns.

    \b
    mcp-status sql "select * from latest_status where status <> 'HEALTHY'"
    mcp-status sql "select server, avg(duration_ms) from probe_history group by server order by 2 desc" --format csv
    """  # noqa: D301 # click wants the backspace itself
    if schema:
        _describe(fmt)
        return 0
    if (query is None) == (file is None):
        raise UsageError('give a query, such as "select * from latest_status", or a file with --file')
    from storage.sql import ask

    with ask(database_path(db), query if query is not None else file.read(), timeout) as answer:
        rows = list(islice(answer.rows, limit + 1))
        _show(answer.columns, rows[:limit], fmt)
    if len(rows) > limit:
        click.echo(f"only the first {limit} rows; raise --limit for more", err=True)
    return 0


def _describe(fmt: str) -> None:
    from storage.views import VIEWS

    rows = [(view.name, name, words) for view in VIEWS for name, _, words in view.columns]
    _show(("view", "column", "description"), rows, fmt)


def _show(columns: Sequence[str], rows: Sequence[Sequence[Any]], fmt: str) -> None:
    from reports import render, tables

    if fmt == "json":
        sys.stdout.write(render.json(list(_records(columns, rows))))
    elif fmt == "ndjson":
        sys.stdout.writelines(render.ndjson(_records(columns, rows)))
    elif fmt == "csv":
        sys.stdout.writelines(render.csv_lines(columns, rows))
    else:
        tables.console(sys.stdout).print(tables.rows_table(columns, rows))
        click.echo(f"{len(rows)} row{'' if len(rows) == 1 else 's'}")


def _records(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[dict[str, Any]]:
    return (dict(zip(columns, map(_json_value, row), strict=True)) for row in rows)


def _json_value(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
