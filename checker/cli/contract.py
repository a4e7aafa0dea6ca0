"""`mcp-status contract`: the contract of an MCP server, and its changes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from checker.cli import completed_names
from checker.cli.lazy_group import FullGroup
from checker.cli.options import database, database_path, output_format
from checker.errors import UsageError

if TYPE_CHECKING:
    from reports.text_tables import TextOutput
    from storage.history import ContractRow


class _ShowByDefault(FullGroup):
    """A group whose command may be left out: an argument that is no command is the server for `show`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = ["show", *args]
        return super().resolve_command(ctx, args)


every = click.option("--all", "everything", is_flag=True, help="Show all rows of the tables, however many.")


@click.group("contract", cls=_ShowByDefault)
def command() -> None:
    """Show what an MCP server offers, and how that changed.

    A contract is the tools, resources, resource templates and prompts that a server lists, with its name, version and
    capabilities. Each change is breaking, risky or cosmetic; `mcp-status docs contracts` has the rules.

    \b
    mcp-status contract search              what it offers now, and when that changed
    mcp-status contract diff search 1 3     from one version to another
    mcp-status check fleet.yaml --fail-on-drift breaking
    """  # noqa: D301 # click wants the backspace itself


@command.command("show")
@click.argument("server", shell_complete=completed_names.servers)
@every
@output_format
@database
def show(server: str, everything: bool, fmt: str, db: Path | None) -> None:
    """Show what SERVER offers now, and its past versions. `show` may be left out.

    Long lists are cut, with the number of rows left out; JSON, NDJSON and CSV have all that is kept.
    """
    from reports import check_documents, contract_tables, rows_as_text
    from reports.text_tables import TextOutput
    from storage.history import open_history

    with open_history(database_path(db)) as history:
        versions = history.contracts_of_server(server)
    if fmt != "table":
        listed = [check_documents.contract_document(row) for row in versions]
        document = {"server": server, "contract": versions[-1].document if versions else None, "versions": listed}
        rows = map(contract_tables.version_row, versions)
        sys.stdout.writelines(rows_as_text.answer(fmt, document, listed, contract_tables.VERSION_COLUMNS, rows))
    elif versions:
        out = TextOutput(sys.stdout)
        out.line(contract_tables.offer_title(versions[-1]), "bold")
        for line in contract_tables.kept_words(versions):
            out.line(line)
        most = None if everything else contract_tables.MOST_ROWS
        out.table(contract_tables.offer_table(versions[-1], most))
        _say_more(out, contract_tables.offered(versions[-1]), most, ["contract", "show", server])
        out.line()
        out.table(contract_tables.versions_table(versions, most))
        _say_more(out, len(versions), most, ["contract", "show", server])
    else:
        click.echo("no contract yet: no MCP check of this server has read what it offers")


@command.command("diff")
@click.argument("server", shell_complete=completed_names.servers)
@click.argument("old")
@click.argument("new", required=False)
@every
@output_format
@database
def difference(server: str, old: str, new: str | None, everything: bool, fmt: str, db: Path | None) -> None:
    """Show what changed in SERVER from version OLD to NEW, by default the newest.

    A version is its number, or the beginning of its digest. Of many changes the worst are shown, with the number
    of the others; JSON, NDJSON and CSV have all.
    """
    from checker.contract.outline import compared
    from reports import contract_tables, rows_as_text
    from reports.text_tables import TextOutput
    from storage.history import open_history

    path = database_path(db)
    with open_history(path) as history:
        versions = history.contracts_of_server(server)
    before = _version(versions, old, server)
    after = _version(versions, new, server) if new is not None else versions[-1]
    for one in (before, after):
        if not one.document:
            raise UsageError(f"{server}: version {one.version} is known by its digest alone; its contract is not kept")
    changes = compared(before.document, after.document)
    if fmt != "table":
        records, rows = map(contract_tables.change_document, changes), map(contract_tables.change_row, changes)
        document = contract_tables.diff_document(before, after, changes)
        sys.stdout.writelines(rows_as_text.answer(fmt, document, records, contract_tables.CHANGE_COLUMNS, rows))
    elif changes:
        most = None if everything else contract_tables.MOST_ROWS
        out = TextOutput(sys.stdout)
        out.table(contract_tables.changes_table(changes[:most]))
        _say_more(out, len(changes), most, ["contract", "diff", server, str(before.version), str(after.version)])
        out.line()
        out.line(f"version {before.version} to {after.version}: {contract_tables.summary(changes)}")
    else:
        click.echo(f"version {before.version} to {after.version}: nothing has changed")


def _say_more(out: TextOutput, rows: int, most: int | None, command: list[str]) -> None:
    """If rows were left out, print their number and the way to see them."""
    if most is not None and rows > most:
        out.line(f"and {rows - most:,} more: {shlex.join(['mcp-status', *command, '--all'])}")


def _version(versions: list[ContractRow], asked: str, server: str) -> ContractRow:
    """The version with this number or with a digest that begins so; raises UsageError."""
    found = [row for row in versions if str(row.version) == asked]
    if not found and len(asked) >= 4:
        found = [row for row in versions if row.digest.startswith(asked.lower())]
    if not found:
        there = "there is none"
        if versions:
            gap = len(versions) < versions[-1].version
            there = f"there are 1 to {versions[-1].version}{', of which some are not kept any more' if gap else ''}"
        raise UsageError(f"{server}: no version {asked!r} of its contract; {there}")
    return found[-1]
