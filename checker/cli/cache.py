"""`mcp-status cache`: entries kept between runs, their hit rates, and clearing them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from checker.cli import completed_names
from checker.cli.lazy_group import FullGroup
from checker.cli.options import database, database_path, output_format
from checker.clock import now_ms
from checker.errors import UsageError


@click.group("cache", cls=FullGroup)
def command() -> None:
    """Show or clear what is kept between runs.

    \b
    config        validated configurations: an unchanged file is not parsed again
    auth_tokens   access tokens, encrypted; only with run.token_key
    dns           addresses of host names
    results       results of checks, for check --max-age

    Sizes and times are options of the configuration (run.caches). oauth_issuer holds the authorization servers that
    were trusted on first use. Further categories remember what servers speak, such as
    mcp_era; `mcp-status docs caches` has them all.

    \b
    mcp-status cache stats                  hit rates
    mcp-status cache list dns
    mcp-status cache clear results --yes    the next check --max-age checks every server
    """  # noqa: D301 # click wants the backspace itself


@command.command("stats")
@click.option(
    "--runs",
    type=click.IntRange(1, 1_000_000),
    default=20,
    show_default=True,
    help="Sum hits, misses and evictions over this many of the newest runs.",
)
@output_format
@database
def stats(runs: int, fmt: str, db: Path | None) -> None:
    """Show how many entries each category has, and how often lookups hit.

    The columns count entries now, and hits, misses and evictions in the last runs. A stale hit is an address that
    was used after its expiry because the lookup failed. The same numbers, run by run, are in the view cache_history.
    """
    from reports import cache_tables, rows_as_text
    from reports.text_tables import TextOutput
    from storage.cache import cache_stats

    at_ms = now_ms()
    rows = cache_stats(database_path(db), runs, at_ms)
    documents = list(map(cache_tables.stats_document, rows))
    if fmt != "table":
        document, lines = {"runs": runs, "categories": documents}, (tuple(one.values()) for one in documents)
        sys.stdout.writelines(rows_as_text.answer(fmt, document, documents, cache_tables.STATS_COLUMNS, lines))
    else:
        TextOutput(sys.stdout).table(cache_tables.stats_table(rows, at_ms))


@command.command("list")
@click.argument("category", required=False, shell_complete=completed_names.cache_categories)
@click.option("--expired", is_flag=True, help="Only expired entries, which the next run removes.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Show at most this many."
)
@output_format
@database
def list_(category: str | None, expired: bool, limit: int, fmt: str, db: Path | None) -> None:
    """Show the entries of CATEGORY, or of all, the one used last first.

    Values are shortened; those of config and auth_tokens are encrypted and never shown. The key of a result is a
    digest of the server's name and options, its value the run that checked it.
    """
    from reports import cache_tables, rows_as_text
    from reports.text_tables import TextOutput
    from storage.cache import cache_list

    at_ms = now_ms()
    found = cache_list(database_path(db), category, limit + 1, expired_before_ms=at_ms if expired else None)
    rows = found[:limit]
    documents = list(map(cache_tables.entry_document, rows))
    if fmt != "table":
        document, lines = {"entries": documents}, (tuple(one.values()) for one in documents)
        sys.stdout.writelines(rows_as_text.answer(fmt, document, documents, cache_tables.ENTRY_COLUMNS, lines))
    elif rows:
        TextOutput(sys.stdout).table(cache_tables.entries_table(rows, at_ms))
    else:
        click.echo("no entries")
    if len(found) > limit:
        click.echo(f"only the first {limit} entries; raise --limit for more", err=True)


@command.command("clear")
@click.argument("categories", nargs=-1, metavar="[CATEGORY]...", shell_complete=completed_names.cache_categories)
@click.option("--key", metavar="KEY", help="Only the entry under this key, as cache list shows it.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@output_format
@database
def clear(categories: tuple[str, ...], key: str | None, yes: bool, fmt: str, db: Path | None) -> None:
    """Remove the entries of each CATEGORY, or of all but oauth_issuer.

    What is needed is fetched again; no result is deleted from the history. Clear
    oauth_issuer to trust another authorization server than the one that was pinned on first use.
    """
    from reports import rows_as_text, tables
    from reports.text_tables import TextOutput
    from storage.cache import known_categories
    from storage.store import open_store

    path = database_path(db)
    known_categories(path, categories)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("not a terminal to ask on; give --yes to remove the entries")
        those = "all entries" if key is None else "the entry under that key"
        click.confirm(f"remove {those} of {', '.join(categories) or 'every category'}?", abort=True, err=True)
    with open_store(path) as store:
        removed = store.clear_cache(categories, key)
    documents = [{"category": name, "removed": number} for name, number in removed.items()]
    if fmt != "table":
        columns, document = ("category", "removed"), {"removed": removed}
        sys.stdout.writelines(rows_as_text.answer(fmt, document, documents, columns, removed.items()))
    elif removed:
        TextOutput(sys.stdout).table(tables.rows_table(("category", "removed"), removed.items()))
    else:
        click.echo("nothing to remove")
