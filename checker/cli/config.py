"""`mcp-status config`: validate a configuration, or print its JSON Schema."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.group("config")
def command() -> None:
    """Validate a configuration, or print its JSON Schema."""


@command.command("validate")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--environment", "-e", metavar="NAME", help="Environment of the config. [env var: MCP_STATUS_ENV]")
def validate(config: Path, environment: str | None) -> int:
    """Say whether CONFIG can be used; exit code 0 if so, 3 if not.

    Every fault is a line with file, line, key, value and remedy.
    """
    from collections import Counter

    from checker.settings import load

    settings = load(config, environment)
    for warning in settings.warnings:
        click.echo(f"mcp-status: {settings.path}: {warning}", err=True)
    kinds = Counter(kind for server in settings.servers for kind in server.probes)
    counted = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    where = f" in environment {settings.environment}" if settings.environment else ""
    click.echo(f"{config}: valid{where}; servers: {len(settings.servers)}, probes: {counted}")
    return 0


@command.command("schema")
def schema() -> int:
    """Print the JSON Schema of a configuration, for editors."""
    from checker.settings import json_schema
    from reports import render

    sys.stdout.write(render.json(json_schema()))
    return 0
