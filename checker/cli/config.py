"""`mcp-status config`: validate a configuration, import one, or print its JSON Schema."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from checker.cli import completed_names
from checker.cli.lazy_group import FullGroup
from checker.cli.options import not_a_dash
from checker.errors import ConfigError, UsageError


@click.group("config", cls=FullGroup)
def command() -> None:
    """Validate a configuration, import one from other programs, or print its JSON Schema."""


@command.command("validate")
@click.argument("config", shell_complete=completed_names.files_only)
@click.option(
    "--environment",
    "-e",
    metavar="NAME",
    shell_complete=completed_names.environments,
    help="The environment whose variables and secret files have to be there. [env var: MCP_STATUS_ENV]",
)
@click.option("--allow-unset", is_flag=True, help="Variables may be unset, and secret files missing.")
def validate(config: str, environment: str | None, allow_unset: bool) -> int:
    """Validate CONFIG, a file or - for standard input; exit code 0 if it is valid, 3 if not.

    Every fault of the file and of each of its environments is told at once, sorted by line. Each is one line: file,
    line, key, value and remedy.

    \b
    mcp-status config validate fleet.yaml
    mcp-status config validate fleet.yaml --allow-unset    where the secrets are not, such as in CI
    """  # noqa: D301 # click wants the backspace itself
    from collections import Counter

    from checker.settings.every_fault import validation
    from checker.settings.load import load
    from checker.settings.targets import is_address

    if is_address(config):
        raise UsageError("an address, no configuration; `mcp-status check ADDRESS` checks it")
    found = validation(Path(config), environment, allow_unset=allow_unset)
    if found.faults:
        raise ConfigError("\n".join(found.faults))
    if found.unset:
        click.echo(f"{config}: valid; not here: {', '.join(found.unset)}")
        return 0
    settings = load(config, environment)
    for warning in settings.warnings:
        click.echo(f"mcp-status: {settings.path}: {warning}", err=True)
    kinds = Counter(kind for server in settings.servers for kind in server.probes)
    counted = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    where = f" in environment {settings.environment}" if settings.environment else ""
    others = [name for name in found.environments if name != settings.environment]
    where += f", and in {', '.join(others)}" if others else ""
    click.echo(f"{config}: valid{where}; servers: {len(settings.servers)}, probes: {counted}")
    return 0


@command.command("import")
@click.argument("source")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    callback=not_a_dash,
    help="Write to this file, not to the screen.",
)
@click.option(
    "--merge",
    type=click.Path(path_type=Path),
    metavar="CONFIG",
    help="Add the servers to this config. It is changed only where --output names it, too.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Only the server of this name; repeatable.")
@click.option("--force", is_flag=True, help="Let --output replace a file.")
def import_(source: str, output: Path | None, merge: Path | None, only: tuple[str, ...], force: bool) -> int:
    """Make a configuration from the MCP servers that another program or a registry lists in SOURCE.

    SOURCE is a file or an address: the JSON of Claude, Cursor, Gemini and FastMCP, mcp.json of VS Code, config.toml
    of Codex, a server.json, or a registry. The format is detected. Nothing is started.

    Secrets are not written: each becomes a variable, and a note on standard error says which to set.

    \b
    mcp-status config import ~/.cursor/mcp.json                    to the screen
    mcp-status config import .vscode/mcp.json -o fleet.yaml        to a new file
    mcp-status config import .mcp.json --merge fleet.yaml -o fleet.yaml --only github
    mcp-status config import https://registry.modelcontextprotocol.io -o registry.yaml
    mcp-status config validate fleet.yaml                          are all variables set?
    """  # noqa: D301 # click wants the backspace itself, which a raw docstring does not have
    from checker.importers import read
    from checker.settings.import_file import chosen, existing_text, merged_config, write

    in_place = merge is not None and output is not None and output.resolve() == merge.resolve()
    if output is not None and output.exists() and not force and not in_place:
        raise UsageError(f"{output} exists; name another file, or replace it with --force")
    imported = read(source)
    for note in imported.notes:
        click.echo(f"mcp-status: {note}", err=True)
    text, notes = merged_config(existing_text(merge) if merge else None, chosen(imported, only))
    for note in notes:
        click.echo(f"mcp-status: {note}", err=True)
    if output is None:
        sys.stdout.write(text)
    else:
        write(output, text, replace=force or in_place)
    return 0


@command.command("schema")
def schema() -> int:
    """Print the JSON Schema of a configuration, for editors."""
    from checker.settings.schema import json_schema
    from reports import rows_as_text

    sys.stdout.write(rows_as_text.json(json_schema()))
    return 0
