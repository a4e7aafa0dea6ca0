"""What `mcp-status sql` can be asked: the views and their columns, and the queries that have a name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from checker.errors import UsageError
from checker.queries import Query

_BUILT_IN = "built-in"


def chosen(query: str | None, file: Any, config: Path | None, environment: str | None) -> tuple[Query, str]:
    """The query to ask, and what a message about it begins with: file and key of one that has a name.

    Raises UsageError for none, for two, and for a name that is not known; ConfigError for a bad configuration.
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
    """Print the queries that have a name; raises ConfigError for a bad configuration."""
    from reports import render, tables

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
        sys.stdout.write(render.json(records) if fmt == "json" else "".join(render.ndjson(records)))
        return
    columns = ("name", "description", "params", "from")
    rows = [(f"@{name}", query.description, _params(query), origin) for name, (origin, query) in known.items()]
    if fmt == "csv":
        sys.stdout.writelines(render.csv_lines(columns, [(row[0][1:], *row[1:]) for row in rows]))
    else:
        tables.console(sys.stdout).print(tables.rows_table(columns, rows))


def describe(view: str | None, fmt: str) -> None:
    """Print what the views are, or the one of this name; raises UsageError where there is none."""
    from reports import render, tables
    from storage.catalog import KEYS, described

    views = described(view)
    if fmt == "json":
        sys.stdout.write(render.json({"views": views, "keys": KEYS}))
        return
    columns = ("view", "column", "unit", "description")
    rows = [(one["view"], *column.values()) for one in views for column in one["columns"]]
    if fmt == "ndjson":
        sys.stdout.writelines(render.ndjson(dict(zip(columns, row, strict=True)) for row in rows))
        return
    if fmt == "csv":
        sys.stdout.writelines(render.csv_lines(columns, rows))
        return
    console = tables.console(sys.stdout)
    for one in views:
        click.echo(f"{one['view']}: a row is {one['row']}")
        console.print(tables.rows_table(columns[1:], [tuple(column.values()) for column in one["columns"]]))
    _teach(views, view is not None)


def _teach(views: list[dict[str, Any]], of_one: bool) -> None:
    from storage.catalog import KEYS

    click.echo("Keys to join on:")
    for key, words in KEYS.items():
        having = [one for one in views if key in one["keys"]]
        if not having:
            continue
        click.echo(f"  {key}: {words}")
        names = having[0]["keys"][key] if of_one else [one["view"] for one in having]
        click.echo(f"    {'also ' if of_one else ''}in {', '.join(names) or 'no other view'}")
    click.echo(
        "\nfrom latest_status l join probe_history p on p.server = l.server and p.run_id = l.run_id\n"
        "has the newest probes of every server. `mcp-status sql --list` lists queries to begin with."
    )


def _known(config: Path | None, environment: str | None) -> dict[str, tuple[str, Query]]:
    """Name -> where it is from, and the query; one of the configuration goes before a built-in one."""
    from storage.questions import QUESTIONS

    known = {name: (_BUILT_IN, query) for name, query in QUESTIONS.items()}
    if config is not None:
        known |= {name: (str(config), query) for name, query in _saved(config, environment).items()}
    return known


def _saved(config: Path, environment: str | None) -> Mapping[str, Query]:
    from checker.settings.queries import saved_queries

    return saved_queries(config, environment)


def _params(query: Query) -> str:
    """The parameters as --param takes them; one without a value of its own has none here."""
    from checker.queries import parameters

    return " ".join(
        f"{name}={query.params[name]}" if name in query.params else f"{name}=" for name in parameters(query.sql) if name
    )
