"""`mcp-status sql`: any question to the history, reading only."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from checker.cli.options import Duration, database, database_path, output_format
from checker.cli.time_limit import time_limit
from checker.errors import QueryError, UsageError

_MOST_ROWS = 10_000
_MOST_ROWS_OF_A_TABLE = 1000
"""Nobody reads more, and laying it out takes long: 3 s for the 50 columns of probe_history."""
_GRACE_S = 0.5
"""Waiting for a row ends by itself at the time limit; what is interrupted this much later is the printing."""


@click.command("sql")
@click.argument("query", required=False)
@click.option("--file", "-f", "file", type=click.File(), help="Read the query from a file; - is standard input.")
@click.option("--param", "-p", "given", multiple=True, metavar="NAME=VALUE", help="Value of :NAME; repeatable.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="MCP_STATUS_CONFIG",
    show_envvar=True,
    help="Configuration with saved queries.",
)
@click.option("--environment", "-e", metavar="NAME", help="Environment of the config. [env var: MCP_STATUS_ENV]")
@click.option("--list", "listing", is_flag=True, help="List the named queries, built-in and saved.")
@click.option(
    "--schema",
    is_flag=False,
    flag_value="",
    metavar="[VIEW]",
    help="Describe the views, or one: rows, columns, units, keys.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    show_default=f"{_MOST_ROWS}, in a table {_MOST_ROWS_OF_A_TABLE}",
    help="At most this many rows.",
)
@click.option("--timeout", type=Duration(), default="30s", show_default=True, help="Give up after this long.")
@output_format
@database
def command(
    query: str | None,
    file: Any,
    given: Sequence[str],
    config: Path | None,
    environment: str | None,
    listing: bool,
    schema: str | None,
    limit: int | None,
    timeout: float,
    fmt: str,
    db: Path | None,
) -> int:
    """Query the history in SQL. Only reading is possible.

    QUERY is a statement of SQLite's SQL, or @NAME for one that is built in or saved in the configuration under
    queries. The views are latest_status, check_history, probe_history, probe_errors, run_history and more; --schema
    describes them.

    A --param is bound, never pasted into the statement: as a number if it looks like one, else as text; '5' is text.

    \b
    mcp-status sql "select * from latest_status where status <> 'HEALTHY'"
    mcp-status sql @failures --param days=7
    mcp-status sql --list                                        the named queries
    mcp-status sql --schema probe_history                        columns of a view
    mcp-status sql "select * from probe_history where server = :s" --param s=search --format csv
    """  # noqa: D301 # click wants the backspace itself
    from checker.cli import sql_catalog

    if schema is not None:
        sql_catalog.describe(schema or None, fmt)
        return 0
    if listing:
        sql_catalog.list_queries(config, environment, fmt)
        return 0
    from checker.queries import bound
    from storage.sql import ask

    limit = limit or (_MOST_ROWS_OF_A_TABLE if fmt == "table" else _MOST_ROWS)
    asked, named = sql_catalog.chosen(query, file, config, environment)
    with time_limit(timeout + _GRACE_S, timeout), _errors_name(named):
        values = bound(asked, _values(given))
        with ask(database_path(db), asked.sql, timeout, values) as answer:
            more = _show(answer.columns, answer.rows, fmt, limit)
    if more:
        click.echo(f"only the first {limit} rows; raise --limit for more", err=True)
    return 0


def _values(given: Sequence[str]) -> dict[str, Any]:
    from checker.queries import parse_value

    values = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f'--param {pair}: write NAME=VALUE for the :NAME in the query, such as "days=7"')
        values[name.lstrip(":")] = parse_value(text)
    return values


def _show(columns: Sequence[str], rows: Iterator[Sequence[Any]], fmt: str, limit: int) -> bool:
    """Print up to so many rows, as they come where the format allows; gives whether there are more."""
    from reports import answers, tables

    shown: Iterable[Sequence[Any]] = islice(rows, limit)
    if fmt != "table":
        sys.stdout.writelines(answers.lines(columns, shown, fmt))
        return next(rows, None) is not None
    kept = answers.table_rows(shown)
    tables.console(sys.stdout).print(tables.rows_table(columns, kept))
    click.echo(f"{len(kept)} row{'' if len(kept) == 1 else 's'}")
    return next(rows, None) is not None


@contextmanager
def _errors_name(query: str) -> Iterator[None]:
    """Put file and key of a saved query before what is wrong with it."""
    try:
        yield
    except (QueryError, UsageError) as error:
        raise type(error)(f"{query}: {error}" if query else str(error)) from None
