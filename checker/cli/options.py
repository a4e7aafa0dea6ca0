"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from checker.cli import completed_names
from checker.errors import UsageError
from checker.units import parse_duration, parse_size

FORMATS = ("table", "json", "ndjson", "csv")
"""The output formats of every command; reports have more."""
REPORT_FORMATS = (*FORMATS, "html")

Decorated = Callable[..., Any]


class Duration(click.ParamType[float]):
    """A duration such as 300ms, 30s, 5m or 1h, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; fails with the expected format."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class Size(click.ParamType[int]):
    """A size such as 512MiB or 1GiB, in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes; fails with the expected format."""
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def not_a_dash(_ctx: click.Context, _parameter: click.Parameter, given: Path | None) -> Path | None:
    """The file to write to; ``-`` is standard output, as no file is."""
    return None if given is not None and str(given) == "-" else given


def database(command: Decorated) -> Decorated:
    """Add ``--db``."""
    return click.option(
        "--db",
        "db",
        type=click.Path(path_type=Path),
        envvar="MCP_STATUS_DB",
        show_envvar=True,
        help="SQLite file with the history. Default: history.db in the user's data directory.",
    )(command)


def format_option(formats: Sequence[str]) -> Callable[[Decorated], Decorated]:
    """Add ``--format`` with these choices, of which table is the default."""
    return click.option(
        "--format", "fmt", type=click.Choice(formats), default="table", show_default=True, help="Output format."
    )


config_environment = click.option(
    "--environment",
    "-e",
    metavar="NAME",
    shell_complete=completed_names.environments,
    help="Environment of the config. [env var: MCP_STATUS_ENV]",
)
"""Adds ``--environment``."""
output_format = format_option(FORMATS)
"""Adds ``--format``."""


def database_path(given: Path | None) -> Path:
    """The given database file, else the default one; raises UsageError for a history that nobody could read later."""
    if given is not None:
        if str(given) == ":memory:":
            raise UsageError("--db :memory:: a history in memory ends with the command; name a file")
        return given
    from storage.sqlite_driver import default_path

    return default_path(os.environ)
