"""`mcp-status history`: the past checks of one server."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from checker.cli.options import Duration, database, database_path, output_format


@click.command("history")
@click.argument("server")
@click.option("--since", type=Duration(), help="Only checks of the last 24h, 7d, ...")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="Show at most this many."
)
@output_format
@database
def command(server: str, since: float | None, limit: int, fmt: str, db: Path | None) -> int:
    """Show the past checks of SERVER, the newest first.

    \b
    mcp-status history search --since 7d
    mcp-status history search --format csv --limit 1000
    """  # noqa: D301 # click wants the backspace itself
    from reports import check_documents, rows_as_text, tables
    from storage.history import open_history

    path = database_path(db)
    since_ms = 0 if since is None else round((time.time() - since) * 1000)
    with open_history(path) as history:
        checks = history.checks_of_server(server, since_ms, limit)
    if fmt == "json":
        sys.stdout.write(
            rows_as_text.json({"server": server, "checks": list(map(check_documents.check_document, checks))})
        )
    elif fmt == "ndjson":
        sys.stdout.writelines(rows_as_text.ndjson(map(check_documents.check_document, checks)))
    elif fmt == "csv":
        from checker.probe_kinds import KINDS

        rows = [check_documents.csv_row(check, list(KINDS)) for check in checks]
        sys.stdout.writelines(rows_as_text.csv_lines(check_documents.csv_header(list(KINDS)), rows))
    elif checks:
        tables.console(sys.stdout).print(tables.history_table(checks))
        click.echo(f"{len(checks)} check{'' if len(checks) == 1 else 's'}, {tables.span(checks)}")
    else:
        click.echo("no checks in this time")
    return 0
