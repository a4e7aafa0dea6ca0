"""`mcp-status sql`: read-only queries on the history, within a time limit."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from checker.cli import completed_names
from checker.cli.options import Duration, config_environment, database, database_path, output_format
from checker.errors import QueryError, UsageError
from checker.named_query import Query

if TYPE_CHECKING:
    from reports.text_tables import TextOutput


@contextmanager
def time_limit(seconds: float, told_s: float) -> Iterator[None]:
    """Raise QueryError in the main thread after this many seconds, wherever it is in Python.

    ``told_s`` is the limit that the message names.
    """

    def late(_number: int, _frame: FrameType | None) -> None:
        raise QueryError(f"printing the answer took longer than {told_s:g} s; ask for less, or raise --timeout")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_BUILT_IN = "built-in"


def chosen(query: str | None, file: Any, config: Path | None, environment: str | None) -> tuple[Query, str]:
    """The query to run, and a prefix for messages about it: file and key of a named query.

    Raises UsageError for none, for two, and for an unknown name; ConfigError for a bad configuration.
    """
    if (query is None) == (file is None):
        raise UsageError(
            'give a query, such as "select * from latest_status", @NAME for one of those that --list lists, '
            "or a file with --file"
        )
    if query is None:
        return Query(sql=file.read()), ""
    if not query.startswith("@"):
        return Query(sql=query), ""
    name = query[1:]
    known = _known(config, environment)
    if name not in known:
        close = get_close_matches(name, known, n=1)
        meant = f"did you mean @{close[0]}? " if close else ""
        saved = "" if config else "; --config FILE or MCP_STATUS_CONFIG adds those of a configuration"
        raise UsageError(f'no query "{query}"; {meant}`mcp-status sql --list` lists them{saved}')
    origin, found = known[name]
    return found, query if origin == _BUILT_IN else f"{origin}: queries.{name}"


def list_queries(config: Path | None, environment: str | None, fmt: str) -> None:
    """Print the named queries; raises ConfigError for a bad configuration."""
    from reports import rows_as_text, tables
    from reports.text_tables import TextOutput

    known = _known(config, environment)
    if fmt in ("json", "ndjson"):
        records = [
            {
                "name": name,
                "description": query.description,
                "params": dict(query.params),
                "from": origin,
                "sql": query.sql.strip(),
            }
            for name, (origin, query) in known.items()
        ]
        sys.stdout.write(rows_as_text.json(records) if fmt == "json" else "".join(rows_as_text.ndjson(records)))
        return
    columns = ("name", "description", "params", "from")
    rows = [(f"@{name}", query.description, _params(query), origin) for name, (origin, query) in known.items()]
    if fmt == "csv":
        sys.stdout.writelines(rows_as_text.csv_lines(columns, [(row[0][1:], *row[1:]) for row in rows]))
    else:
        TextOutput(sys.stdout).table(tables.queries_table(columns, rows))


def describe(view: str | None, fmt: str) -> None:
    """Describe the views, or the one with this name; raises UsageError if there is none."""
    from reports import rows_as_text, tables
    from reports.text_tables import TextOutput
    from storage.views import KEYS, described

    views = described(view)
    if fmt == "json":
        sys.stdout.write(rows_as_text.json({"views": views, "keys": KEYS}))
        return
    columns = ("view", "column", "unit", "description")
    rows = [(one["view"], *column.values()) for one in views for column in one["columns"]]
    if fmt == "ndjson":
        sys.stdout.writelines(rows_as_text.ndjson(dict(zip(columns, row, strict=True)) for row in rows))
        return
    if fmt == "csv":
        sys.stdout.writelines(rows_as_text.csv_lines(columns, rows))
        return
    out = TextOutput(sys.stdout)
    for one in views:
        out.line(f"{one['view']}: a row is {one['row']}", "bold")
        out.table(tables.views_table([tuple(column.values()) for column in one["columns"]]))
        out.line()
    _teach(out, views, view is not None)


def _teach(out: TextOutput, views: list[dict[str, Any]], of_one: bool) -> None:
    from storage.views import KEYS

    out.line("Keys to join on:")
    for key, words in KEYS.items():
        having = [one for one in views if key in one["keys"]]
        if not having:
            continue
        out.line(f"{key}: {words}", indent="  ")
        names = having[0]["keys"][key] if of_one else [one["view"] for one in having]
        out.line(f"{'also ' if of_one else ''}in {', '.join(names) or 'no other view'}", indent="    ")
    out.line()
    out.line("from latest_status l join probe_history p on p.server = l.server and p.run_id = l.run_id", indent="  ")
    out.line("has the newest probes of every server. `mcp-status sql --list` lists queries to begin with.")


def _known(config: Path | None, environment: str | None) -> dict[str, tuple[str, Query]]:
    """Name -> origin and query; a query in the configuration overrides a built-in one."""
    from storage.named_queries import QUESTIONS

    known = {name: (_BUILT_IN, query) for name, query in QUESTIONS.items()}
    if config is not None:
        known |= {name: (str(config), query) for name, query in _saved(config, environment).items()}
    return known


def _saved(config: Path, environment: str | None) -> Mapping[str, Query]:
    from checker.settings.named_queries import saved_queries

    return saved_queries(config, environment)


def _params(query: Query) -> str:
    """The parameters in the form of --param; one without a default has no value here."""
    from checker.named_query import parameters

    return " ".join(
        f"{name}={query.params[name]}" if name in query.params else f"{name}=" for name in parameters(query.sql) if name
    )


_MOST_ROWS = 10_000
_MOST_ROWS_OF_A_TABLE = 1000
"""A readable limit; layout is slow, too: 3 s for the 50 columns of probe_history."""
_GRACE_S = 0.5
"""Waiting for a row ends by itself at the time limit; after this extra time the output is interrupted."""


@click.command("sql")
@click.argument("query", required=False, shell_complete=completed_names.queries)
@click.option("--file", "-f", "file", type=click.File(), help="Read the query from a file; - is standard input.")
@click.option("--param", "-p", "given", multiple=True, metavar="NAME=VALUE", help="Value of :NAME; repeatable.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="MCP_STATUS_CONFIG",
    show_envvar=True,
    help="Configuration with saved queries.",
)
@config_environment
@click.option("--list", "listing", is_flag=True, help="List the named queries, built-in and saved.")
@click.option(
    "--schema",
    is_flag=False,
    flag_value="",
    metavar="[VIEW]",
    shell_complete=completed_names.views,
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
    pass  # REGROUP

    if schema is not None:
        describe(schema or None, fmt)
        return 0
    if listing:
        list_queries(config, environment, fmt)
        return 0
    from checker.named_query import bound
    from storage.sql import ask

    limit = limit or (_MOST_ROWS_OF_A_TABLE if fmt == "table" else _MOST_ROWS)
    asked, named = chosen(query, file, config, environment)
    with time_limit(timeout + _GRACE_S, timeout), _errors_name(named):
        values = bound(asked, _values(given))
        with ask(database_path(db), asked.sql, timeout, values) as answer:
            more = _show(answer.columns, answer.rows, fmt, limit)
    if more:
        click.echo(f"only the first {limit} rows; raise --limit for more", err=True)
    return 0


def _values(given: Sequence[str]) -> dict[str, Any]:
    from checker.named_query import parse_value

    values = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f'--param {pair}: write NAME=VALUE for the :NAME in the query, such as "days=7"')
        values[name.lstrip(":")] = parse_value(text)
    return values


def _show(columns: Sequence[str], rows: Iterator[Sequence[Any]], fmt: str, limit: int) -> bool:
    """Print at most this many rows, streamed if the format allows it; returns true if there are more."""
    from reports import rows_as_text, tables
    from reports.text_tables import TextOutput

    shown: Iterable[Sequence[Any]] = islice(rows, limit)
    if fmt != "table":
        sys.stdout.writelines(rows_as_text.lines(columns, shown, fmt))
        return next(rows, None) is not None
    kept = rows_as_text.table_rows(shown)
    out = TextOutput(sys.stdout)
    out.table(tables.rows_table(columns, kept))
    out.line(f"{len(kept)} row{'' if len(kept) == 1 else 's'}")
    return next(rows, None) is not None


@contextmanager
def _errors_name(query: str) -> Iterator[None]:
    """Prefix errors of a saved query with its file and key."""
    try:
        yield
    except (QueryError, UsageError) as error:
        raise type(error)(f"{query}: {error}" if query else str(error)) from None
