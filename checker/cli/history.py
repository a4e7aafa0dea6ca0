"""`mcp-status history`: the past checks of one server."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from checker.cli import completed_names
from checker.cli.moments import FORMS, When, WhenParam, period_ms
from checker.cli.options import database, database_path, output_format
from checker.clock import now_ms


@click.command("history")
@click.argument("server", shell_complete=completed_names.servers)
@click.option("--since", type=WhenParam(), help=f"Only checks from then on: {FORMS}.")
@click.option("--until", type=WhenParam(), help="Only checks before then, as --since.")
@click.option("--problems", is_flag=True, help="Only checks that were not HEALTHY.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="Show at most this many."
)
@output_format
@database
def command(
    server: str,
    since: When | None,
    until: When | None,
    problems: bool,
    limit: int,
    fmt: str,
    db: Path | None,
) -> int:
    """Show the past checks of SERVER, the newest first.

    \b
    mcp-status history search --since 7d --problems
    mcp-status history search --since "2026-11-30 18:00" --until "2026-11-30 19:00"
    mcp-status history search --format csv --limit 1000
    """  # noqa: D301 # click wants the backspace itself
    from reports import check_documents, rows_as_text, tables
    from reports.text_tables import TextOutput
    from storage.history import open_history

    path = database_path(db)
    since_ms, until_ms = period_ms(since, until, now_ms() + 1)
    with open_history(path) as history:
        checks = history.checks_of_server(server, since_ms, limit, until_ms=until_ms, problems=problems)
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
        out = TextOutput(sys.stdout)
        out.table(tables.history_table(checks))
        out.line()
        out.line(f"{len(checks)} check{'' if len(checks) == 1 else 's'}, {tables.span(checks)}")
    else:
        click.echo("no checks in this time")
    return 0
