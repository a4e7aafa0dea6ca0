"""`mcp-status db`: information about the database file, pruning, integrity check, repair of rollups and backup."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from checker.cli import completed_names
from checker.cli.lazy_group import FullGroup
from checker.cli.options import Duration, Size, database, database_path, output_format
from checker.clock import now_ms

if TYPE_CHECKING:
    from checker.cli.progress import Steps

_WHOLE = "the file is intact"
_DAMAGED = 2


@click.group("db", cls=FullGroup)
def command() -> None:
    """Inspect the database file, keep it small, check it and back it up.

    \b
    mcp-status db info                      size, rows, and how far rollups reach
    mcp-status db prune --raw 14d           drop old rows now; runs do so themselves
    mcp-status db backup /backup/history.db while runs go on
    """  # noqa: D301 # click wants the backspace itself


@command.command("info")
@output_format
@database
def info(fmt: str, db: Path | None) -> int:
    """Show the file, its size, its SQLite version, how many rows it has, and since when."""
    from storage.database_file import database_info

    _show(database_info(database_path(db)), fmt)
    return 0


@command.command("prune")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Use the retention of its history: block."
)
@click.option("--environment", "-e", metavar="NAME", help="Environment of the config.")
@click.option("--raw", type=Duration(), help="Keep checks and probes this long; full days in UTC. [default: 30d]")
@click.option("--hours", type=Duration(), help="Keep hourly rollups this long. [default: 35d]")
@click.option("--days", type=Duration(), help="Keep daily rollups this long. [default: 1825d]")
@click.option("--benchmarks", type=Duration(), help="Keep load tests this long; baselines stay. [default: 365d]")
@click.option("--max-size", type=Size(), help="Then drop more until rows take less than this. [default: 900MiB]")
@output_format
@database
def prune(
    config: Path | None,
    environment: str | None,
    raw: float | None,
    hours: float | None,
    days: float | None,
    benchmarks: float | None,
    max_size: int | None,
    fmt: str,
    db: Path | None,
) -> int:
    """Drop what is older than its retention, and the oldest of the rest if the database is too large.

    Rows are rolled up before they are dropped, so reports go on from hourly and daily rollups. Runs do this
    themselves once an hour unless the configuration says `history: {after_runs: false}`. In a database that is
    too large, the servers that take most space lose first (`mcp-status docs history`). A file larger than --max-size
    shrinks, else its free pages are reused; `mcp-status db vacuum` gives them back.
    """
    from msgspec.structs import replace

    from checker.limits import Keep
    from storage.store import open_store

    keep = Keep()
    if config is not None:
        from checker.settings.load import load

        keep = load(config, environment).history
    given: dict[str, Any] = {"raw": raw, "hours": hours, "days": days, "benchmarks": benchmarks, "max_size": max_size}
    keep = replace(keep, **{key: value for key, value in given.items() if value is not None})
    _refuse(keep)
    path, at_ms = database_path(db), now_ms()
    _must_exist(path)
    with open_store(path) as store, _progress("rolling") as rolling, _progress("pruning") as pruning:
        store.roll(at_ms, note=rolling)
        pruned = store.prune(keep, at_ms, note=pruning)
    _show({f"rows_of_{table}": number for table, number in pruned.rows.items()} or {"rows": 0}, fmt)
    return 0


@command.command("rebuild-rollups")
@database
def rebuild(db: Path | None) -> int:
    """Recompute the hourly and daily rollups from the rows that are kept.

    Rollups whose rows were pruned stay as they are. The result is the same as before, unless a rollup was damaged or
    changed by hand; it can be stopped and restarted at any time.
    """
    from storage.store import open_store

    path = database_path(db)
    _must_exist(path)
    with open_store(path) as store, _progress("rolling") as rolling:
        folded = store.roll(now_ms(), anew=True, note=rolling)
    click.echo(f"{path}: rollups recomputed from {folded} checks", err=True)
    return 0


@command.command("forget")
@click.argument("server", shell_complete=completed_names.servers)
@output_format
@database
def forget(server: str, fmt: str, db: Path | None) -> int:
    """Drop SERVER with its checks, incidents and rollups: it was a mistake, or is no longer of interest.

    A server that only left the configuration need not be forgotten: the next run retires it, it leaves the status
    page, and its past stays in reports. One that is still configured starts anew with its next check.
    """
    from storage import servers
    from storage.store import open_store

    path = database_path(db)
    _must_exist(path)
    with open_store(path) as store, store.transaction() as connection:
        gone = servers.forget(connection, server)
    _show({f"rows_of_{table}": number for table, number in gone.items()}, fmt)
    return 0


@command.command("rename")
@click.argument("old", shell_complete=completed_names.servers)
@click.argument("new", shell_complete=completed_names.servers)
@database
def rename(old: str, new: str, db: Path | None) -> int:
    """Rename the server OLD to NEW: its history continues under the new name.

    Do it when you change the name in the configuration, before the next run or after: a server NEW that exists
    already is merged with it, unless one run checked both.
    """
    from storage import servers
    from storage.store import open_store

    path = database_path(db)
    _must_exist(path)
    with open_store(path) as store, store.transaction() as connection:
        servers.rename(connection, old, new)
    click.echo(f"{path}: {old} is {new} now", err=True)
    return 0


@command.command("vacuum")
@click.option("--full", is_flag=True, help="Write the file anew; needs its size in free space, and that no run writes.")
@database
def vacuum(full: bool, db: Path | None) -> int:
    """Give the free pages of the file back to the disk, in small steps: runs wait only for moments."""
    from storage.database_file import vacuumed

    path = database_path(db)
    _must_exist(path)
    before, after = vacuumed(path, full)
    click.echo(f"{path}: {before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now", err=True)
    return 0


@command.command("backup")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace TARGET if it is there.")
@database
def backup(target: Path, force: bool, db: Path | None) -> int:
    """Copy the database to TARGET while runs go on; the copy is complete, or is not there."""
    from storage.database_file import backed_up

    path = database_path(db)
    _must_exist(path)
    with _progress("copying") as copying:
        size = backed_up(path, target, force, copying)
    click.echo(f"{target}: {size / 1e6:,.1f} MB", err=True)
    return 0


@command.command("check")
@click.option("--quick", is_flag=True, help="Skip the comparison of indexes with rows.")
@output_format
@database
def check(quick: bool, fmt: str, db: Path | None) -> int:
    """Look for damage in the file; exit code 0 if it is intact, 2 if not."""
    from reports import rows_as_text
    from storage.database_file import faults

    found = faults(database_path(db), quick)
    rows = [(text,) for text in found]
    if fmt == "table":
        click.echo("\n".join(found) or _WHOLE)
    else:
        records = [{"fault": text} for text in found]
        sys.stdout.writelines(rows_as_text.answer(fmt, records, records, ("fault",), rows))
    return _DAMAGED if found else 0


def _show(facts: dict[str, Any], fmt: str) -> None:
    from reports import rows_as_text, tables
    from reports.text_tables import TextOutput

    if fmt == "table":
        TextOutput(sys.stdout).table(tables.facts_table(facts.items()))
    else:
        sys.stdout.writelines(rows_as_text.answer(fmt, facts, [facts], tuple(facts), [tuple(facts.values())]))


def _refuse(keep: Any) -> None:
    """Raise UsageError if the retention times contradict each other."""
    from checker.errors import UsageError
    from checker.limits import keep_faults

    for key, text in keep_faults(keep):
        raise UsageError(f"--{key.replace('_', '-')}: {text}")


def _must_exist(path: Path) -> None:
    """Raise StorageError if there is no database: maintenance never creates one."""
    from storage.connections import reading_connection

    reading_connection(path).close()


def _progress(words: str) -> AbstractContextManager[Steps]:
    from checker.cli.progress import step_bar

    return step_bar(words)
